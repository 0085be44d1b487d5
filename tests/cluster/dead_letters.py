#!/usr/bin/env python3
# Dead letters and redrive while workers are killed: each message is in one of the two queues, once.
"""tests/cluster/dead_letters.py [--rounds N] [--messages N] [--seed S]: a cluster of three workers with three replicas. In
each round messages are sent to several queues, all of them die and move to one dead-letter queue in another partition, and
are redriven, while workers are killed with SIGKILL at random moments and started again. After each way the queues are
looked at: every message must be where it belongs, once. Prints one JSON line. Exit code: 0 nothing was lost or doubled."""
import argparse
import collections
import json
import random
import sys
import threading
import time

from programs import Cluster

from harness import Client, wait_until

SOURCES = [f"source-{i}" for i in range(4)]
DEAD = "dead-letters"
PATIENCE_S = 60
KILL_WITHIN_S = 0.4


class Killer(threading.Thread):
    """Kills a worker a moment later, and starts it again."""

    def __init__(self, worker, dice):
        super().__init__()
        self.worker, self.wait = worker, dice.random() * KILL_WITHIN_S
        self.now = threading.Event()

    def run(self):
        self.now.wait(self.wait)
        self.worker.kill()
        self.worker.start()


class Run:
    def __init__(self, cluster, options):
        self.cluster, self.options = cluster, options
        self.dice = random.Random(options.seed)
        self.client = Client(cluster.routers[0].endpoint)
        self.sequences = collections.Counter()
        self.killed = 0

    def persist(self, op, payload=None, **header):
        """The answer, once there is a good one."""
        answers = []
        def answered():
            try:
                reply, answer = self.client.request(op, payload, **header)
            except AssertionError:  # no reply in time: lost with a worker
                return False
            if reply["code"] == "ok":
                answers.append(answer)
            return reply["code"] == "ok"
        wait_until(answered, PATIENCE_S, what=f"an answer to {op} on {header.get('queue')}")
        return answers[-1]

    def create(self):
        for queue in SOURCES:
            self.persist("queue.create", {"max_deliveries": 3, "dead_letter": DEAD, "lease_ms": 2000}, queue=queue)
            wait_until(lambda queue=queue: self.persist("queue.describe", queue=queue).get("dead_letter") == DEAD,
                       PATIENCE_S, what="the settings")
        places = [self.persist("queue.describe", queue=queue)["partition"] for queue in [*SOURCES, DEAD]]
        assert places[-1] not in places[:-1], "the dead-letter queue is in a partition of its own"

    def send(self, round_number):
        sent = {}
        for queue in SOURCES:
            bodies = [b"%d %s %d" % (round_number, queue.encode(), i) for i in range(self.options.messages)]
            self.persist("send", bodies, queue=queue, producer="test", sequence=self.sequences[queue] + 1)
            self.sequences[queue] += len(bodies)
            sent[queue] = bodies
        return sent

    def reject(self, queue):
        """Until nothing is handed out of it any more."""
        def empty():
            reply, messages = self.client.request("receive", queue=queue, max=20)
            if reply["code"] == "ok" and messages:
                kind = self.dice.choice(["failed", "fatal", "fatal"])
                self.client.request("nack", [m["receipt"] for m in messages], queue=queue, kind=kind, reason="test")
            reply, info = self.client.request("queue.describe", queue=queue)
            return reply["code"] == "ok" and info["ready"] + info["leased"] + info["delayed"] + info["dead"] == 0
        def tried():
            try:
                return empty()
            except AssertionError:
                return False
        wait_until(tried, PATIENCE_S, what=f"the end of {queue}")

    def content(self, queue):
        """The bodies of all ready messages."""
        bodies, after = [], {}
        while True:
            page = self.persist("browse", queue=queue, max=1000, **after)
            bodies += [message["body"] for message in page["messages"]]
            if "after" not in page:
                return bodies
            after = {"after": page["after"]}

    def redrive(self):
        after = {}
        while True:
            answer = self.persist("queue.redrive", queue=DEAD, max=self.dice.randint(5, 50), **after)
            if "next" not in answer:
                info = self.persist("queue.describe", queue=DEAD)
                if info["ready"] + info["leased"] + info["dead"] == 0:
                    return
                after = {}
            else:
                after = {"after": answer["next"]}

    def kill_some(self):
        killers = [Killer(worker, self.dice) for worker in self.dice.sample(self.cluster.workers, 1)]
        for killer in killers:
            killer.start()
        self.killed += len(killers)
        return killers

    def drain(self, queue):
        while True:
            messages = self.persist("receive", queue=queue, max=200)
            if not messages and self.persist("queue.describe", queue=queue)["ready"] == 0:
                return
            self.persist("ack", [message["receipt"] for message in messages], queue=queue) if messages else None

    def compare(self, what, wanted, found, outcome):
        lost, extra = collections.Counter(wanted) - collections.Counter(found), None
        extra = collections.Counter(found) - collections.Counter(wanted)
        outcome["lost"] += sum(lost.values())
        outcome["doubled"] += sum(extra.values())
        for name, items in (("lost", lost), ("doubled", extra)):
            if items:
                print(f"{what}: {name}: {list(items)[:5]}", file=sys.stderr)

    def round(self, number, outcome):
        sent = self.send(number)
        killers = self.kill_some()
        for queue in SOURCES:
            self.reject(queue)
        for killer in killers:
            killer.join()
        self.compare("dead letters", [body for bodies in sent.values() for body in bodies], self.content(DEAD), outcome)
        killers = self.kill_some()
        self.redrive()
        for killer in killers:
            killer.join()
        for queue, bodies in sent.items():
            self.compare(queue, bodies, self.content(queue), outcome)
            self.drain(queue)
        outcome["messages"] += sum(map(len, sent.values()))
        outcome["rounds"] += 1


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--messages", type=int, default=50, help="of each queue and round")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    options = parser.parse_args()
    outcome = {"rounds": 0, "messages": 0, "lost": 0, "doubled": 0, "seed": options.seed}
    started = time.monotonic()
    with Cluster(routers=1, workers=3, replicas=3, metad_flags=["--partitions", "16"]) as cluster:
        run = Run(cluster, options)
        run.create()
        for number in range(options.rounds):
            run.round(number, outcome)
        outcome["killed"] = run.killed
    outcome["seconds"] = round(time.monotonic() - started, 1)
    print(json.dumps(outcome))
    return 1 if outcome["lost"] or outcome["doubled"] else 0


if __name__ == "__main__":
    sys.exit(main())
