# Subscriptions: messages that come without being asked for, and the credit that bounds them.
import unittest

import zmq

from harness import BrokerTest, wait_until


class Push(BrokerTest):
    def subscribe(self, client, name="s", **options):
        number = client.post("subscribe", queue=self.queue, subscription=name, **options)
        header, messages = client.reply()
        self.assertEqual((header["id"], header["code"], header.get("more")), (number, "ok", True))
        return number, messages

    def pushed(self, client, number, count):
        """The next `count` messages of a subscription."""
        messages = []
        while len(messages) < count:
            header, more = client.reply()
            self.assertEqual((header["id"], header["code"], header.get("more")), (number, "ok", True))
            messages += more
        self.assertEqual(len(messages), count)
        return messages

    def test_messages_come_as_far_as_the_credit_goes(self):
        subscriber = self.new_client()
        number, none = self.subscribe(subscriber, credit=2)
        self.assertEqual(none, [])
        self.send(b"a", b"b", b"c")
        first = self.pushed(subscriber, number, 2)
        self.assertEqual([m["body"] for m in first], [b"a", b"b"])
        self.assertIsNone(subscriber.frames(0.2))
        self.client.ask("ack", [first[0]["receipt"]], queue=self.queue)
        self.assertEqual(self.pushed(subscriber, number, 1)[0]["body"], b"c")
        self.assertEqual(self.counts(), (0, 2, 0))

    def test_the_reply_to_an_unsubscribe_is_the_last_one(self):
        subscriber = self.new_client()
        number, _ = self.subscribe(subscriber)
        self.assertEqual(self.client.ask("queue.describe", queue=self.queue)["waiting"], 1)
        asked = subscriber.post("unsubscribe", queue=self.queue, subscription="s")
        header, messages = subscriber.reply()
        self.assertEqual((header["id"], messages, "more" in header), (number, [], False))
        self.assertEqual(subscriber.reply(), ({"v": 1, "id": asked, "code": "ok"}, None))
        self.assertEqual(self.client.ask("queue.describe", queue=self.queue)["waiting"], 0)
        self.assertEqual(self.client.code("unsubscribe", queue=self.queue, subscription="s"), "ok")

    def test_it_ends_in_time_unless_it_is_repeated(self):
        subscriber = self.new_client()
        number, _ = self.subscribe(subscriber, wait_ms=1000)
        header, messages = subscriber.reply()
        self.assertEqual((header["id"], messages, "more" in header), (number, [], False))

    def test_a_client_that_is_gone_keeps_nothing(self):
        subscriber = self.new_client()
        self.subscribe(subscriber, wait_ms=60_000)
        subscriber.close()
        self.send(b"a")
        again = self.receive(wait_ms=10_000)
        self.assertEqual([(m["body"], m["deliveries"]) for m in again], [(b"a", 1)])
        wait_until(lambda: self.client.ask("queue.describe", queue=self.queue)["waiting"] == 0, what="the end of it")

    def test_two_share_and_one_that_is_slow_holds_up_nobody(self):
        slow, quick = self.new_client(rcvhwm=1), self.new_client()
        self.subscribe(slow, "slow", credit=10)
        number, _ = self.subscribe(quick, "quick", credit=10)
        bodies = [str(i).encode() for i in range(500)]
        for at in range(0, 500, 50):
            self.send(*bodies[at:at + 50])
        got = []
        while len(got) < 490:
            header, messages = quick.reply()
            if header["id"] != number or "more" not in header:
                continue
            got += messages
            quick.post("ack", [m["receipt"] for m in messages], queue=self.queue)
        self.assertEqual(self.counts()[0], 0)

    def test_what_is_no_subscription(self):
        for bad in ({}, {"subscription": ""}, {"subscription": "x" * 65}, {"subscription": "s", "credit": 10_001},
                    {"subscription": "s", "credit_bytes": 0}, {"subscription": "s", "wait_ms": 999},
                    {"subscription": "s", "ack": "on_delivery"}, {"subscription": "s", "heartbeat_ms": 1000}):
            self.assertEqual(self.client.code("subscribe", queue=self.queue, **bad), "invalid_argument", bad)
        self.assertEqual(self.client.code("unsubscribe", queue="not-there", subscription="s"), "no_such_queue")

    def test_a_req_socket_is_told(self):
        client = self.new_client(kind=zmq.REQ)
        self.assertEqual(client.code("subscribe", queue=self.queue, subscription="s"), "invalid_argument")


if __name__ == "__main__":
    unittest.main()
