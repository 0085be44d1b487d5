# Retries, dead letters and redrive, on the wire and in the shell, and over a restart of the broker.
import json
import os
import subprocess
import tempfile
import unittest

from harness import Broker, BrokerTest, Client, wait_until

PROGRAMS = os.path.dirname(os.environ.get("DMQ_BIN", ""))
SETTINGS_S = 10  # until a queue's settings have reached its worker


class DeadLetters(BrokerTest):
    def create(self, **settings):
        """A queue that knows its settings: its worker hears of them a moment later than the router."""
        self.dead = self.queue + ".dead"
        self.client.ask("queue.create", settings, queue=self.queue)
        wanted = {name: value for name, value in settings.items() if value not in (0, None)}
        def known():
            header, info = self.client.request("queue.describe", queue=self.queue)
            return header["code"] == "ok" and wanted.items() <= info.items()
        wait_until(known, SETTINGS_S, what="the queue's settings")

    def take(self, **options):
        return self.receive(wait_ms=10_000, **options)[0]

    def nack(self, message, **options):
        self.assertEqual(self.client.ask("nack", [message["receipt"]], queue=self.queue, **options), ["ok"])

    def describe(self, queue=None):
        return self.client.ask("queue.describe", queue=queue or self.queue)

    def wait_for_dead_letters(self, count):
        wait_until(lambda: self.describe(self.dead)["ready"] == count and self.describe()["dead"] == 0,
                   what=f"{count} dead letters")

    def dmq(self, *words, code=0):
        done = subprocess.run([os.path.join(PROGRAMS, "dmq"), "--broker", self.broker.endpoint, *words],
                              capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, code, (words, done.stdout, done.stderr))
        return [json.loads(line) for line in done.stdout.splitlines()] if code == 0 else done.stderr

    def test_what_happened_to_a_message_comes_with_it(self):
        self.send(b"a")
        first = self.take()
        self.assertNotIn("first_ms", first)
        self.nack(first, reason="no stock")
        second = self.take()
        self.assertEqual((second["deliveries"], second["reason"]), (2, "no stock"))
        self.assertLessEqual(first["sent_ms"], second["first_ms"])
        self.assertEqual(second["first_ms"], second["last_ms"])
        self.nack(second, kind="give_back")
        self.assertEqual(self.take()["deliveries"], 2)

    def test_a_message_that_fails_too_often_goes_to_the_dead_letter_queue_and_back(self):
        self.create(max_deliveries=2, dead_letter=self.queue + ".dead")
        ids = self.send({"body": b"a", "headers": {"colour": "red"}, "priority": 3, "correlation_id": "c-1"}, b"b")
        for _ in range(2):
            message = self.take()
            self.assertEqual(message["body"], b"a")
            self.nack(message, kind="failed", reason="no stock")
        self.wait_for_dead_letters(1)
        dead = self.client.ask("receive", queue=self.dead, wait_ms=5000)[0]
        self.assertEqual((dead["id"], dead["body"], dead["deliveries"], dead["priority"]), (ids[0], b"a", 1, 3))
        self.assertEqual((dead["headers"], dead["correlation_id"]), ({"colour": b"red"}, "c-1"))
        origin = dead["origin"]
        self.assertEqual((origin["queue"], origin["cause"], origin["deliveries"], origin["reason"]),
                         (self.queue, "max_deliveries", 2, "no stock"))
        self.assertLessEqual(origin["first_ms"], origin["last_ms"])
        self.assertEqual(self.bodies(max=10), [b"b"])
        self.client.ask("nack", [dead["receipt"]], queue=self.dead, kind="give_back")
        self.assertEqual(self.client.ask("queue.redrive", queue=self.dead), {"revived": 0, "moved": 1})
        back = self.take()
        self.assertEqual((back["id"], back["deliveries"], back["headers"]), (ids[0], 1, {"colour": b"red"}))
        self.assertNotIn("origin", back)
        wait_until(lambda: self.describe(self.dead)["bytes"] == 0, what="that it is gone from there")

    def test_a_fatal_nack_is_enough_and_a_lease_that_ends_counts(self):
        self.create(max_deliveries=1, dead_letter=self.queue + ".dead")
        self.send(b"rejected", b"forgotten")
        self.nack(self.take(), kind="fatal", reason="no such article")
        self.take(lease_ms=100)
        self.wait_for_dead_letters(2)
        causes = {m["body"]: (m["origin"]["cause"], m["origin"].get("reason"))
                  for m in self.client.ask("receive", queue=self.dead, max=10)}
        self.assertEqual(causes, {b"rejected": ("rejected", "no such article"), b"forgotten": ("max_deliveries", None)})

    def test_an_expired_message_goes_there_too(self):
        self.create(ttl_ms=100, dead_letter=self.queue + ".dead")
        self.send(b"late")
        self.wait_for_dead_letters(1)
        self.assertEqual(self.client.ask("receive", queue=self.dead)[0]["origin"]["cause"], "expired")

    def test_the_delay_after_a_failure_grows(self):
        self.create(retry_delay_ms=150, retry_backoff="exponential", retry_delay_max_ms=200)
        self.send(b"a")
        for least in (150, 200, 200):
            message = self.take()
            self.nack(message)
            self.assertEqual(self.counts(), (0, 0, 1))
            again = self.client.ask("browse", queue=self.queue, state="delayed")["messages"][0]
            self.assertGreaterEqual(again["ready_ms"], again["sent_ms"] + least)

    def test_without_a_dead_letter_queue_they_stay_and_can_be_redriven(self):
        self.create(max_deliveries=1)
        self.send(b"a", b"b", b"c")
        for _ in range(3):
            self.nack(self.take(), reason="no")
        self.assertEqual((self.describe()["dead"], self.describe()["ready"]), (3, 0))
        page = self.client.ask("browse", queue=self.queue, state="dead", max=2)
        self.assertEqual([(m["body"], m["state"], m["cause"], m["reason"]) for m in page["messages"]],
                         [(b"a", "dead", "max_deliveries", "no"), (b"b", "dead", "max_deliveries", "no")])
        one = page["messages"][1]["id"]
        self.assertEqual(self.client.ask("queue.redrive", [one], queue=self.queue), {"revived": 1, "moved": 0})
        self.assertEqual(self.bodies(max=10), [b"b"])
        first = self.client.ask("queue.redrive", queue=self.queue, max=1)
        self.assertEqual((first["revived"], "next" in first), (1, True))
        rest = self.client.ask("queue.redrive", queue=self.queue, after=first["next"])
        self.assertEqual(rest, {"revived": 1, "moved": 0})
        self.assertEqual(self.bodies(max=10), [b"a", b"c"])

    def test_settings_that_make_no_sense_are_refused(self):
        for settings in ({"dead_letter": self.queue}, {"dead_letter": ""}, {"dead_letter": 7}, {"max_deliveries": -1},
                         {"max_deliveries": 1_000_001}, {"retry_backoff": "cubic"}, {"retry_jitter": 101},
                         {"retry_delay_ms": 365 * 86_400_000 + 1}):
            self.assertEqual(self.client.code("queue.create", settings, queue=self.queue), "invalid_argument", settings)

    def test_nacks_that_make_no_sense_are_refused(self):
        self.send(b"a")
        receipt = self.take()["receipt"]
        for options in ({"kind": "later"}, {"kind": 1}, {"reason": "x" * 1025}, {"reason": "a\nb"},
                        {"kind": "fatal", "delay_ms": 5}):
            self.assertEqual(self.client.code("nack", [receipt], queue=self.queue, **options), "invalid_argument")
        self.assertEqual(self.client.ask("ack", [receipt], queue=self.queue), ["ok"])

    def test_a_client_cannot_pretend_to_be_a_queue(self):
        self.assertEqual(self.client.code("send", [b"a"], queue=self.queue, producer="\x010.1", sequence=1),
                         "invalid_argument")

    def test_the_shell_does_all_of_it(self):
        self.dead = self.queue + ".dead"
        created = self.dmq("queue", "create", self.queue, "--max-deliveries", "1", "--dead-letter", self.dead,
                           "--retry-delay", "1s", "--retry-backoff", "linear", "--retry-delay-max", "1m",
                           "--retry-jitter", "10")[0]
        self.assertEqual((created["max_deliveries"], created["dead_letter"], created["retry_backoff"]),
                         (1, self.dead, "linear"))
        wait_until(lambda: self.client.code("queue.describe", queue=self.queue) == "ok", SETTINGS_S)
        wait_until(lambda: "dead_letter" in self.describe(), SETTINGS_S)
        self.send(*[b"%d" % i for i in range(5)])
        for message in self.receive(max=5):
            self.nack(message, reason="no")
        self.wait_for_dead_letters(5)
        shown = self.dmq("queue", "peek", self.dead)[0]
        self.assertEqual((shown["origin_queue"], shown["cause"], shown["reason"]), (self.queue, "max_deliveries", "no"))
        received = subprocess.run([os.path.join(PROGRAMS, "dmq-recv"), "--broker", self.broker.endpoint, self.dead,
                                   "--count", "1", "--ack", "none", "--lease", "1s"], capture_output=True, text=True,
                                  timeout=60)
        origin = {"queue": self.queue, "cause": "max_deliveries", "deliveries": 1, "reason": "no"}
        self.assertEqual(json.loads(received.stdout)["origin"], origin)
        self.wait_for_dead_letters(5)  # its lease ends
        done = self.dmq("queue", "redrive", self.dead, "--rate", "100", "--max", "3")[0]
        self.assertEqual(done, {"queue": self.dead, "revived": 0, "moved": 3})
        self.assertEqual(self.dmq("queue", "redrive", self.dead)[0]["moved"], 2)
        wait_until(lambda: self.describe()["ready"] == 5)
        self.assertEqual(self.dmq("queue", "redrive", self.dead)[0]["moved"], 0)
        changed = self.dmq("queue", "update", self.queue, "--no-dead-letter", "--max-deliveries", "0")[0]
        self.assertNotIn("dead_letter", changed)
        self.assertNotIn("max_deliveries", changed)
        self.dmq("queue", "redrive", self.dead, "--rate", "0", code=2)


class Limits(BrokerTest):
    def create(self, **settings):
        self.client.ask("queue.create", settings, queue=self.queue)
        wait_until(lambda: settings.items() <= (self.client.request("queue.describe", queue=self.queue)[1] or {}).items(),
                   SETTINGS_S, what="the queue's settings")

    def test_a_full_queue_refuses_until_there_is_room(self):
        self.create(max_messages=2)
        self.send(b"a", b"b")
        header, _ = self.client.request("send", [b"c"], queue=self.queue)
        self.assertEqual((header["code"], header["retry"]), ("queue_full", True))
        self.assertIn("2 messages; receive and ack some", header["message"])
        header, _ = self.client.request("send", [b"c", b"d", b"e"], queue=self.queue)
        self.assertIn("2 messages; send fewer at once", header["message"])
        self.client.ask("ack", [self.receive()[0]["receipt"]], queue=self.queue)
        self.send(b"c")
        self.assertEqual(self.bodies(max=10), [b"b", b"c"])

    def test_the_oldest_go_when_the_queue_says_so(self):
        self.create(max_messages=2, when_full="drop_oldest", max_leased=1)
        for body in (b"a", b"b", b"c", b"d"):
            self.send(body)
        self.assertEqual(self.bodies(max=10), [b"c"])

    def test_limits_that_make_no_sense_are_refused(self):
        for settings in ({"max_messages": -1}, {"max_message_bytes": 16 * 2**20 + 1}, {"when_full": "panic"},
                         {"max_leased": "1"}):
            self.assertEqual(self.client.code("queue.create", settings, queue=self.queue), "invalid_argument", settings)

    def test_the_shell_sets_them(self):
        done = subprocess.run([os.path.join(PROGRAMS, "dmq"), "--broker", self.broker.endpoint, "queue", "create",
                               self.queue, "--max-messages", "10", "--max-bytes", "1MiB", "--max-message-bytes", "64KiB",
                               "--max-leased", "3", "--when-full", "drop_oldest"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        created = json.loads(done.stdout)
        self.assertEqual((created["max_messages"], created["max_bytes"], created["max_message_bytes"],
                          created["max_leased"], created["when_full"]), (10, 1 << 20, 64 << 10, 3, "drop_oldest"))


class AtMostOnce(BrokerTest):
    def test_a_message_that_is_acked_on_delivery_is_gone(self):
        self.send(b"a", b"b")
        reply, messages = self.client.request("receive", queue=self.queue, max=10, ack="on_delivery")
        self.assertEqual((reply["confirmed"], [m["body"] for m in messages]), ("in_sync", [b"a", b"b"]))
        self.assertEqual(self.client.ask("queue.describe", queue=self.queue)["bytes"], 0)
        result = self.client.ask("ack", [messages[0]["receipt"]], queue=self.queue)[0]
        self.assertEqual(result["code"], "stale_receipt")
        self.assertEqual(self.receive(ack="on_delivery"), [])
        self.assertEqual(self.client.code("receive", queue=self.queue, ack="later"), "invalid_argument")

    def test_a_receive_that_waits_gets_it_too(self):
        self.client.post("receive", queue=self.queue, wait_ms=10_000, ack="on_delivery")
        other = self.new_client()
        other.ask("send", [b"late"], queue=self.queue)
        self.assertEqual(self.client.reply()[1][0]["body"], b"late")
        self.assertEqual(other.ask("queue.describe", queue=self.queue)["bytes"], 0)


class OverARestart(unittest.TestCase):
    def test_what_became_of_messages_survives_the_death_of_the_broker(self):
        with tempfile.TemporaryDirectory() as data:
            with Broker("--data", data) as broker, Client(broker.endpoint) as client:
                client.ask("queue.create", {"max_deliveries": 2}, queue="q")
                wait_until(lambda: client.request("queue.describe", queue="q")[1].get("max_deliveries") == 2)
                client.ask("send", [b"dead", b"once", b"delayed"], queue="q")
                dead, once, delayed = client.ask("receive", queue="q", max=3)
                client.ask("nack", [dead["receipt"]], queue="q", kind="fatal", reason="never")
                client.ask("nack", [once["receipt"]], queue="q", reason="not yet")
                client.ask("nack", [delayed["receipt"]], queue="q", kind="give_back", delay_ms=3_600_000)
                broker.process.kill()
            with Broker("--data", data) as broker, Client(broker.endpoint) as client:
                info = client.ask("queue.describe", queue="q")
                self.assertEqual((info["dead"], info["ready"], info["delayed"]), (1, 1, 1))
                message = client.ask("receive", queue="q")[0]
                self.assertEqual((message["body"], message["deliveries"], message["reason"]), (b"once", 2, "not yet"))
                self.assertEqual(client.ask("queue.redrive", queue="q"), {"revived": 1, "moved": 0})
                self.assertEqual(client.ask("receive", queue="q")[0]["body"], b"dead")


class SeveralWorkers(unittest.TestCase):
    def test_dead_letters_go_to_the_worker_that_serves_their_queue(self):
        with Broker("--admin", "", "--workers", "3") as broker, Client(broker.endpoint) as client:
            queues = [f"queue-{number}" for number in range(12)]  # which lie with all of them
            for queue in queues:
                client.ask("queue.create", {"dead_letter": "dead"}, queue=queue)
                wait_until(lambda: client.request("queue.describe", queue=queue)[1].get("dead_letter"), what="the queue")
                client.ask("send", [queue], queue=queue)
                message, = client.ask("receive", queue=queue)
                client.ask("nack", [message["receipt"]], queue=queue, kind="fatal")
            wait_until(lambda: client.ask("queue.describe", queue="dead")["ready"] == len(queues), what="dead letters")


if __name__ == "__main__":
    unittest.main()
