#!/usr/bin/env python3
# What many queues cost: memory, and the time until a broker serves again after a restart.
"""many_queues.py [--queues N] [--messages N]: fills one dmq-broker with N queues of a few messages each, and measures its
own memory (RssAnon), then ends it, starts it again on the same data directory, and measures the time until it serves.
Prints one line of JSON; exit code 1 when --memory-mib or --restart-s is exceeded, or a message is missing."""
import argparse
import json
import os
import random
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "wire"))
BIN = os.environ.get("DMQ_BIN_DIR") or os.path.join(ROOT, "build", "bin")
os.environ.setdefault("DMQ_BIN", os.path.join(BIN, "dmq-broker"))

from harness import Broker, Client, memory_bytes

UNDER_WAY = 200  # requests
PATIENCE_S = 120
LOOKED_AT = 200  # queues, after the restart


def name_of(number):
    return f"customer-{number:06}"


def fill(endpoint, options):
    """Each queue is created by its first send."""
    bodies = [b"%d" % i + b"x" * (options.size - 1) for i in range(options.messages)]
    with Client(endpoint) as client:
        sent = waiting = 0
        while sent < options.queues or waiting:
            if sent < options.queues and waiting < UNDER_WAY:
                client.post("send", bodies, queue=name_of(sent))
                sent, waiting = sent + 1, waiting + 1
                continue
            header, _ = client.reply(PATIENCE_S)
            if header["code"] != "ok":
                sys.exit(f"a send failed: {header}")
            waiting -= 1


def missing(endpoint, options):
    """Of some queues: how many messages are not there."""
    lost = 0
    with Client(endpoint) as client:
        for number in random.Random(options.seed).sample(range(options.queues), min(LOOKED_AT, options.queues)):
            info = client.ask("queue.describe", queue=name_of(number))
            lost += options.messages - info["ready"]
    return lost


def measure(options):
    with tempfile.TemporaryDirectory() as folder:
        flags = ("--data", folder, "--admin", "", "--sync", options.sync)
        with Broker(*flags) as broker:
            empty = memory_bytes(broker)
            began = time.monotonic()
            fill(broker.endpoint, options)
            filled_s = time.monotonic() - began
            filled = memory_bytes(broker)
        began = time.monotonic()
        with Broker(*flags) as broker:
            with Client(broker.endpoint) as client:
                client.ask("queue.describe", queue=name_of(options.queues - 1))
            restart_s = time.monotonic() - began
            again = memory_bytes(broker)
            lost = missing(broker.endpoint, options)
    mib = 1024 * 1024
    return {"queues": options.queues, "messages": options.messages, "size": options.size, "fill_s": round(filled_s, 1),
            "empty_mib": round(empty / mib, 1), "filled_mib": round(filled / mib, 1),
            "restarted_mib": round(again / mib, 1), "restart_s": round(restart_s, 2), "missing": lost}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queues", type=int, default=100_000)
    parser.add_argument("--messages", type=int, default=10, help="in each")
    parser.add_argument("--size", type=int, default=100, help="bytes of each")
    parser.add_argument("--sync", default="none", help="of the broker, for the time of filling")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--memory-mib", type=float, help="that are good enough")
    parser.add_argument("--restart-s", type=float, help="that are good enough")
    options = parser.parse_args()
    result = measure(options)
    print(json.dumps(result))
    large = options.memory_mib is not None and max(result["filled_mib"], result["restarted_mib"]) > options.memory_mib
    slow = options.restart_s is not None and result["restart_s"] > options.restart_s
    return 1 if large or slow or result["missing"] else 0


if __name__ == "__main__":
    sys.exit(main())
