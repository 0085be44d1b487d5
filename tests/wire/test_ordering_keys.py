# Ordering keys against a real broker: one message of a key at a time, in order, over restarts and with many consumers.
import collections
import tempfile
import threading
import unittest

from harness import Broker, BrokerTest, Client


def keyed(key, number):
    return {"body": b"%s%d" % (key.encode(), number), "key": key}


class OrderingKeys(BrokerTest):
    def ack(self, message):
        self.assertEqual(self.client.ask("ack", [message["receipt"]], queue=self.queue), ["ok"])

    def test_one_message_of_a_key_is_out_at_a_time(self):
        self.send(keyed("a", 1), keyed("a", 2), keyed("b", 1), b"plain", keyed("a", 3))
        first = self.receive(max=10)
        self.assertEqual([m["body"] for m in first], [b"a1", b"b1"])
        self.assertEqual([m["key"] for m in first], ["a", "b"])
        self.assertEqual([m["body"] for m in self.receive(max=10)], [b"plain"])
        self.assertEqual(self.receive(max=10), [])
        self.assertEqual(self.counts(), (2, 3, 0))
        self.ack(first[0])
        second = self.receive(max=10, wait_ms=5000)
        self.assertEqual([m["body"] for m in second], [b"a2"])
        self.ack(second[0])
        self.assertEqual([m["body"] for m in self.receive(max=10, wait_ms=5000)], [b"a3"])

    def test_a_message_that_fails_holds_its_key_and_no_other(self):
        self.send(keyed("a", 1), keyed("a", 2), keyed("b", 1), keyed("b", 2))
        a, b = self.receive(max=10)
        self.client.ask("nack", [a["receipt"]], queue=self.queue, delay_ms=60_000)
        self.ack(b)
        self.assertEqual([m["body"] for m in self.receive(max=10, wait_ms=5000)], [b"b2"])
        self.assertEqual(self.receive(max=10), [])

    def test_a_key_that_is_no_text_is_refused_alone(self):
        results = self.client.ask("send", [{"body": b"x", "key": 1}, {"body": b"y", "key": ""}, {"body": b"z"},
                                           {"body": b"w", "key": "k" * 256}], queue=self.queue)
        self.assertEqual([getattr(r, "get", lambda _: "ok")("code") for r in results],
                         ["invalid_argument", "invalid_argument", "ok", "invalid_argument"])

    def test_many_consumers_see_each_key_in_order_and_alone(self):
        keys, each = [f"k{i}" for i in range(8)], 40
        for number in range(each):
            self.send(*[keyed(key, number) for key in keys])
        lock, out, seen, faults = threading.Lock(), set(), collections.defaultdict(list), []

        def consume():
            with Client(self.broker.endpoint) as client:
                while True:
                    messages = client.ask("receive", queue=self.queue, max=3, wait_ms=500)
                    if not messages:
                        return
                    for message in messages:
                        key = message["key"]
                        with lock:
                            if key in out:
                                faults.append(key)
                            out.add(key)
                            seen[key].append(message["body"])
                    for message in messages:
                        with lock:
                            out.discard(message["key"])
                        client.ask("ack", [message["receipt"]], queue=self.queue)

        consumers = [threading.Thread(target=consume) for _ in range(6)]
        for consumer in consumers:
            consumer.start()
        for consumer in consumers:
            consumer.join(60)
        self.assertEqual(faults, [])
        self.assertEqual(seen, {key: [b"%s%d" % (key.encode(), n) for n in range(each)] for key in keys})


class Restart(unittest.TestCase):
    def test_a_lease_of_a_key_outlives_the_broker(self):
        with tempfile.TemporaryDirectory() as folder:
            with Broker("--data", folder, "--admin", "") as broker, Client(broker.endpoint) as client:
                client.ask("send", [keyed("a", 1), keyed("a", 2), b"plain"], queue="q")
                message = client.ask("receive", queue="q", lease_ms=60_000)[0]
                broker.process.kill()
            with Broker("--data", folder, "--admin", "") as broker, Client(broker.endpoint) as client:
                self.assertEqual([m["body"] for m in client.ask("receive", queue="q", max=10, wait_ms=5000)],
                                 [b"plain"])
                self.assertEqual(client.ask("ack", [message["receipt"]], queue="q"), ["ok"])
                self.assertEqual([m["body"] for m in client.ask("receive", queue="q", max=10, wait_ms=5000)], [b"a2"])


if __name__ == "__main__":
    unittest.main()
