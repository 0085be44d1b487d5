# Priorities, delays, times to live and labels of messages, against a real broker and over its restart.
import tempfile
import time
import unittest

from harness import Broker, BrokerTest, Client, wait_until

CREATED_S = 5  # until a queue's settings have reached its worker


class Options(BrokerTest):
    def create(self, **settings):
        """A queue whose worker knows its settings."""
        self.client.ask("queue.create", settings, queue=self.queue)
        wait_until(lambda: self.client.code("queue.describe", queue=self.queue) == "ok", CREATED_S)

    def test_higher_priorities_are_received_first(self):
        self.send({"body": b"0"}, {"body": b"9", "priority": 9}, {"body": b"4a", "priority": 4},
                  {"body": b"4b", "priority": 4}, b"0b")
        messages = self.receive(max=10)
        self.assertEqual([m["body"] for m in messages], [b"9", b"4a", b"4b", b"0", b"0b"])
        self.assertEqual([m.get("priority", 0) for m in messages], [9, 4, 4, 0, 0])
        self.client.ask("nack", [messages[2]["receipt"]], queue=self.queue)
        self.client.ask("nack", [messages[3]["receipt"]], queue=self.queue)
        again = self.receive(max=10)
        self.assertEqual([(m["body"], m["deliveries"]) for m in again], [(b"4b", 2), (b"0", 2)])

    def test_weights_let_low_priorities_through(self):
        self.create(priority_weights=[1] * 9 + [3])
        self.send(*[{"body": b"high", "priority": 9}] * 40, *[b"low"] * 40)
        bodies = [m["body"] for m in self.receive(max=40)]
        self.assertEqual((bodies.count(b"high"), bodies.count(b"low")), (30, 10))

    def test_a_delayed_message_comes_at_its_time(self):
        start = time.monotonic()
        self.send({"body": b"later", "delay_ms": 300}, {"body": b"now"})
        self.assertEqual([m["body"] for m in self.receive(max=10)], [b"now"])
        self.assertEqual(self.counts(), (0, 1, 1))
        message = self.receive(wait_ms=10_000)[0]
        self.assertEqual((message["body"], message["deliveries"]), (b"later", 1))
        self.assertGreaterEqual(time.monotonic() - start, 0.3)

    def test_a_time_of_delivery_may_be_given(self):
        at = int(time.time() * 1000) + 300
        self.send({"body": b"at", "deliver_at": at}, {"body": b"past", "deliver_at": 1000})
        self.assertEqual([m["body"] for m in self.receive(max=10)], [b"past"])
        self.assertEqual(self.receive(wait_ms=10_000)[0]["body"], b"at")
        self.assertGreaterEqual(time.time() * 1000, at)

    def test_an_expired_message_is_not_delivered(self):
        self.send({"body": b"short", "ttl_ms": 200}, {"body": b"never", "ttl_ms": 200, "delay_ms": 400},
                  {"body": b"long", "ttl_ms": 60_000})
        wait_until(lambda: self.counts() == (1, 0, 0), what="that two have expired")
        message = self.receive(max=10)[0]
        self.assertEqual(message["body"], b"long")
        self.assertEqual(message["expires_ms"] - message["sent_ms"], 60_000)

    def test_a_queue_has_defaults(self):
        self.create(delay_ms=60_000, ttl_ms=120_000)
        self.send(b"by default", {"body": b"own", "delay_ms": 0, "ttl_ms": 5_000})
        message = self.receive(max=10)[0]
        self.assertEqual((message["body"], message["expires_ms"] - message["sent_ms"]), (b"own", 5_000))
        self.assertEqual(self.counts(), (0, 1, 1))

    def test_settings_out_of_range_are_refused(self):
        for settings in ({"delay_ms": -1}, {"ttl_ms": "1"}, {"priority_weights": [1] * 9},
                         {"priority_weights": [0] + [1] * 9}, {"priority_weights": [101] * 10},
                         {"priority_weights": 1}):
            self.assertEqual(self.client.code("queue.create", settings, queue=self.queue), "invalid_argument", settings)

    def test_options_out_of_range_are_refused_alone(self):
        bad = [{"priority": 10}, {"priority": -1}, {"delay_ms": -1}, {"ttl_ms": -1}, {"delay_ms": 1, "deliver_at": 1},
               {"content_type": "x" * 256}, {"traceparent": 1}, {"deliver_at": 2**53 + 1}]
        results = self.client.ask("send", [{"body": b"b", **each} for each in bad] + [b"good"], queue=self.queue)
        self.assertEqual([r["code"] for r in results[:-1]], ["invalid_argument"] * len(bad))
        self.assertEqual(self.bodies(max=100), [b"good"])

    def test_labels_travel(self):
        labels = {"content_type": "image/png", "reply_to": "answers", "correlation_id": "c-1",
                  "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
        self.send({"body": b"b", **labels})
        message = self.receive()[0]
        self.assertEqual({key: message[key] for key in labels}, labels)


class Update(BrokerTest):
    def update(self, version=None, **settings):
        header = {} if version is None else {"version": version}
        return self.client.request("queue.update", settings, queue=self.queue, **header)

    def setUp(self):
        super().setUp()
        self.client.ask("queue.create", queue=self.queue)

    def test_settings_change_one_by_one_and_have_versions(self):
        answer, info = self.update(lease_ms=500)
        self.assertEqual((answer["code"], info["version"], info["lease_ms"]), ("ok", 2, 500))
        info = self.update(ttl_ms=60_000, priority_weights=[2] * 10)[1]
        self.assertEqual((info["version"], info["lease_ms"], info["ttl_ms"]), (3, 500, 60_000))
        info = self.update(ttl_ms=0, priority_weights=None)[1]
        self.assertEqual((info["version"], set(info) & {"ttl_ms", "priority_weights"}), (4, set()))
        self.assertEqual(self.update(lease_ms=500)[1]["version"], 4)  # nothing is different
        wait_until(lambda: self.client.ask("queue.describe", queue=self.queue)["version"] == 4, what="the worker's word")

    def test_a_version_that_is_not_the_present_one_changes_nothing(self):
        self.assertEqual(self.update(version=1, lease_ms=500)[0]["code"], "ok")
        answer, _ = self.update(version=1, lease_ms=900)
        self.assertEqual((answer["code"], answer["retry"]), ("version_conflict", False))
        self.assertEqual(self.update(version=7, lease_ms=900)[0]["code"], "unavailable")  # this router may be behind
        self.assertEqual(self.update(version=2, lease_ms=900)[1]["lease_ms"], 900)

    def test_bad_updates_are_refused(self):
        for settings in ({"lease": 1}, {"lease_ms": 1}, {"pause_send": 1}, {"priority_weights": []}):
            self.assertEqual(self.update(**settings)[0]["code"], "invalid_argument", settings)
        self.assertEqual(self.update(version=0, lease_ms=500)[0]["code"], "invalid_argument")
        self.assertEqual(self.client.code("queue.update", {}, queue="never made"), "no_such_queue")
        self.assertEqual(self.client.code("queue.update", {"pause_send": True}, queue=self.queue), "ok")

    def test_a_queue_paused_for_sending_refuses_messages_until_it_is_resumed(self):
        self.update(pause_send=True)
        wait_until(lambda: self.client.code("send", [b"x"], queue=self.queue) == "paused", what="the pause")
        answer, _ = self.client.request("send", [b"x"], queue=self.queue)
        self.assertEqual((answer["code"], answer["retry"]), ("paused", True))
        self.update(pause_send=False)
        wait_until(lambda: self.client.code("send", [b"last"], queue=self.queue) == "ok", what="the end of the pause")
        self.assertEqual(self.bodies(max=1000)[-1], b"last")

    def test_a_queue_paused_for_receiving_hands_out_nothing_until_it_is_resumed(self):
        self.send(b"held")
        held = self.receive()[0]
        self.update(pause_receive=True)
        wait_until(lambda: self.client.ask("queue.describe", queue=self.queue).get("pause_receive"), what="the pause")
        self.send(b"waits")
        self.assertEqual(self.bodies(max=10), [])
        self.assertEqual(self.client.ask("ack", [held["receipt"]], queue=self.queue), ["ok"])
        waiting = self.client.post("receive", queue=self.queue, wait_ms=20_000)
        other = self.new_client()
        other.ask("queue.update", {"pause_receive": False}, queue=self.queue)
        answer, messages = self.client.reply()
        self.assertEqual((answer["id"], [m["body"] for m in messages]), (waiting, [b"waits"]))


class Restart(unittest.TestCase):
    def test_options_survive_the_death_of_the_broker(self):
        with tempfile.TemporaryDirectory() as folder:
            with Broker("--data", folder, "--admin", "") as broker, Client(broker.endpoint) as client:
                client.ask("send", [{"body": b"low"}, {"body": b"high", "priority": 9},
                                    {"body": b"later", "delay_ms": 2_500}, {"body": b"short", "ttl_ms": 100}], queue="q")
                sent = time.monotonic()
                broker.process.kill()
                broker.process.wait()
            wait_until(lambda: time.monotonic() - sent > 0.15, what="the end of the short one's time")
            with Broker("--data", folder, "--admin", "") as broker, Client(broker.endpoint) as client:
                wait_until(lambda: client.code("queue.describe", queue="q") == "ok", what="the queue")
                bodies = [m["body"] for m in client.ask("receive", queue="q", max=10, wait_ms=1000)]
                self.assertEqual(bodies, [b"high", b"low"])
                self.assertEqual(client.ask("receive", queue="q", wait_ms=10_000)[0]["body"], b"later")
                self.assertGreaterEqual(time.monotonic() - sent, 2.4)


if __name__ == "__main__":
    unittest.main()
