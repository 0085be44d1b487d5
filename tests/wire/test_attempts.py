# Receives that say who asks: attempts that are repeated, consumers that give signs, and queues with an owner.
import unittest

from harness import BrokerTest, wait_until


class Attempts(BrokerTest):
    def test_a_repeat_gets_the_same_on_another_connection(self):
        self.send(b"a", b"b", b"c")
        first = self.receive(max=2, attempt="one")
        again = self.receive(self.new_client(), max=2, attempt="one")
        self.assertEqual(first, again)
        self.assertEqual([m["body"] for m in self.receive(max=2, attempt="two")], [b"c"])
        self.client.ask("ack", [first[0]["receipt"]], queue=self.queue)
        self.assertEqual(self.receive(max=2, attempt="one"), first[1:])

    def test_a_repeat_of_one_that_waits_ends_it(self):
        waiting = self.new_client()
        number = waiting.post("receive", queue=self.queue, wait_ms=30_000, attempt="one")
        wait_until(lambda: self.client.code("queue.describe", queue=self.queue) == "ok", what="the queue")
        wait_until(lambda: self.client.ask("queue.describe", queue=self.queue)["waiting"] == 1, what="the receive")
        self.assertEqual(self.receive(attempt="one"), [])
        header, messages = waiting.reply()
        self.assertEqual((header["id"], messages), (number, []))

    def test_what_is_no_attempt(self):
        for bad in ("x" * 65, "a\n", 7):
            self.assertEqual(self.client.code("receive", queue=self.queue, attempt=bad), "invalid_argument", bad)
        code = self.client.code("receive", queue=self.queue, attempt="x", ack="on_delivery")
        self.assertEqual(code, "invalid_argument")


class Consumers(BrokerTest):
    def test_who_goes_silent_gives_its_messages_back(self):
        self.send(b"a")
        self.receive(consumer="x", heartbeat_ms=300, lease_ms=60_000)
        for _ in range(3):
            self.client.ask("heartbeat", queue=self.queue, consumer="x")
            self.assertEqual(self.receive(wait_ms=100), [])
        again = self.receive(wait_ms=10_000)
        self.assertEqual([(m["body"], m["deliveries"]) for m in again], [(b"a", 2)])

    def test_each_holds_so_many(self):
        self.client.ask("queue.create", {"max_leased_by_consumer": 1}, queue=self.queue)
        wait_until(lambda: self.client.code("queue.describe", queue=self.queue) == "ok", what="the queue")
        self.send(b"a", b"b")
        first, = self.receive(consumer="x", max=10)
        self.assertEqual(self.receive(consumer="x", max=10), [])
        self.assertEqual(len(self.receive(consumer="y", max=10)), 1)
        self.send(b"c")
        self.client.ask("ack", [first["receipt"]], queue=self.queue, consumer="x")
        self.assertEqual([m["body"] for m in self.receive(consumer="x", max=10)], [b"c"])

    def test_what_is_no_heartbeat(self):
        self.send(b"a")
        for bad in ({}, {"consumer": ""}, {"consumer": "x" * 65}, {"consumer": "x", "heartbeat_ms": 99}):
            self.assertEqual(self.client.code("heartbeat", queue=self.queue, **bad), "invalid_argument", bad)
        self.assertEqual(self.client.code("receive", queue=self.queue, heartbeat_ms=1000), "invalid_argument")
        self.assertEqual(self.client.code("heartbeat", queue="not-there", consumer="x"), "no_such_queue")


class Owner(BrokerTest):
    def test_a_queue_names_its_owner(self):
        created = self.client.ask("queue.create", {"owner": "billing@example.org"}, queue=self.queue)
        self.assertEqual(created["owner"], "billing@example.org")
        updated = self.client.ask("queue.update", {"owner": ""}, queue=self.queue)
        self.assertNotIn("owner", updated)
        self.assertEqual(self.client.code("queue.update", {"owner": "a\n"}, queue=self.queue), "invalid_argument")


if __name__ == "__main__":
    unittest.main()
