#!/usr/bin/env python3
# One bit flips in the store of one of three workers, again and again at another place: whatever it hits is noticed and
# repaired, and no client sees it. Now and then the whole file is put back to an earlier time instead.
import argparse
import collections
import glob
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time

from lmdb_pages import Pages, flip
from programs import BIN, Cluster

from harness import Client, wait_until

PATIENCE_S = 120
QUEUES = 12
KEY_BYTES = 16  # at the start of a body; no two have the same
SIZES = (0, 10, 150, 700, 1900, 2500, 9000, 30000)  # behind it
DRAIN_EVERY = 10
LEASE_MS = 1500
SEEN = re.compile(r"partition (\d+): the copy here is (damaged|repaired)")
SCRUBBED = "all records were read to find damage"
EMPTY = "begins with an empty one"
OUTCOMES = (("store set aside", EMPTY), ("store older than it was", "is older than it was"),
            ("records missing or misplaced", "are not those that were written"),
            ("records damaged", "the copy here is damaged"), ("nothing in use was hit", ""))


class Broken(Exception):
    pass


class Messages:
    """What was sent and not acked, by queue and key, and what was acked."""

    def __init__(self, client, dice):
        self.client, self.dice = client, dice
        self.live = {f"queue-{i}": {} for i in range(QUEUES)}  # key -> [body, deliveries that were counted]
        self.acked = set()
        self.unsure = {}  # key -> what was live; the answer to the ack was lost
        self.sequences = collections.Counter()
        self.sent = self.delivered = self.wrong = self.undone = 0

    def ask(self, op, payload=None, **header):
        """The payload of a reply, once it is a good one, and whether the first one was."""
        self.tries = 0
        def good():
            self.tries += 1
            answer, result = self.client.request(op, payload, **header)
            return (result,) if answer["code"] == "ok" else None
        result, = wait_until(good, PATIENCE_S, what=f"an answer to {op}")
        return result, self.tries == 1

    def send(self, queue, count):
        bodies = [self.dice.randbytes(KEY_BYTES + self.dice.choice(SIZES)) for _ in range(count)]
        results, at_once = self.ask("send", bodies, queue=queue, producer="flips",
                                    sequence=self.sequences[queue] + 1)
        if at_once and not all(isinstance(result, str) for result in results):
            raise Broken(f"{queue}: new messages are taken for other ones: {results}")
        self.sequences[queue] += count
        self.sent += count
        for body in bodies:
            self.live[queue][body[:KEY_BYTES]] = [body, 0]

    def receive(self, queue, most):
        messages, _ = self.ask("receive", queue=queue, max=most, lease_ms=LEASE_MS)
        for message in messages:
            self.delivered += 1
            key = message["body"][:KEY_BYTES]
            if key in self.unsure:
                self.live[queue][key] = self.unsure.pop(key)
            known = self.live[queue].get(key)
            if key in self.acked:
                self.undone += 1
                raise Broken(f"{queue}: message {message['id']} was acked and comes again")
            if known is None or known[0] != message["body"]:
                self.wrong += 1
                raise Broken(f"{queue}: message {message['id']} is not what was sent")
            if message["deliveries"] <= known[1]:
                raise Broken(f"{queue}: message {message['id']} forgot its deliveries")
        return messages

    def settle(self, op, queue, messages):
        if not messages:
            return
        results, at_once = self.ask(op, [message["receipt"] for message in messages], queue=queue)
        for message, result in zip(messages, results):
            key = message["body"][:KEY_BYTES]
            if op == "ack" and result == "ok":
                self.live[queue].pop(key)
                self.acked.add(key)
            elif op == "ack" and not at_once:
                self.unsure[key] = self.live[queue].pop(key)
            elif result == "ok":
                self.live[queue][key][1] = message["deliveries"]

    def some_of_all(self):
        """In every queue: some messages new, some acked, some given back, some leased."""
        for queue in self.live:
            self.send(queue, self.dice.randrange(1, 6))
            self.settle("ack", queue, self.receive(queue, self.dice.randrange(1, 4)))
            self.settle("nack", queue, self.receive(queue, self.dice.randrange(1, 3)))
            self.receive(queue, 1)

    def drain(self):
        """Everything comes, byte by byte, and is acked."""
        for queue, live in self.live.items():
            end = time.monotonic() + PATIENCE_S
            while live:
                self.settle("ack", queue, self.receive(queue, 100))
                if time.monotonic() > end:
                    raise Broken(f"{queue}: {len(live)} messages do not come")
            if self.receive(queue, 1):
                raise Broken(f"{queue}: more comes than was sent")


class Test:
    def __init__(self, seed, live_share, old_share):
        self.dice = random.Random(seed)
        self.live_share, self.old_share = live_share, old_share
        self.cluster = Cluster(routers=1, workers=3, replicas=3, worker_flags=["--scrub-rate", "1GiB"],
                               metad_flags=["--partitions", "8", "--handover-after", "300ms"])
        self.client = Client(self.cluster.routers[0].endpoint)
        self.messages = Messages(self.client, self.dice)
        self.counts = collections.Counter()

    def close(self):
        self.client.close()
        self.cluster.__exit__()

    def partitions(self):
        done = subprocess.run([os.path.join(BIN, "dmq"), "cluster", "partitions", "--metad",
                               self.cluster.metad.endpoint], capture_output=True, text=True, timeout=PATIENCE_S)
        return [json.loads(line) for line in done.stdout.splitlines()] if done.returncode == 0 else []

    def is_whole(self):
        rows = self.partitions()
        return rows and all(row["leader"] and len(row["in_sync"]) == 3 and not row["unclean"] for row in rows)

    def wait_until_whole(self, worker, since):
        """Until it is registered, has read all that it holds, and every copy it found damaged counts again."""
        def text():
            return worker.output()[since:]
        def settled():
            if worker.process.poll() is not None:
                raise Broken(f"{worker.flags} ended: {text()}")
            log = text()
            seen = dict(SEEN.findall(log))
            return ("registered with metad" in log and (SCRUBBED in log or EMPTY in log)
                    and "damaged" not in seen.values())
        wait_until(settled, PATIENCE_S, what=f"the worker that was damaged: {text()}")
        wait_until(self.is_whole, PATIENCE_S, what="a whole cluster")
        return text()

    def restart(self, worker, damage):
        since = len(worker.output())
        if worker.process.poll() is not None:
            self.counts["ended as its pages could not be"] += 1
        elif self.dice.randrange(2) == 0:
            worker.kill()
        elif worker.stop() != 0:
            raise Broken(f"{worker.flags} ended badly: {worker.output()[since:]}")
        damage()
        worker.start()
        return self.wait_until_whole(worker, since)

    def strike(self, number):
        index = number % 3
        worker, path = self.cluster.workers[index], self.cluster.path(f"worker-{index}")
        self.what = None
        def damage():
            place, bit, kind = Pages(path + "/data.mdb").draw(self.dice)
            self.what = f"round {number}: bit {bit} of byte {place} of worker-{index}, in a {kind} page"
            flip(path + "/data.mdb", place, bit)
            self.counts[f"hit {kind}"] += 1
        earlier = path + ".earlier"
        def put_back():
            self.what = f"round {number}: the file of worker-{index} as it was before"
            shutil.copyfile(earlier, path + "/data.mdb")
            os.remove(earlier)
        def keep_and_damage():
            shutil.copyfile(path + "/data.mdb", earlier)
            damage()
        chance = self.dice.random()
        if chance < self.old_share and os.path.exists(earlier):
            self.counts["file put back"] += 1
            log = self.restart(worker, put_back)
        elif chance < self.old_share + self.live_share:
            self.counts["while it ran"] += 1
            damage()
            self.messages.some_of_all()
            log = self.restart(worker, lambda: None)
        else:
            log = self.restart(worker, keep_and_damage)
        self.count(log, path)

    def count(self, log, path):
        outcome = next(what for what, words in OUTCOMES if re.search(words, log))
        self.counts[outcome] += 1
        self.counts["copies repaired"] += sum(what == "repaired" for _, what in SEEN.findall(log))
        for kept in glob.glob(path + "/damaged-*"):
            os.remove(kept)

    def run(self, places):
        for number in range(places):
            self.messages.some_of_all()
            self.strike(number)
            if number % DRAIN_EVERY == DRAIN_EVERY - 1:
                self.messages.drain()
                print(f"{number + 1} places, {self.messages.delivered} delivered", flush=True)
        self.messages.drain()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--places", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2 ** 32))
    parser.add_argument("--live", type=float, default=0.2, help="share of the flips under a worker that runs")
    parser.add_argument("--old", type=float, default=0.05, help="share of the rounds in which the file is put back")
    flags = parser.parse_args()
    print(f"seed {flags.seed}", flush=True)
    test = Test(flags.seed, flags.live, flags.old)
    trouble = None
    try:
        test.run(flags.places)
    except (Broken, AssertionError) as error:
        trouble = f"{getattr(test, 'what', '')}: {error}"
    messages = test.messages
    for name, count in sorted(test.counts.items()):
        print(f"{name} {count}")
    left = sum(len(live) for live in messages.live.values())
    print(f"sent {messages.sent}\nacked {len(messages.acked)}\ndelivered {messages.delivered}\nwrong {messages.wrong}\n"
          f"undone {messages.undone}\nlost {left}", flush=True)
    if trouble:
        print(trouble, file=sys.stderr)
        print(test.cluster.metad.output()[-3000:], file=sys.stderr)
    test.close()
    return 1 if trouble else 0


if __name__ == "__main__":
    sys.exit(main())
