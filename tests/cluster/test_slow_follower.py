# A follower that stands still loses what its leader publishes: it applies no gap, and fetches what it lacks.
import random
import signal
import unittest

from test_operators import PATIENCE_S, QUEUES, Case

from harness import wait_until

QUEUE = QUEUES[0]
BODY_BYTES = 64 << 10
BATCH = 16
BATCHES = 40  # 40 MiB while it stands still: more than the buffers of TCP hold
PAUSES = 3


class SlowFollower(Case):
    WORKERS = 3
    WORKER_FLAGS = ("--log-backlog", "10")  # of its leader's socket and of its own

    def send_batch(self):
        """Sent again until it is confirmed."""
        first = len(self.sent[QUEUE]) + 1
        bodies = [b"%08d" % number + random.randbytes(BODY_BYTES) for number in range(first, first + BATCH)]
        def is_confirmed():
            header, _ = self.client.request("send", bodies, queue=QUEUE, producer="test", sequence=first)
            return header["code"] == "ok"
        wait_until(is_confirmed, PATIENCE_S, what="a confirmation")
        self.sent[QUEUE] += bodies

    def test_what_a_paused_follower_misses_is_noticed_and_fetched(self):
        self.send_to_all("before")
        number = self.places[QUEUE]
        leader, slow, other = self.partition(number)["replicas"]
        wait_until(lambda: self.partition(number)["leader"] == leader, PATIENCE_S, what="the preferred leader")
        for _ in range(PAUSES):
            self.workers[slow].process.send_signal(signal.SIGSTOP)
            for _ in range(BATCHES + random.randrange(BATCHES // 2)):
                self.send_batch()
            self.workers[slow].process.send_signal(signal.SIGCONT)
            self.send_batch()
            self.wait_for_health()
        self.assertIn("did not arrive here in time and are fetched", self.workers[slow].output())
        # What it has is what is delivered from now on.
        self.dmq("move", number, f"{slow},{leader},{other}")
        wait_until(lambda: self.partition(number)["leader"] == slow, PATIENCE_S, what="the slow one as the leader")
        self.check_received()


if __name__ == "__main__":
    unittest.main()
