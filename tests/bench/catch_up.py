#!/usr/bin/env python3
# How fast a copy that is behind, or new, comes back in sync, while its leaders take load.
"""catch_up.py [--messages N] [--size BYTES] [--wiped]: a cluster of separate programs with three replicas of each
partition. One worker is killed, the others take N messages, it starts again, and the time is measured until it is in
the in-sync set of all its partitions, by what `dmq cluster partitions` says. --wiped: it comes back with an empty store, as
a new replica does. Prints one JSON object; exit code 1 when --within or --at-least is missed."""
import argparse
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "cluster"))

from programs import BIN, Cluster

from harness import Client, wait_until

BATCH_BYTES = 512 * 1024  # of one request, at most 1,000 messages
UNDER_WAY = 4  # requests
FIRST_MESSAGES = 1000  # that the worker has when it is killed
PATIENCE_S = 60
LOAD_S = 100_000  # it is ended before


def partitions(cluster):
    done = subprocess.run([os.path.join(BIN, "dmq"), "cluster", "partitions", "--json", "--metad",
                           cluster.metad.endpoint], capture_output=True, text=True, timeout=PATIENCE_S)
    return [json.loads(line) for line in done.stdout.splitlines()] if done.returncode == 0 else []


def lacks(cluster, name):
    """How many partitions have the worker as a replica that is not in sync."""
    rows = partitions(cluster)
    return sum(name in row["replicas"] and name not in row["in_sync"] for row in rows) if rows else -1


def cpu_seconds(program):
    with open(f"/proc/{program.process.pid}/stat") as stat:
        user, kernel = stat.read().rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(kernel)) / os.sysconf("SC_CLK_TCK")


def fill(endpoint, queues, messages, size):
    """Sends so many messages in turn to the queues; all are confirmed."""
    batch = max(1, min(1000, BATCH_BYTES // size, messages))
    with Client(endpoint) as client:
        sent = waiting = 0
        while sent < messages or waiting:
            if sent < messages and waiting < UNDER_WAY:
                count = min(batch, messages - sent)
                bodies = [os.urandom(16).ljust(size, b"x")[:size]] * count
                client.post("send", bodies, queue=queues[sent // batch % len(queues)])
                sent, waiting = sent + count, waiting + 1
                continue
            header, _ = client.reply(PATIENCE_S)
            waiting -= 1
            if header.get("retry"):
                sent -= batch
                select.select([], [], [], 0.1)
            elif header["code"] != "ok":
                sys.exit(f"a send failed: {header}")


def start_load(endpoint, rate):
    return subprocess.Popen([os.path.join(BIN, "dmq-bench"), "--broker", endpoint, "--queue", "load", "--rate",
                             str(rate), "--producers", "2", "--consumers", "2", "--window", "64", "--seconds",
                             str(LOAD_S), "--json"],
                            stdout=subprocess.PIPE)


def end_load(load):
    """Messages a second that were sent, received and acked, and how many sends failed. A change of leaders may have
    delivered some of them again, which is not looked at here."""
    load.send_signal(signal.SIGTERM)
    output, _ = load.communicate(timeout=PATIENCE_S)
    result = json.loads(output)
    return result["end_to_end_per_s"], result["send_failures"]


def measure(options, cluster):
    name, worker = "worker-2", cluster.workers[2]
    endpoint = cluster.routers[0].endpoint
    queues = [f"filled-{i}" for i in range(options.queues)]
    wait_until(lambda: lacks(cluster, name) == 0, PATIENCE_S, "a cluster in sync")
    fill(endpoint, queues, FIRST_MESSAGES, options.size)
    worker.kill()
    wait_until(lambda: lacks(cluster, name) > 0, PATIENCE_S, "a worker that is missed")
    began = time.monotonic()
    fill(endpoint, queues, options.messages, options.size)
    filled_s = time.monotonic() - began
    if options.wiped:
        shutil.rmtree(cluster.path(name))
    load = start_load(endpoint, options.rate)
    before = [cpu_seconds(leader) for leader in cluster.workers[:2]] + [0]
    began = time.monotonic()
    worker.start()
    listening_s = time.monotonic() - began
    wait_until(lambda: lacks(cluster, name) == 0, options.patience, "a copy in sync")
    caught_up_s = time.monotonic() - began
    cpu_s = [round(cpu_seconds(each) - start, 1) for each, start in zip(cluster.workers, before)]
    load_per_s, load_failures = end_load(load)
    megabytes = options.messages * options.size / 1e6
    return {"messages": options.messages, "size": options.size, "queues": options.queues, "wiped": options.wiped,
            "load_per_s": load_per_s, "load_failures": load_failures, "fill_s": round(filled_s, 1),
            "listening_s": round(listening_s, 2), "in_sync_s": round(caught_up_s, 1),
            "mb_per_s": round(megabytes / caught_up_s, 1),
            "cpu_s": dict(zip(("worker-0", "worker-1", name), cpu_s))}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--size", type=int, default=1024, help="bytes of each")
    parser.add_argument("--queues", type=int, default=4, help="that they go to")
    parser.add_argument("--rate", type=int, default=20_000,
                        help="messages a second through another queue meanwhile, where the machine can")
    parser.add_argument("--wiped", action="store_true", help="the store of the worker that comes back is empty")
    parser.add_argument("--patience", type=float, default=600, help="seconds until it is given up")
    parser.add_argument("--within", type=float, help="seconds that are good enough")
    parser.add_argument("--at-least", type=float, help="MB/s that are good enough")
    options = parser.parse_args()
    with Cluster(routers=1, workers=3, replicas=3, metad_flags=("--min-in-sync", "2")) as cluster:
        result = measure(options, cluster)
    print(json.dumps(result))
    slow = options.within is not None and result["in_sync_s"] > options.within
    thin = options.at_least is not None and result["mb_per_s"] < options.at_least
    return 1 if slow or thin else 0


if __name__ == "__main__":
    sys.exit(main())
