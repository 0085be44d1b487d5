# How long a queue takes no message when a part of a cluster with three replicas is killed.
"""failover.py [--kills N] [--victim leader|follower|router]: 1 metad, 3 workers, 2 routers. One producer sends one
message after the other with its sequence and repeats what gets no reply; the victim is killed (SIGKILL) while it
does, and started again. Prints the time without a confirmation around each kill. Exit code 1 when a message is lost,
doubled or out of order; a time never fails."""
import argparse
import random
import sys
import time

from programs import Cluster

import harness

REPEAT_S = 0.25  # without a reply a request is repeated, at the other router
QUEUE = "failover"


class Producer:
    """One message at a time; knows when the last one was confirmed."""

    def __init__(self, routers):
        self.clients = [harness.Client(router.endpoint) for router in routers]
        self.sequence, self.confirmed_at, self.turn = 0, time.monotonic(), 0

    def send(self, patience_s=60):
        """Sends the next message until it is confirmed; the seconds since the confirmation before it."""
        self.sequence += 1
        end = time.monotonic() + patience_s
        while time.monotonic() < end:
            client = self.clients[self.turn % len(self.clients)]
            wanted = client.post("send", [b"%d" % self.sequence], queue=QUEUE, producer="p", sequence=self.sequence)
            answer = self.answer_to(client, wanted)
            if answer and answer["code"] == "ok":
                now = time.monotonic()
                gap, self.confirmed_at = now - self.confirmed_at, now
                return gap
            if answer is None:
                self.turn += 1
            elif not answer["retry"]:
                raise SystemExit(f"message {self.sequence} is refused: {answer}")
        raise SystemExit(f"message {self.sequence} is not confirmed within {patience_s} s")

    @staticmethod
    def answer_to(client, wanted):
        end = time.monotonic() + REPEAT_S
        while (left := end - time.monotonic()) > 0:
            frames = client.frames(left)
            if frames is None:
                return None
            answer = harness.msgpack.unpackb(frames[0])
            if answer["id"] == wanted:
                return answer
        return None


def leader_of(cluster):
    """The name of the worker that leads the queue; None while nobody does."""
    with harness.Client(cluster.routers[-1].endpoint) as client:
        answer, info = client.request("queue.describe", queue=QUEUE)
        return info["worker"] if answer["code"] == "ok" else None


def choose(cluster, leader, kind):
    if kind == "router":
        return random.choice(cluster.routers)
    workers = {program.flags[program.flags.index("--name") + 1]: program for program in cluster.workers}
    return workers[leader] if kind == "leader" else random.choice([workers[name] for name in workers if name != leader])


def one_kill(cluster, kind):
    """The longest time without a confirmation from a kill until the queue has been served again for a second."""
    producer = cluster.producer
    leader = harness.wait_until(lambda: leader_of(cluster), what="a leader")
    settle = time.monotonic() + 3  # the one that was killed before is in sync again
    while time.monotonic() < settle:
        producer.send()
    victim = choose(cluster, leader, kind)
    victim.kill()
    gaps, end = [], time.monotonic() + 4
    while time.monotonic() < end:
        gaps.append(producer.send())
    victim.start()
    return max(gaps)


def drained(cluster):
    """What comes out, in order."""
    client = harness.Client(cluster.routers[0].endpoint)
    harness.wait_until(lambda: client.code("queue.describe", queue=QUEUE) == "ok", what="a router that serves")
    bodies = []
    while True:
        messages = client.ask("receive", queue=QUEUE, max=1000, wait_ms=1000, lease_ms=600_000)
        if not messages:
            return bodies
        bodies += [int(message["body"]) for message in messages]


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--kills", type=int, default=10)
    arguments.add_argument("--victim", choices=["leader", "follower", "router"], default="leader")
    options = arguments.parse_args()
    with Cluster(routers=2, workers=3, replicas=3) as cluster:
        cluster.producer = Producer(cluster.routers)
        cluster.producer.send()
        gaps = sorted(one_kill(cluster, options.victim) for _ in range(options.kills))
        sent, bodies = cluster.producer.sequence, drained(cluster)
    print(f"{options.kills} kills of a {options.victim}: seconds without a confirmation p50 {gaps[len(gaps) // 2]:.2f}, "
          f"p99 {gaps[min(len(gaps) - 1, len(gaps) * 99 // 100)]:.2f}, max {gaps[-1]:.2f}")
    print(f"confirmed {sent}, received {len(bodies)}")
    return 0 if bodies == list(range(1, sent + 1)) else 1


if __name__ == "__main__":
    sys.exit(main())
