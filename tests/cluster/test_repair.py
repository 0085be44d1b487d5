# A byte that flips on one worker's disk: nobody gets it, and the worker gets the record back from the others.
import os
import unittest

from test_operators import PATIENCE_S, QUEUES, Case

from harness import wait_until


class Repair(Case):
    WORKERS = 3

    def flip(self, worker, body):
        """One bit of a message's body, wherever it lies in the worker's store; how often it was there."""
        path = os.path.join(self.cluster.path(worker), "data.mdb")
        with open(path, "r+b") as file:
            content = file.read()
            at = content.find(body)
            places = []
            while at >= 0:
                places.append(at)
                at = content.find(body, at + 1)
            for place in places:
                file.seek(place + len(body) - 1)
                file.write(bytes([body[-1] ^ 1]))
        return len(places)

    def led_first_by(self, worker):
        """A queue whose partition the worker leads whenever it can."""
        return next(queue for queue in QUEUES if self.partition(self.places[queue])["replicas"][0] == worker)

    def test_a_flipped_byte_is_repaired_and_never_delivered(self):
        for text in ("first", "second", "third"):
            self.send_to_all(text)
        self.wait_for_health()
        name = "worker-1"
        worker = self.workers[name]
        queue = self.led_first_by(name)
        number = self.places[queue]
        self.assertEqual(worker.stop(), 0)
        self.assertGreaterEqual(self.flip(name, self.sent[queue][1]), 1)
        worker.start()
        wait_until(lambda: f"partition {number}: the copy here is repaired" in worker.output(), PATIENCE_S,
                   what="a repair")
        self.assertIn(f"message {number}-", worker.output())
        self.wait_for_health()
        self.assertEqual(self.partition(number)["unclean"], [])
        wait_until(lambda: self.partition(number)["leader"] == name, PATIENCE_S, what="the preferred leader")
        self.check_received()


if __name__ == "__main__":
    unittest.main()
