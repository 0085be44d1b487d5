# dmq-send, dmq-recv and dmq against a real broker, and through the death of one.
import json
import os
import signal
import subprocess
import tempfile
import time
import unittest

from harness import Broker, BrokerTest, Client, wait_until

PROGRAMS = os.path.dirname(os.environ.get("DMQ_BIN", ""))


def start(program, *arguments, endpoint, **options):
    return subprocess.Popen([os.path.join(PROGRAMS, program), "--broker", endpoint, *arguments],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


class Programs(BrokerTest):
    def run_program(self, program, *arguments, given=b"", endpoint=None, **variables):
        process = start(program, *arguments, endpoint=endpoint or self.broker.endpoint, stdin=subprocess.PIPE,
                        env={**os.environ, **variables})
        out, err = process.communicate(given, timeout=30)
        return process.returncode, out, err.decode()

    def test_a_body_and_a_header_arrive(self):
        self.assertEqual(self.run_program("dmq-send", "-H", "type:text", self.queue, "hello")[0], 0)
        code, out, _ = self.run_program("dmq-recv", self.queue)
        message = json.loads(out)
        self.assertEqual((code, message["body"], message["headers"]), (0, "hello", {"type": "text"}))
        self.assertEqual(self.counts(), (0, 0, 0))

    def test_several_headers_in_both_forms_arrive(self):
        self.assertEqual(self.run_program("dmq-send", "-H", "type:a=b", "--header", "size=1:2", "--header", "empty:",
                                          self.queue, "x")[0], 0)
        self.assertEqual(self.receive()[0]["headers"], {"type": b"a=b", "size": b"1:2", "empty": b""})
        for wrong in ("nothing", ":value", "=value"):
            code, _, err = self.run_program("dmq-send", "-H", wrong, self.queue, "x")
            self.assertEqual(code, 2)
            self.assertIn(f"'{wrong}' is not name:value or name=value", err)

    def test_messages_leave_at_their_rate(self):
        for given, flags in ((b"", ["--count", "31", self.queue, "x"]), (b"x\n" * 31, ["--lines", self.queue])):
            begin = time.monotonic()
            self.assertEqual(self.run_program("dmq-send", "--rate", "100", *flags, given=given)[0], 0)
            self.assertGreater(time.monotonic() - begin, 0.25)
            self.assertEqual(self.bodies(max=100), [b"x"] * 31)
        for wrong in ("0", "-1", "fast", "1e9"):
            code, _, err = self.run_program("dmq-send", "--rate", wrong, self.queue, "x")
            self.assertEqual(code, 2)
            self.assertIn("--rate", err)

    def test_ctrl_c_is_heard_between_two_messages_of_a_slow_rate(self):
        sender = start("dmq-send", "--rate", "0.001", "--count", "2", self.queue, "x", endpoint=self.broker.endpoint)
        self.addCleanup(sender.stdout.close)
        self.addCleanup(sender.stderr.close)
        wait_until(lambda: self.client.request("queue.describe", queue=self.queue)[0]["code"] == "ok"
                   and self.counts() == (1, 0, 0), what="the first message")
        sender.send_signal(signal.SIGINT)
        self.assertEqual(sender.wait(10), 7)

    def test_options_of_a_message(self):
        self.assertEqual(self.run_program("dmq-send", self.queue, "low")[0], 0)
        self.assertEqual(self.run_program("dmq-send", "--priority", "9", "--content-type", "text/plain", "--reply-to",
                                          "answers", "--correlation-id", "c-1", "--traceparent", "00-1-2-01", "--ttl",
                                          "1h", self.queue, "high")[0], 0)
        self.assertEqual(self.run_program("dmq-send", "--delay", "1h", self.queue, "later")[0], 0)
        self.assertEqual(self.run_program("dmq-send", "--at", "2100-01-01T00:00:00Z", self.queue, "much later")[0], 0)
        self.assertEqual(self.counts(), (2, 0, 2))
        code, out, _ = self.run_program("dmq-recv", "--count", "9", self.queue)
        high, low = map(json.loads, out.splitlines())
        self.assertEqual((code, high["body"], high["priority"], low["body"]), (0, "high", 9, "low"))
        self.assertEqual([high[key] for key in ("content_type", "reply_to", "correlation_id", "traceparent")],
                         ["text/plain", "answers", "c-1", "00-1-2-01"])
        self.assertEqual(high["expires_ms"] - high["sent_ms"], 3_600_000)
        self.assertNotIn("priority", low)

    def test_a_message_may_outlive_what_its_queue_says(self):
        self.client.ask("queue.create", {"ttl_ms": 3_600_000}, queue=self.queue)
        wait_until(lambda: self.client.code("queue.describe", queue=self.queue) == "ok", what="the queue")
        for flags in (["--ttl", "0s"], []):
            self.assertEqual(self.run_program("dmq-send", *flags, self.queue, "x")[0], 0)
        code, out, _ = self.run_program("dmq-recv", "--count", "2", self.queue)
        self.assertEqual(["expires_ms" in json.loads(line) for line in out.splitlines()], [False, True])

    def test_messages_of_a_key_are_received_one_after_the_other(self):
        for key, body in (("a", "a1"), ("a", "a2"), ("b", "b1")):
            self.assertEqual(self.run_program("dmq-send", "--key", key, self.queue, body)[0], 0)
        received = []
        for _ in range(2):
            code, out, _ = self.run_program("dmq-recv", "--count", "2", self.queue)
            self.assertEqual(code, 0)
            received += [(message["key"], message["body"]) for message in map(json.loads, out.splitlines())]
            if len(received) == 3:
                break
        self.assertEqual(received, [("a", "a1"), ("b", "b1"), ("a", "a2")])

    def test_wrong_options_of_a_message_are_told_before_anything_is_sent(self):
        for flags, word in ((["--priority", "10"], "--priority"), (["--at", "tomorrow"], "'tomorrow' is no time"),
                            (["--at", "2026-02-31 10:00"], "is no time"), (["--delay", "-1s"], "--delay"),
                            (["--at", "2100-01-01 00:00", "--delay", "1s"], "--at"),
                            (["--correlation-id", "x" * 256], "255 bytes")):
            code, _, err = self.run_program("dmq-send", *flags, self.queue, "x")
            self.assertIn(code, (1, 2), flags)
            self.assertIn(word, err)
        self.assertEqual(self.client.code("queue.describe", queue=self.queue), "no_such_queue")

    def test_settings_of_a_queue(self):
        code, out, _ = self.run_program("dmq", "queue", "create", self.queue, "--delay", "1m", "--ttl", "1d",
                                        "--priority-weights", "1,1,1,1,1,1,1,1,1,5")
        info = json.loads(out)
        self.assertEqual((code, info["delay_ms"], info["ttl_ms"], info["priority_weights"]),
                         (0, 60_000, 86_400_000, [1] * 9 + [5]))
        self.assertEqual(self.run_program("dmq", "queue", "create", self.queue + "2", "--priority-weights", "1,2")[0], 2)

    def test_settings_are_changed_and_a_queue_is_paused(self):
        self.client.ask("queue.create", queue=self.queue)
        code, out, _ = self.run_program("dmq", "queue", "update", self.queue, "--lease", "5m", "--ttl", "1d")
        info = json.loads(out)
        self.assertEqual((code, info["lease_ms"], info["ttl_ms"], info["version"]), (0, 300_000, 86_400_000, 2))
        code, _, err = self.run_program("dmq", "queue", "update", self.queue, "--ttl", "0s", "--if-version", "1")
        self.assertEqual(code, 1)
        self.assertIn("have version 2 by now", err)
        for nothing in ([], ["--if-version", "2"]):
            code, _, err = self.run_program("dmq", "queue", "update", self.queue, *nothing)
            self.assertEqual(code, 2)
            self.assertIn("nothing to change: give a setting, like --lease 2m", err)
        info = json.loads(self.run_program("dmq", "queue", "pause", self.queue, "--receive")[1])
        self.assertEqual((info.get("pause_receive"), info.get("pause_send")), (True, None))
        info = json.loads(self.run_program("dmq", "queue", "pause", self.queue)[1])
        self.assertEqual((info["pause_receive"], info["pause_send"]), (True, True))
        info = json.loads(self.run_program("dmq", "queue", "resume", self.queue)[1])
        self.assertEqual((info.get("pause_receive"), info.get("pause_send"), info["version"]), (None, None, 5))
        self.assertEqual(self.run_program("dmq", "queue", "pause", "never-made")[0], 6)

    def test_lines_keep_their_order(self):
        lines = b"".join(b"%d\n" % i for i in range(5000))
        code, out, _ = self.run_program("dmq-send", "--lines", "--json", self.queue, given=lines)
        self.assertEqual((code, json.loads(out)["sent"]), (0, 5000))
        self.assertEqual(self.run_program("dmq-recv", "--count", "9999", "--lines", self.queue)[:2], (0, lines))

    def test_bytes_pass_unchanged(self):
        body = os.urandom(300_000)
        self.run_program("dmq-send", self.queue, given=body)
        self.assertEqual(self.run_program("dmq-recv", "--raw", self.queue)[:2], (0, body))

    def test_without_an_ack_the_messages_go_back(self):
        self.send(b"a", b"b")
        code, out, _ = self.run_program("dmq-recv", "--ack", "none", "--count", "2", "--lines", self.queue)
        self.assertEqual((code, out), (0, b"a\nb\n"))
        self.assertEqual(self.counts(), (2, 0, 0))

    def test_exit_codes_say_what_happened(self):
        self.client.ask("queue.create", queue=self.queue)
        self.assertEqual(self.run_program("dmq-recv", self.queue)[0], 3)
        self.assertEqual(self.run_program("dmq-recv", "--ack", "what", self.queue)[0], 2)
        self.assertEqual(self.run_program("dmq", "queue", "describe", "never-made")[0], 6)
        code, _, err = self.run_program("dmq-send", "--timeout", "200ms", "q", "x", endpoint="tcp://127.0.0.1:1")
        self.assertEqual(code, 4)
        self.assertIn("cannot reach tcp://127.0.0.1:1 within 200ms", err)

    def test_no_command_tries_longer_than_its_timeout(self):
        for command in (["dmq-recv", "q"], ["dmq-recv", "--wait", "1h", "q"], ["dmq-recv", "--follow", "q"],
                        ["dmq-send", "q", "x"], ["dmq", "ping"]):
            begin = time.monotonic()
            self.assertEqual(self.run_program(*command, "--timeout", "300ms", endpoint="tcp://127.0.0.1:1")[0], 4)
            self.assertLess(time.monotonic() - begin, 0.9, command)

    def test_an_empty_queue_name_is_a_usage_error(self):
        for command in (["dmq-send", "", "x"], ["dmq-recv", ""], ["dmq", "queue", "create", ""],
                        ["dmq", "queue", "describe", ""], ["dmq", "queue", "delete", "", "--yes"]):
            code, out, err = self.run_program(*command)
            self.assertEqual((code, out), (2, b""), command)
            self.assertIn("the queue name is empty", err)

    def test_a_duration_that_cannot_be_read_is_answered_with_the_forms(self):
        code, _, err = self.run_program("dmq-recv", "--wait", "soon", self.queue)
        self.assertEqual(code, 2)
        self.assertIn("'soon' is no duration: write 500ms, 5s, 2m, 1h or 1d", err)

    def test_a_body_over_the_limit_names_the_limit(self):
        code, _, err = self.run_program("dmq-send", self.queue, given=bytes((16 << 20) + 1))
        self.assertEqual(code, 1)
        self.assertIn("16 MiB", err)
        self.assertIn("--lines", err)

    def test_a_queue_is_created_listed_and_deleted(self):
        self.assertEqual(self.run_program("dmq", "queue", "create", self.queue, "--lease", "2m")[0], 0)
        _, out, _ = self.run_program("dmq", "queue", "describe", self.queue)
        self.assertEqual(json.loads(out)["lease_ms"], 120_000)
        self.assertEqual(self.run_program("dmq", "queue", "delete", self.queue)[0], 0)
        self.assertNotIn(self.queue.encode(), self.run_program("dmq", "queue", "list")[1])

    def test_a_queue_may_be_confirmed_by_its_leader_alone(self):
        self.assertEqual(self.run_program("dmq", "queue", "create", self.queue, "--confirm", "leader")[0], 0)
        _, out, _ = self.run_program("dmq", "queue", "describe", self.queue)
        self.assertEqual(json.loads(out)["confirm"], "leader")
        self.assertEqual(self.run_program("dmq", "queue", "create", self.queue, "--confirm", "me")[0], 2)

    def test_ctrl_c_ends_following_and_leaves_no_lease(self):
        follower = start("dmq-recv", "--follow", "--lines", self.queue, endpoint=self.broker.endpoint)
        self.addCleanup(follower.stdout.close)
        self.addCleanup(follower.stderr.close)
        self.send(b"a")
        self.assertEqual(follower.stdout.readline(), b"a\n")
        follower.send_signal(signal.SIGINT)
        self.assertEqual(follower.wait(10), 0)
        self.send(b"b")
        self.assertEqual(self.counts(), (1, 0, 0))

    def test_messages_come_without_being_asked_for(self):
        follower = start("dmq-recv", "--follow", "--credit", "2", "--lines", self.queue, endpoint=self.broker.endpoint)
        self.addCleanup(follower.stdout.close)
        self.addCleanup(follower.stderr.close)
        for body in (b"a", b"b", b"c", b"d"):
            self.send(body)
            self.assertEqual(follower.stdout.readline(), body + b"\n")
        wait_until(lambda: self.counts() == (0, 0, 0), what="the acks")
        self.assertEqual(self.client.ask("queue.describe", queue=self.queue)["waiting"], 1)
        follower.send_signal(signal.SIGINT)
        self.assertEqual(follower.wait(10), 0)
        self.assertEqual(self.client.ask("queue.describe", queue=self.queue)["waiting"], 0)

    def test_what_a_count_leaves_of_a_credit_goes_back_uncounted(self):
        self.send(b"a", b"b", b"c")
        code, out, _ = self.run_program("dmq-recv", "--credit", "10", "--count", "2", "--lines", self.queue)
        self.assertEqual((code, out), (0, b"a\nb\n"))
        self.assertEqual([(m["body"], m["deliveries"]) for m in self.receive()], [(b"c", 1)])
        self.assertEqual(self.run_program("dmq-recv", "--credit", "10", self.queue)[0], 3)
        for wrong in (["--ack", "none"], ["--exec", "cat"]):
            self.assertEqual(self.run_program("dmq-recv", "--credit", "10", *wrong, self.queue)[0], 2)

    def test_a_closed_pipe_gives_the_messages_back(self):
        self.send(*[b"x"] * 200)
        follower = start("dmq-recv", "--follow", "--lines", self.queue, endpoint=self.broker.endpoint)
        follower.stdout.close()
        self.assertEqual(follower.wait(10), 1)
        follower.stderr.close()
        wait_until(lambda: self.counts() == (200, 0, 0), what="the return of all messages")

    def test_an_admin_endpoint_of_another_machine_is_not_looked_for_on_this_one(self):
        self.send(b"kept")
        code, _, err = self.run_program("dmq", "queue", "delete", self.queue,
                                        endpoint=self.broker.endpoint + ",tcp://192.0.2.1:7310")
        self.assertEqual(code, 5)
        self.assertIn("--admin", err)
        self.assertEqual(self.counts(), (1, 0, 0))

    def test_a_variable_of_its_own_names_the_admin_endpoint(self):
        admin = self.client.ask("hello")["admin"]
        elsewhere = "tcp://127.0.0.1:1"
        delete = ["dmq", "queue", "delete", "--timeout", "300ms", self.queue]
        self.send(b"x")
        self.assertEqual(self.run_program(*delete, DMQ_ADMIN_ENDPOINT=elsewhere)[0], 4)
        # DMQ_ADMIN is where dmq-broker listens.
        self.assertEqual(self.run_program(*delete, DMQ_ADMIN=elsewhere)[0], 0)
        self.send(b"x")
        self.assertEqual(self.run_program(*delete, DMQ_ADMIN_ENDPOINT=admin)[0], 0)

    def test_a_count_out_of_range_sends_nothing(self):
        self.send(b"first")
        for count in ("0", "-1"):
            self.assertEqual(self.run_program("dmq-send", "--count", count, self.queue, "x")[0], 2)
        self.assertEqual(self.counts(), (1, 0, 0))

    def test_a_receiver_whose_reader_sleeps_still_hears_ctrl_c(self):
        self.send(*[bytes(10_000)] * 100)
        for number in (signal.SIGINT, signal.SIGTERM):
            receiver = start("dmq-recv", "--follow", "--raw", self.queue, endpoint=self.broker.endpoint)
            wait_until(lambda: self.counts()[1] > 0, what="a lease")
            receiver.send_signal(number)
            self.assertEqual(receiver.wait(10), 0)
            receiver.stdout.close()
            receiver.stderr.close()
            wait_until(lambda: self.counts() == (100, 0, 0), what="the return of all messages")

    def run_without(self, closed, program, *arguments):
        """Runs a program that has none of the descriptors `closed`; its exit code."""
        def close():
            for fd in closed:
                os.close(fd)
        command = [os.path.join(PROGRAMS, program), "--broker", self.broker.endpoint, *arguments]
        return subprocess.Popen(command, preexec_fn=close).wait(10)

    def test_closed_standard_streams_are_errors_and_lose_nothing(self):
        self.send(b"kept")
        self.assertEqual(self.run_without([0], "dmq-send", self.queue), 1)
        for closed in ([1, 2], [0, 1, 2]):
            self.assertEqual(self.run_without(closed, "dmq-recv", self.queue), 1)
            self.assertEqual(self.run_without(closed, "dmq", "ping"), 1)
        wait_until(lambda: self.counts() == (1, 0, 0), what="the return of the message")

    def test_a_result_that_cannot_be_written_is_said(self):
        with open("/dev/full", "wb") as full:
            for command in (["dmq", "ping"], ["dmq-send", "--json", self.queue, "x"]):
                command[:1] = [os.path.join(PROGRAMS, command[0]), "--broker", self.broker.endpoint]
                done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, timeout=30)
                self.assertIn(b"cannot write to standard output", done.stderr)


class Start(BrokerTest):
    def start_broker(self, *flags):
        return subprocess.run([os.environ["DMQ_BIN"], *flags], timeout=30, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)

    def test_a_port_that_is_taken_leaves_no_store_behind(self):
        with tempfile.TemporaryDirectory() as folder:
            store = os.path.join(folder, "store")
            done = self.start_broker("--data", store, "--listen", self.broker.endpoint, "--admin", "")
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertIn(f"cannot listen on '{self.broker.endpoint}'", done.stderr)
            self.assertFalse(os.path.exists(store))

    def test_an_endpoint_may_be_host_and_port(self):
        starting = Broker()
        starting.flags = ["--ephemeral", "--listen", "127.0.0.1:*", "--admin", "127.0.0.1:*"]
        with starting as broker, Client(broker.endpoint) as client:
            self.assertRegex(broker.endpoint, r"^tcp://127\.0\.0\.1:\d+$")
            self.assertRegex(client.ask("hello")["admin"], r"^tcp://127\.0\.0\.1:\d+$")


class Death(unittest.TestCase):
    def test_a_broker_killed_while_sending_loses_and_doubles_nothing(self):
        with tempfile.TemporaryDirectory() as store:
            first = Broker("--data", store, "--admin", "tcp://127.0.0.1:*").__enter__()
            sender = start("dmq-send", "--lines", "--timeout", "30s", "q", endpoint=first.endpoint,
                           stdin=subprocess.PIPE)
            lines = [b"%d\n" % i for i in range(20_000)]
            sender.stdin.write(b"".join(lines[:10_000]))
            sender.stdin.flush()
            with Client(first.endpoint) as client:
                wait_until(lambda: client.request("queue.describe", queue="q")[0]["code"] == "ok"
                           and client.ask("queue.describe", queue="q")["ready"] > 0, what="the first messages")
            first.process.kill()
            first.stop()
            second = Broker("--data", store, "--admin", "tcp://127.0.0.1:*", "--listen", first.endpoint)
            second.flags = second.flags[2:]  # on the port of the first one
            with second:
                self.assertEqual(sender.communicate(b"".join(lines[10_000:]), timeout=60)[0], b"")
                self.assertEqual(sender.returncode, 0)
                receiver = start("dmq-recv", "--count", "99999", "--lines", "q", endpoint=second.endpoint)
                out, _ = receiver.communicate(timeout=60)
                self.assertEqual(out, b"".join(lines))


if __name__ == "__main__":
    unittest.main()
