# Dedup ids over the wire: windows, messages that are still there, replacement; across the death of the broker.
import select
import tempfile
import unittest

from harness import Broker, BrokerTest, Client, wait_until

CREATED_S = 5  # until a queue's settings have reached its worker


def numbered(dedup_id, body, **more):
    return {"dedup_id": dedup_id, "body": body, **more}


def duplicates(results):
    return [isinstance(each, dict) and each.get("duplicate", False) for each in results]


class Dedup(BrokerTest):
    def create(self, **settings):
        """A queue whose worker knows its settings."""
        self.client.ask("queue.create", settings, queue=self.queue)
        wait_until(lambda: self.client.code("queue.describe", queue=self.queue) == "ok", CREATED_S)

    def duplicates(self, *messages):
        return duplicates(self.send(*messages))

    def test_one_is_taken_within_the_window(self):
        self.create(dedup_window_ms=1000)
        self.assertEqual(self.duplicates(numbered("a", b"1"), numbered("a", b"2"), b"3"), [False, True, False])
        self.assertEqual(self.duplicates(numbered("a", b"4")), [True])
        received = self.receive(max=10)
        self.assertEqual([each["body"] for each in received], [b"1", b"3"])
        self.assertNotIn("dedup_id", received[0])
        self.client.ask("ack", [each["receipt"] for each in received], queue=self.queue)
        self.assertEqual(self.duplicates(numbered("a", b"5")), [True])
        select.select([], [], [], 1.1)
        self.assertEqual(self.duplicates(numbered("a", b"6")), [False])

    def test_while_one_is_present(self):
        self.create(dedup="while_present")
        self.assertEqual(self.duplicates(numbered("a", b"1")), [False])
        self.assertEqual(self.duplicates(numbered("a", b"2")), [True])
        first = self.receive()[0]
        self.assertEqual(self.duplicates(numbered("a", b"3")), [True])
        self.client.ask("ack", [first["receipt"]], queue=self.queue)
        self.assertEqual(self.duplicates(numbered("a", b"4")), [False])

    def test_the_newest_replaces_the_others(self):
        self.create(dedup="replace")
        for body in (b"1", b"2", b"3"):
            self.assertEqual(self.duplicates(numbered("a", body, delay_ms=1000)), [False])
        wait_until(lambda: self.counts() == (0, 0, 1), what="that one is left")
        self.assertEqual([each["body"] for each in self.receive(max=10, wait_ms=10_000)], [b"3"])
        self.assertEqual(self.receive(max=10), [])

    def test_what_is_no_good(self):
        for bad in ("", "x" * 129, "a\n", 7, b"\xff"):
            results = self.send(numbered(bad, b"x"), b"y")
            self.assertEqual(results[0]["code"], "invalid_argument", bad)
            self.assertIsInstance(results[1], str)
        for settings in ({"dedup": "sometimes"}, {"dedup_window_ms": 999}, {"dedup_window_ms": 7 * 86_400_000 + 1}):
            self.assertEqual(self.client.code("queue.create", settings, queue="other"), "invalid_argument", settings)
        code = self.client.code("send", [numbered("a", b"x")], queue=self.queue, producer="p", sequence=1)
        self.assertEqual(code, "invalid_argument")

    def test_nobody_can_pass_for_an_id(self):
        self.send(numbered("a", b"x"))
        for name in ("\x01a", "\x02a", "\x03a"):  # as the broker itself names what it counts
            code = self.client.code("send", [b"x"], queue=self.queue, producer=name, sequence=2)
            self.assertEqual(code, "invalid_argument", name)

    def test_settings_can_be_changed(self):
        self.create()
        updated = self.client.ask("queue.update", {"dedup": "replace", "dedup_window_ms": 5000}, queue=self.queue)
        self.assertEqual((updated["dedup"], updated["dedup_window_ms"]), ("replace", 5000))


class Restart(unittest.TestCase):
    def test_ids_survive_the_death_of_the_broker(self):
        with tempfile.TemporaryDirectory() as folder:
            with Broker("--data", folder, "--admin", "") as broker, Client(broker.endpoint) as client:
                self.assertEqual(duplicates(client.ask("send", [numbered("a", b"1")], queue="q")), [False])
                broker.process.kill()
                broker.process.wait()
            with Broker("--data", folder, "--admin", "") as broker, Client(broker.endpoint) as client:
                wait_until(lambda: client.code("queue.describe", queue="q") == "ok", what="the queue")
                results = client.ask("send", [numbered("a", b"2"), numbered("b", b"3")], queue="q")
                self.assertEqual(duplicates(results), [True, False])


if __name__ == "__main__":
    unittest.main()
