# dmq-recv --exec against a real broker: commands get messages, their exit codes settle them, Ctrl-C waits.
import json
import os
import signal
import subprocess
import tempfile
import unittest

from harness import BrokerTest, wait_until

PROGRAM = os.path.join(os.path.dirname(os.environ.get("DMQ_BIN", "")), "dmq-recv")


class Exec(BrokerTest):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def path(self, name):
        return os.path.join(self.folder, name)

    def gate(self):
        """A command that names its gate, a pipe, in a file, and waits there for its exit code: release()."""
        return (f"gate={self.folder}/$DMQ_MESSAGE_ID; mkfifo $gate; echo $gate >> {self.path('started')}; "
                "read -r code < $gate; exit $code")

    def release(self, number=0, code=0):
        """Lets the command go that began as this one."""
        with open(self.text("started").splitlines()[number], "w") as gate:
            gate.write(f"{code}\n")

    def started(self):
        return self.text("started").count("\n")

    def text(self, name):
        try:
            with open(self.path(name)) as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def start(self, *arguments, **options):
        process = subprocess.Popen([PROGRAM, "--broker", self.broker.endpoint, *arguments, self.queue],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        self.addCleanup(lambda: process.poll() is None and process.kill())
        return process

    def end(self, process):
        out, err = process.communicate(timeout=30)
        return process.returncode, out, err.decode()

    def run_exec(self, command, *arguments, **options):
        return self.end(self.start("--exec", command, *arguments, **options))

    def test_a_command_gets_the_body_and_the_message_is_acked(self):
        body = os.urandom(300_000)
        self.send(body)
        self.assertEqual(self.run_exec("cat"), (0, body, ""))
        self.assertEqual(self.counts(), (0, 0, 0))

    def test_a_command_learns_of_the_message(self):
        ids = self.send({"body": b"x", "priority": 3, "content_type": "a/b", "reply_to": "answers",
                         "headers": {"colour-of": "red; rm -rf /"}})
        code, out, _ = self.run_exec('env | grep ^DMQ_', env={**os.environ, "DMQ_CORRELATION_ID": "of another"})
        told = dict(line.split("=", 1) for line in out.decode().splitlines())
        self.assertEqual(code, 0)
        for name, value in (("MESSAGE_ID", ids[0]), ("QUEUE", self.queue), ("DELIVERIES", "1"), ("PRIORITY", "3"),
                            ("CONTENT_TYPE", "a/b"), ("REPLY_TO", "answers"), ("HEADER_COLOUR_OF", "red; rm -rf /"),
                            ("ENDPOINT", self.broker.endpoint)):
            self.assertEqual(told["DMQ_" + name], value)
        self.assertEqual(json.loads(told["DMQ_HEADERS"]), {"colour-of": "red; rm -rf /"})
        self.assertNotIn("DMQ_CORRELATION_ID", told)

    def test_a_failed_command_gives_its_message_back_with_the_delay(self):
        self.send(b"good", b"bad", b"good")
        code, out, err = self.run_exec('test "$(cat)" = good', "--count", "9", "--nack-delay", "1h")
        self.assertEqual((code, out), (7, b""))
        self.assertIn("goes back: the command ended with exit code 1; it comes again in 3600s", err)
        self.assertIn("2 messages done, 1 given back", err)
        self.assertEqual(self.counts(), (0, 0, 1))

    def test_a_delay_of_zero_lets_it_come_at_once(self):
        self.send(b"x")
        code, _, err = self.run_exec("exit 3", "--count", "2", "--nack-delay", "0s")
        self.assertEqual(code, 1)
        self.assertEqual(err.count("ended with exit code 3"), 2)
        self.assertEqual([message["deliveries"] for message in self.receive()], [3])

    def test_nothing_there_is_an_exit_code_of_its_own(self):
        self.client.ask("queue.create", queue=self.queue)
        self.assertEqual(self.run_exec("cat"), (3, b"", ""))
        self.assertEqual(self.run_exec("cat", "--wait", "100ms", "--concurrency", "5")[0], 3)

    def test_a_command_that_is_not_there_takes_no_message(self):
        self.send(b"x")
        code, _, err = self.run_exec("no-such-program --flag", "--follow")
        self.assertEqual(code, 2)
        self.assertIn("the command 'no-such-program' is not found", err)
        self.assertEqual([message["deliveries"] for message in self.receive()], [1])

    def test_a_command_that_only_the_shell_can_find_missing_gives_its_message_back_and_ends(self):
        self.send(b"x", b"y")
        code, _, err = self.run_exec("$NEVER_SET no-such-program", "--follow")
        self.assertEqual(code, 1)
        self.assertIn("the command ended with exit code 127", err)
        self.assertEqual(self.counts(), (2, 0, 0))

    def test_the_lease_lasts_as_long_as_the_command(self):
        self.send(b"x")
        process = self.start("--exec", self.gate(), "--lease", "300ms")
        wait_until(lambda: self.started() == 1, what="the command")
        self.assertEqual(self.receive(wait_ms=1500), [])
        self.release()
        self.assertEqual(self.end(process)[0], 0)
        self.assertEqual(self.counts(), (0, 0, 0))

    def test_a_receiver_that_is_killed_leaves_the_message_to_others(self):
        self.send(b"x")
        process = self.start("--exec", self.gate(), "--lease", "300ms")
        wait_until(lambda: self.started() == 1, what="the command")
        process.kill()
        process.wait()
        self.assertEqual([message["deliveries"] for message in self.receive(wait_ms=10_000)], [2])
        self.release()  # its command has gone on meanwhile

    def test_commands_run_at_once_and_not_more_than_wanted(self):
        self.send(*[b"x"] * 5)
        process = self.start("--exec", self.gate(), "--concurrency", "3", "--count", "5")
        wait_until(lambda: self.started() == 3, what="three commands")
        self.assertEqual(self.counts(), (2, 3, 0))
        for number in range(5):
            wait_until(lambda: self.started() == min(3 + number, 5), what="the next command")
            self.release(number)
        self.assertEqual(self.end(process)[0], 0)
        self.assertEqual(self.counts(), (0, 0, 0))

    def test_ctrl_c_waits_for_the_command(self):
        self.send(b"x", b"y")
        process = self.start("--exec", self.gate(), "--follow")
        wait_until(lambda: self.started() == 1, what="the command")
        process.send_signal(signal.SIGINT)
        self.assertIn(b"waiting for 1 command; Ctrl-C again", process.stderr.readline())
        self.release()
        self.assertEqual(self.end(process)[0], 0)
        self.assertEqual(self.counts(), (1, 0, 0))

    def test_a_second_ctrl_c_ends_the_commands_and_gives_the_messages_back(self):
        self.send(b"x", b"y")
        process = self.start("--exec", self.gate(), "--follow", "--concurrency", "2", "--nack-delay", "1h")
        wait_until(lambda: self.started() == 2, what="the commands")
        process.send_signal(signal.SIGINT)
        self.assertIn(b"waiting for 2 commands", process.stderr.readline())
        process.send_signal(signal.SIGINT)
        code, _, err = self.end(process)
        self.assertEqual(code, 1)
        self.assertEqual(err.count("was ended by signal 15"), 2)
        self.assertEqual(self.counts(), (2, 0, 0))

    def test_a_command_that_does_not_heed_the_signal_is_killed(self):
        self.send(b"x")
        process = self.start("--exec", "trap '' TERM; " + self.gate(), "--follow")
        wait_until(lambda: self.started() == 1, what="the command")
        process.send_signal(signal.SIGINT)
        self.assertIn(b"waiting for 1 command", process.stderr.readline())
        process.send_signal(signal.SIGINT)
        self.assertIn("was ended by signal 9", self.end(process)[2])
        self.assertEqual(self.counts(), (1, 0, 0))

    def test_a_command_that_took_too_long_without_its_lease_is_told(self):
        self.send(b"x")
        process = self.start("--exec", self.gate(), "--lease", "200ms")
        wait_until(lambda: self.started() == 1, what="the command")
        process.send_signal(signal.SIGSTOP)  # its lease ends
        self.assertEqual(len(self.receive(wait_ms=10_000)), 1)
        process.send_signal(signal.SIGCONT)
        self.assertIn(b"may come to another receiver while its command runs", process.stderr.readline())
        self.release()
        code, _, err = self.end(process)
        self.assertEqual(code, 1)
        self.assertIn("1 done too late", err)

    def test_a_broker_that_is_away_ends_it_with_its_exit_code(self):
        process = subprocess.run([PROGRAM, "--broker", "tcp://127.0.0.1:1", "--timeout", "300ms", "--follow", "--exec",
                                  "cat", "q"], stderr=subprocess.PIPE, timeout=30)
        self.assertEqual(process.returncode, 4)
        self.assertIn(b"cannot reach tcp://127.0.0.1:1 within 300ms", process.stderr)

    def test_flags_that_do_not_fit_are_refused(self):
        for flags in (["--concurrency", "2"], ["--nack-delay", "1s"], ["--exec", "cat", "--lines"],
                      ["--exec", "cat", "--ack", "none"], ["--exec", ""], ["--exec", "cat", "--concurrency", "0"]):
            self.assertEqual(self.end(self.start(*flags))[0], 2, flags)


if __name__ == "__main__":
    unittest.main()
