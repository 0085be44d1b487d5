# Many messages through a whole cluster, two languages on both ends: each arrives, none twice, byte for byte.
"""million.py [--messages N]: 1 metad, 2 routers and 3 workers over TCP, 100 queues, 2 producers and 2 consumers in
C++ and as many in Python. Each queue has a consumer of either language. Exit code 1 when anything is amiss."""
import argparse
import os
import selectors
import struct
import subprocess
import sys
import time

from million_body import queue_name
from programs import BIN, HERE, Cluster

import harness

QUEUES, PRODUCERS, CONSUMERS = 100, 4, 4
PATIENCE_S = 60  # without any message acked


def worker(number, cluster, what, *arguments, **options):
    """Even ones are C++, odd ones Python; each language uses both routers."""
    program = ([os.path.join(BIN, "dmq-million-worker")] if number % 2 == 0 else
               [sys.executable, os.path.join(HERE, "million_worker.py")])
    endpoint = cluster.routers[number // 2 % len(cluster.routers)].endpoint
    return subprocess.Popen([*program, what, endpoint, str(QUEUES), *map(str, arguments)], **options)


def start_consumers(cluster):
    """Consumer k takes the queues whose number mod 4 is k or k + 1: one of each language for each queue."""
    def queues_of(k):
        return [q for q in range(QUEUES) if q % CONSUMERS in (k, (k + 1) % CONSUMERS)]

    return [worker(k, cluster, "consume", cluster.path(f"received-{k}"), *queues_of(k), stdin=subprocess.PIPE,
                   stdout=subprocess.PIPE) for k in range(CONSUMERS)]


def await_acks(consumers, messages):
    """Follows what consumers tell until all is acked or nothing moves; the number of acks."""
    acked, moved = {}, time.monotonic()
    with selectors.DefaultSelector() as selector:
        for consumer in consumers:
            selector.register(consumer.stdout, selectors.EVENT_READ)
        while sum(acked.values()) < messages and time.monotonic() - moved < PATIENCE_S:
            for key, _ in selector.select(1):
                line = key.fileobj.readline()
                if not line:
                    raise SystemExit("a consumer ended early")
                acked[key.fd], moved = int(line), time.monotonic()
    return sum(acked.values())


def count_arrivals(cluster, per_producer):
    """(lost, doubled, wrong) of what the consumers wrote down."""
    seen = [bytearray(per_producer) for _ in range(PRODUCERS)]
    doubled = wrong = 0
    for k in range(CONSUMERS):
        with open(cluster.path(f"received-{k}"), "rb") as names:
            for producer, counter in struct.iter_unpack("<II", names.read()):
                if producer >= PRODUCERS or counter >= per_producer:
                    wrong += 1
                elif seen[producer][counter]:
                    doubled += 1
                else:
                    seen[producer][counter] = 1
    return sum(each.count(0) for each in seen), doubled, wrong


def left_in_queues(cluster):
    """What the broker says is still there."""
    with harness.Client(cluster.routers[0].endpoint) as client:
        infos = [client.ask("queue.describe", queue=queue_name(q)) for q in range(QUEUES)]
    return sum(info["ready"] + info["leased"] + info["delayed"] for info in infos)


def run(cluster, messages):
    per_producer = messages // PRODUCERS
    begin = time.monotonic()
    consumers = start_consumers(cluster)
    producers = [worker(k, cluster, "produce", k, per_producer) for k in range(PRODUCERS)]
    children = producers + consumers
    try:
        acked = await_acks(consumers, per_producer * PRODUCERS)
        seconds = time.monotonic() - begin
        for consumer in consumers:
            consumer.stdin.close()
        bad = sum(child.wait(PATIENCE_S) != 0 for child in children)
    finally:
        for child in children:
            child.kill()
            child.wait()
    lost, doubled, wrong = count_arrivals(cluster, per_producer)
    left = left_in_queues(cluster)
    print(f"messages {per_producer * PRODUCERS}\nacked {acked}\nlost {lost}\ndoubled {doubled}\nwrong {wrong}\n"
          f"left {left}\nworkers that failed {bad}\nseconds {seconds:.1f}\nper second {acked / seconds:.0f}")
    return lost == doubled == wrong == left == bad == 0 and acked == per_producer * PRODUCERS


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    with Cluster() as cluster:
        return 0 if run(cluster, parser.parse_args().messages) else 1


if __name__ == "__main__":
    sys.exit(main())
