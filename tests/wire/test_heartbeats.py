# Consumers that name themselves: dmq-recv tells by itself that it is there, and one that stands still loses its messages.
import os
import signal
import subprocess
import tempfile
import time
import unittest

from harness import BrokerTest, wait_until

PROGRAM = os.path.join(os.path.dirname(os.environ.get("DMQ_BIN", "")), "dmq-recv")


class Heartbeats(BrokerTest):
    def start(self, *arguments):
        process = subprocess.Popen([PROGRAM, "--broker", self.broker.endpoint, *arguments, self.queue],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def wait_until_leased(self):
        wait_until(lambda: self.counts()[1] == 1, what="a message with the consumer")

    def test_what_a_stopped_consumer_holds_comes_to_another_before_its_lease_ends(self):
        self.send(b"x")
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        pid = os.path.join(folder.name, "pid")
        began = time.monotonic()
        consumer = self.start("--exec", f"echo $$ > {pid}; exec sleep 60", "--lease", "60s", "--consumer", "a", "--heartbeat", "500ms")
        wait_until(lambda: os.path.exists(pid) and os.path.getsize(pid) > 0, what="the command")
        with open(pid) as file:
            self.addCleanup(os.kill, int(file.read()), signal.SIGKILL)
        consumer.send_signal(signal.SIGSTOP)
        message, = self.receive(wait_ms=20_000)
        self.assertLess(time.monotonic() - began, 30)
        self.assertEqual((message["body"], message["deliveries"]), (b"x", 2))
        self.client.ask("ack", [message["receipt"]], queue=self.queue)

    def test_a_slow_command_keeps_its_message_for_longer_than_its_consumer_may_be_silent(self):
        self.send(b"x")
        consumer = self.start("--exec", "exec sleep 3", "--lease", "60s", "--consumer", "a", "--heartbeat", "300ms")
        self.wait_until_leased()
        self.assertEqual(self.receive(wait_ms=2000), [])
        self.assertEqual(consumer.wait(20), 0)
        self.assertEqual(self.counts(), (0, 0, 0))

    def test_one_that_waits_for_more_keeps_what_it_has(self):
        self.send(b"x")
        consumer = self.start("--count", "2", "--wait", "3s", "--ack", "after", "--lease", "60s", "--consumer", "a",
                              "--heartbeat", "300ms")
        self.wait_until_leased()
        self.assertEqual(self.receive(wait_ms=2000), [])
        self.assertEqual(consumer.wait(20), 0)
        self.assertEqual(self.counts(), (0, 0, 0))

    def test_flags_that_do_not_fit(self):
        for arguments in (["--heartbeat", "1s"], ["--consumer", ""]):
            self.assertEqual(self.start(*arguments).wait(20), 2)
        consumer = self.start("--consumer", "a", "--heartbeat", "1ms")
        self.assertEqual(consumer.wait(20), 1)
        self.assertIn(b"heartbeat_ms", consumer.stderr.read())


if __name__ == "__main__":
    unittest.main()
