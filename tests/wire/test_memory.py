# What a client makes the broker hold is bounded in bytes: clients that ask for much and do not read.
import os
import threading
import unittest

from harness import BrokerTest, memory_bound, memory_bytes, wait_until

MIB = 1 << 20
MESSAGES = 768  # of a MiB each
BATCH = 16
LEASE_MS = 4000 if os.environ.get("DMQ_SANITIZE") else 2000  # they are all to be leased at once
GROWTH_MAX = memory_bound(256 * MIB)  # 64 unread, the replies of two turns on their way, and what the allocator keeps of them

# Its library takes two replies off the connection, where the rest stays. It shows signs of life and does not insist on
# the broker's, which come behind the replies: so the broker does not take it for dead.
DOES_NOT_READ = {"rcvhwm": 1, "heartbeat_ivl": 500, "heartbeat_timeout": 600_000}


class Unread(BrokerTest):
    def setUp(self):
        super().setUp()
        self.lazy = self.new_client(**DOES_NOT_READ)
        self.lazy.ask("queue.create", queue=self.queue)
        self.bodies_sent = set()
        for batch in range(0, MESSAGES, BATCH):
            bodies = [b"%06d" % i + bytes(MIB - 100) for i in range(batch, batch + BATCH)]
            self.send(*bodies)
            self.bodies_sent.update(body[:6] for body in bodies)
        self.memory_before = self.most = memory_bytes(self.broker)
        self.stop = threading.Event()
        self.watcher = threading.Thread(target=self.watch)
        self.watcher.start()
        self.addCleanup(self.end_watch)

    def watch(self):
        """Looks at the broker's memory all the time: what it needs for a moment counts too."""
        while not self.stop.is_set():
            self.most = max(self.most, memory_bytes(self.broker))
            self.stop.wait(0.001)

    def end_watch(self):
        self.stop.set()
        self.watcher.join()

    def ask_for_all(self, client, lease_ms=600_000):
        """Posts receives for every message of the queue; how many."""
        for _ in range(MESSAGES // BATCH):
            client.post("receive", queue=self.queue, max=BATCH, max_bytes=BATCH * MIB, lease_ms=lease_ms)
        return MESSAGES // BATCH

    def serve_another(self, client):
        """Another client's small and large messages pass."""
        body = bytes(MIB)
        client.ask("send", [b"small", body], queue="others")
        messages = client.ask("receive", queue="others", max=2, max_bytes=2 * MIB)
        self.assertEqual([message["body"] for message in messages], [b"small", body])
        receipts = [message["receipt"] for message in messages]
        self.assertEqual(client.ask("ack", receipts, queue="others"), ["ok", "ok"])

    def settled(self, other):
        """The broker has answered all: what is not on its way to the client is ready again."""
        self.serve_another(other)
        ready, leased, _ = self.counts()
        same = (ready, leased) == getattr(self, "seen", None)
        self.seen = ready, leased
        return same and leased > 0

    def take(self, messages, client):
        """Acks the messages, which must be leased still; adds their bodies to self.got."""
        if not messages:
            return
        for message in messages:
            self.got.append(message["body"][:6])
        receipts = [message["receipt"] for message in messages]
        self.assertEqual(set(client.ask("ack", receipts, queue=self.queue)), {"ok"})

    def test_a_client_that_asks_for_much_and_reads_later_gets_all_and_holds_up_nobody(self):
        other = self.new_client()
        asked = self.ask_for_all(self.lazy)
        for _ in range(20):
            self.serve_another(other)
        wait_until(lambda: self.settled(other), what="an end of the leasing")
        growth = self.most - self.memory_before
        print(f"grew by {growth >> 20} MiB, {self.seen[1]} messages are leased")
        self.assertLess(growth, GROWTH_MAX)
        self.got = []
        refused = 0
        batches = []
        for _ in range(asked):
            answer, messages = self.lazy.reply()
            if answer["code"] == "ok":
                batches.append(messages)
            else:
                self.assertEqual((answer["code"], answer["retry"]), ("unavailable", True))
                self.assertIn("read", answer["message"])
                refused += 1
        self.assertGreater(refused, 0)
        self.assertGreaterEqual(len(batches), 64 // BATCH - 1)
        for messages in batches:
            self.take(messages, other)
        while messages := self.lazy.ask("receive", queue=self.queue, max=BATCH, max_bytes=BATCH * MIB):
            self.take(messages, other)
        self.assertEqual(len(self.got), MESSAGES)
        self.assertEqual(set(self.got), self.bodies_sent)
        self.assertEqual(self.counts(), (0, 0, 0))

    def test_clients_that_never_read_leave_nothing_when_they_go(self):
        other = self.new_client()
        for _ in range(24):  # together they are given more than the broker keeps unread
            wait_until(lambda: self.counts()[0] >= MESSAGES // 2, what="an end of the leases")
            client = self.new_client(**DOES_NOT_READ)
            self.ask_for_all(client, lease_ms=LEASE_MS)
            wait_until(lambda: self.counts()[1] >= 64, what="leases to it")
            client.close()
            self.serve_another(other)
        self.assertLess(self.most - self.memory_before, GROWTH_MAX)
        self.got = []

        def all_received():
            self.take(other.ask("receive", queue=self.queue, max=BATCH, max_bytes=BATCH * MIB, wait_ms=1000), other)
            return len(self.got) == MESSAGES

        wait_until(all_received, 60, "every message")
        self.assertEqual(set(self.got), self.bodies_sent)


if __name__ == "__main__":
    unittest.main()
