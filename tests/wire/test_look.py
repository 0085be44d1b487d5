# Looking at queues without taking anything, and purging them: over raw sockets and with the commands.
import json
import os
import pty
import select
import signal
import subprocess
import tempfile
import time
import unittest

from harness import PATIENCE_S, Broker, BrokerTest, Client, wait_until

PROGRAMS = os.path.dirname(os.environ.get("DMQ_BIN", ""))


class LookTest(BrokerTest):
    def setUp(self):
        super().setUp()
        self.admin = self.new_client(endpoint=self.client.ask("hello")["admin"])

    def browse(self, **options):
        return self.client.ask("browse", queue=self.queue, **options)

    def shown(self, **options):
        return [message["body"] for message in self.browse(**options)["messages"]]

    def all_pages(self, **options):
        messages, after = [], None
        while True:
            page = self.browse(**options, **({"after": after} if after else {}))
            messages += page["messages"]
            after = page.get("after")
            if after is None:
                return messages


class Browse(LookTest):
    def test_a_look_takes_nothing_and_is_not_counted(self):
        ids = self.send(b"a", {"body": b"b", "headers": {"h": "v"}, "priority": 3, "reply_to": "answers"})
        for _ in range(3):
            first, second = self.browse()["messages"]
        self.assertEqual(set(first), {"id", "state", "deliveries", "sent_ms", "size", "body"})
        self.assertEqual((first["id"], first["state"], first["deliveries"], first["size"]), (ids[0], "ready", 0, 1))
        self.assertEqual((second["priority"], second["headers"], second["reply_to"]), (3, {"h": b"v"}, "answers"))
        self.assertEqual(self.counts(), (2, 0, 0))
        self.assertEqual([message["deliveries"] for message in self.receive(max=2)], [1, 1])

    def test_each_state_has_its_messages_and_its_time(self):
        self.send(b"a", b"b", {"body": b"c", "delay_ms": 60_000})
        before = time.time() * 1000
        self.receive(lease_ms=60_000)
        self.assertEqual(self.shown(), [b"b"])
        leased, = self.browse(state="leased")["messages"]
        delayed, = self.browse(state="delayed")["messages"]
        self.assertEqual((leased["body"], leased["deliveries"], delayed["body"]), (b"a", 1, b"c"))
        self.assertLess(abs(leased["lease_until_ms"] - before - 60_000), 10_000)
        self.assertLess(abs(delayed["ready_ms"] - before - 60_000), 10_000)

    def test_pages_of_a_long_queue(self):
        bodies = [b"%d" % i for i in range(2500)]
        for i in range(0, 2500, 1000):
            self.send(*bodies[i:i + 1000])
        self.assertEqual([message["body"] for message in self.all_pages(max=1000)], bodies)
        self.assertEqual([message["body"] for message in self.all_pages(max_bytes=2000)], bodies)
        self.assertEqual(len(self.browse()["messages"]), 100)

    def test_large_bodies_can_be_cut(self):
        self.send(b"x" * (16 << 20), b"y" * 5000)
        self.assertEqual([(m["body"], m["size"]) for m in self.all_pages(body_bytes=2)],
                         [(b"xx", 16 << 20), (b"yy", 5000)])
        self.assertEqual([len(m["body"]) for m in self.all_pages()], [16 << 20, 5000])

    def test_what_is_next_comes_as_receives_get_it(self):
        self.send(*[{"body": b"%d" % i, "priority": i % 3} for i in range(9)])
        wanted = [m["body"] for m in self.all_pages(order="next", max=2)]
        self.assertEqual(self.bodies(max=9), wanted)

    def test_a_paused_queue_can_be_looked_at(self):
        self.send(b"a")
        self.client.ask("queue.update", {"pause_receive": True}, queue=self.queue)
        wait_until(lambda: self.bodies() == [], what="the pause")
        self.assertEqual(self.shown(), [b"a"])

    def test_wrong_requests_are_told(self):
        self.send(b"a")
        for wrong in ({"state": "gone"}, {"state": 1}, {"order": "newest"}, {"order": "next", "state": "leased"},
                      {"max": 0}, {"max": 1001}, {"max_bytes": 0}, {"body_bytes": -1}, {"body_bytes": (16 << 20) + 1},
                      {"after": "x"}, {"after": 7}):
            self.assertEqual(self.client.code("browse", queue=self.queue, **wrong), "invalid_argument", wrong)
        answer, _ = self.client.request("browse", queue=self.queue, state="gone")
        self.assertIn('"ready" or "delayed" or "leased"', answer["message"])
        self.assertEqual(self.client.code("browse", queue="never made"), "no_such_queue")


class Purge(LookTest):
    def purge(self):
        return self.admin.ask("queue.purge", queue=self.queue)["removed"]

    def test_a_purge_is_an_administrators(self):
        self.send(b"a")
        answer, _ = self.client.request("queue.purge", queue=self.queue)
        self.assertEqual(answer["code"], "denied")
        self.assertIn("--allow-delete", answer["message"])
        self.assertEqual(self.counts(), (1, 0, 0))
        self.assertEqual(self.admin.code("queue.purge", queue="never made"), "no_such_queue")

    def test_all_that_is_there_goes_and_the_queue_stays(self):
        self.client.ask("queue.create", {"lease_ms": 60_000}, queue=self.queue)
        self.client.ask("send", [b"a"], queue=self.queue, producer="p", sequence=1)
        self.send(b"b", {"body": b"c", "delay_ms": 60_000})
        receipt = self.receive()[0]["receipt"]
        self.assertEqual(self.purge(), 3)
        self.assertEqual(self.counts(), (0, 0, 0))
        self.assertEqual(self.client.ask("ack", [receipt], queue=self.queue)[0]["code"], "stale_receipt")
        self.assertEqual(self.client.ask("send", [b"a", b"d"], queue=self.queue, producer="p", sequence=1)[0]["duplicate"],
                         True)
        self.assertEqual(self.bodies(max=10), [b"d"])
        self.assertEqual(self.client.ask("queue.describe", queue=self.queue)["lease_ms"], 60_000)
        self.assertEqual((self.purge(), self.purge()), (1, 0))

    def test_what_was_purged_stays_gone_when_the_broker_dies(self):
        with tempfile.TemporaryDirectory() as data:
            with Broker("--data", data, "--allow-delete") as broker, Client(broker.endpoint) as client:
                for _ in range(12):
                    client.ask("send", [b"x" * 100] * 1000, queue="q")
                self.assertEqual(client.ask("queue.purge", queue="q")["removed"], 12_000)
                client.ask("send", [b"later"], queue="q")
                broker.process.send_signal(signal.SIGKILL)
                broker.process.wait()
            with Broker("--data", data, "--allow-delete") as broker, Client(broker.endpoint) as client:
                self.assertEqual([m["body"] for m in client.ask("receive", queue="q", max=10, wait_ms=5000)], [b"later"])
                self.assertEqual(client.ask("queue.describe", queue="q")["ready"], 0)


class Stats(LookTest):
    def stats(self):
        return self.client.ask("queue.stats", queue=self.queue)

    def test_statistics_follow_what_happens(self):
        before = time.time() * 1000
        self.send(b"a", b"b", b"c", {"body": b"d", "delay_ms": 60_000})
        messages = self.receive(max=2)
        self.client.ask("ack", [messages[0]["receipt"]], queue=self.queue)
        self.client.ask("nack", [messages[1]["receipt"]], queue=self.queue)
        stats = self.stats()
        self.assertEqual([stats[key] for key in ("ready", "leased", "delayed", "waiting")], [2, 0, 1, 0])
        self.assertLess(abs(stats["oldest_ms"] - before), 10_000)
        self.assertLess(abs(stats["at_ms"] - before), 10_000)
        counts = {"sent": 4, "delivered": 2, "acked": 1, "returned": 1, "expired": 0}
        self.assertEqual({key: stats["totals"][key] for key in counts}, counts)
        self.assertEqual({key: stats["recent"][key] for key in counts}, counts)
        self.assertGreaterEqual(stats["recent"]["window_ms"], 1000)
        self.assertEqual(self.client.code("queue.stats", queue="never made"), "no_such_queue")


class Commands(LookTest):
    def run_dmq(self, *arguments, code=0):
        done = subprocess.run([os.path.join(PROGRAMS, "dmq"), "--broker", self.broker.endpoint, *arguments],
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
        self.assertEqual(done.returncode, code, done.stderr.decode())
        return done.stdout.decode() if code == 0 else done.stderr.decode()

    def run_on_terminal(self, *arguments, keys=(), code=0):
        """What a command shows on a terminal; `keys`: (what to wait for, what to type or which signal then)."""
        terminal, its_end = pty.openpty()
        process = subprocess.Popen([os.path.join(PROGRAMS, "dmq"), "--broker", self.broker.endpoint, *arguments],
                                   stdin=its_end, stdout=its_end, stderr=its_end, env={**os.environ, "NO_COLOR": "1"})
        os.close(its_end)
        self.addCleanup(os.close, terminal)
        shown, waiting = b"", list(keys)
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            if not select.select([terminal], [], [], 0.1)[0]:
                continue
            try:
                piece = os.read(terminal, 65536)
            except OSError:  # its other end is closed
                break
            if not piece:
                break
            shown += piece
            if waiting and waiting[0][0] in shown:
                key = waiting.pop(0)[1]
                os.write(terminal, key) if isinstance(key, bytes) else process.send_signal(key)
        self.assertEqual(process.wait(PATIENCE_S), code, shown)
        self.assertEqual(waiting, [], shown)
        return shown.decode()

    def test_peek_shows_what_is_next(self):
        self.client.ask("queue.create", queue=self.queue)
        self.run_dmq("queue", "peek", self.queue, code=3)
        self.send(b"low", {"body": b"high", "priority": 5})
        self.assertEqual(json.loads(self.run_dmq("queue", "peek", self.queue))["body"], "high")
        lines = self.run_dmq("queue", "peek", self.queue, "--max", "5", "--body-bytes", "2").splitlines()
        self.assertEqual([json.loads(line)["body"] for line in lines], ["hi", "lo"])
        self.assertEqual(self.counts(), (2, 0, 0))
        self.run_dmq("queue", "peek", "never-made", code=6)

    def test_browse_shows_all_pages_of_a_state(self):
        self.send(*[b"%d" % i for i in range(1000)])
        self.send(*[b"%d" % i for i in range(1000, 1500)], b"\xff\x00")
        lines = self.run_dmq("queue", "browse", self.queue, "--max", "9999").splitlines()
        bodies = [json.loads(line).get("body") for line in lines]
        self.assertEqual(bodies, [str(i) for i in range(1500)] + [None])
        self.assertEqual(json.loads(lines[-1])["body_base64"], "/wA=")
        self.assertEqual(len(self.run_dmq("queue", "browse", self.queue).splitlines()), 100)
        self.receive(max=3)
        lines = self.run_dmq("queue", "browse", self.queue, "--state", "leased").splitlines()
        self.assertEqual([json.loads(line)["state"] for line in lines], ["leased"] * 3)
        self.run_dmq("queue", "browse", self.queue, "--state", "gone", code=2)

    def test_a_terminal_is_not_steered_by_a_body(self):
        self.send(b"evil \x1b[31m", "größe".encode() * 200)
        table = self.run_on_terminal("queue", "browse", self.queue)
        self.assertIn("evil \\u001b[31m", table)
        self.assertIn("größe", table)
        self.assertIn("1.4 KiB", table)
        self.assertNotIn("\x1b", table + self.run_on_terminal("queue", "peek", self.queue))

    def test_purge_says_how_many_went(self):
        self.send(b"a", b"b")
        self.assertEqual(json.loads(self.run_dmq("queue", "purge", self.queue)), {"name": self.queue, "removed": 2})
        self.run_dmq("queue", "purge", "never-made", code=6)

    def test_purge_asks_on_a_terminal(self):
        self.send(b"a", b"b")
        shown = self.run_on_terminal("queue", "purge", self.queue, keys=[(b"[y/N]", b"n\n")], code=1)
        self.assertIn("2 messages now", shown)
        self.assertIn("nothing was removed", shown)
        self.assertEqual(self.counts(), (2, 0, 0))
        self.run_on_terminal("queue", "purge", self.queue, keys=[(b"[y/N]", signal.SIGINT)], code=1)
        self.assertEqual(self.counts(), (2, 0, 0))
        shown = self.run_on_terminal("queue", "purge", self.queue, keys=[(b"[y/N]", b"y\n")])
        self.assertIn("2 messages removed", shown)
        self.assertEqual(self.counts(), (0, 0, 0))
        self.assertIn("0 messages removed", self.run_on_terminal("queue", "purge", self.queue, "--yes"))

    def test_stats_of_one_queue_and_of_all(self):
        self.send(b"a", b"b")
        stats = json.loads(self.run_dmq("queue", "stats", self.queue))
        self.assertEqual((stats["name"], stats["ready"], stats["totals"]["sent"]), (self.queue, 2, 2))
        self.assertGreater(stats["sent_per_s"], 0)
        self.assertGreaterEqual(stats["oldest_age_ms"], 0)
        everyone = [json.loads(line)["name"] for line in self.run_dmq("queue", "stats").splitlines()]
        self.assertIn(self.queue, everyone)
        self.run_dmq("queue", "stats", self.queue, "never-made", code=6)
        self.assertIn("oldest_age_ms", self.run_on_terminal("queue", "stats", self.queue))

    def test_top_in_a_pipe(self):
        self.send(b"a")
        rows = [json.loads(line) for line in self.run_dmq("top", self.queue, "--once").splitlines()]
        self.assertEqual([row["name"] for row in rows], [self.queue])
        process = subprocess.Popen([os.path.join(PROGRAMS, "dmq"), "--broker", self.broker.endpoint, "top", self.queue,
                                    "--interval", "50ms"], stdout=subprocess.PIPE)
        self.addCleanup(process.stdout.close)
        for _ in range(3):
            self.assertEqual(json.loads(process.stdout.readline())["ready"], 1)
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(PATIENCE_S), 0)

    def test_top_on_a_terminal_goes_on_until_q(self):
        self.send(b"a", b"b")
        shown = self.run_on_terminal("top", "--interval", "50ms", keys=[(self.queue.encode(), b"q")])
        self.assertIn("sent/s", shown)
        self.assertTrue(shown.endswith("\x1b[?25h\x1b[?1049l"), shown[-40:])  # the terminal is as it was
        self.run_on_terminal("top", "--interval", "50ms", keys=[(b"\x1b[J", signal.SIGINT)])
        self.assertNotIn("\x1b[", self.run_on_terminal("top", "--once"))


if __name__ == "__main__":
    unittest.main()
