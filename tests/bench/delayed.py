#!/usr/bin/env python3
# How late delayed messages come on an idle broker, and what a million of them cost in memory.
"""delayed.py [--messages N] [--timed N]: measures one dmq-broker with a store of its own, twice.

Lateness: --timed messages with random delays up to --longest-ms, all of one queue where receives wait. A message is due
at `sent_ms` + its delay; it is late by what the clock says beyond that when its reply is read. The broker's time has
whole milliseconds, so up to one of them is no fault of its.

Memory: RssAnon of the broker's process when it is empty, with --messages messages that wait for hours, and after a
restart on the same data directory.

Prints one line of JSON; exit code 1 when a message did not come, came early or came twice."""
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

BATCH = 1000  # messages of one request
UNDER_WAY = 4  # requests
PATIENCE_S = 60  # beyond the last message's time
HOUR_MS = 3_600_000


def receive_timed(client, queue, delays, send):
    """By how many ms each message came late, as they came, and how many came twice. `send`: called when receives wait."""
    seen, late, doubled = set(), [], 0
    receives = {client.post("receive", queue=queue, wait_ms=60_000) for _ in range(UNDER_WAY)}
    send()
    end = time.monotonic() + max(delays) / 1000 + PATIENCE_S
    while len(seen) < len(delays) and time.monotonic() < end:
        header, messages = client.reply(max(0.0, end - time.monotonic()))
        now_ms = time.time() * 1000
        if header["id"] not in receives:
            continue  # the answer to an ack
        if header["code"] != "ok":
            sys.exit(f"a receive failed: {header}")
        receives.remove(header["id"])
        receives.add(client.post("receive", queue=queue, wait_ms=60_000))
        for message in messages:
            number = int(message["body"])
            doubled += number in seen
            seen.add(number)
            late.append(now_ms - message["sent_ms"] - delays[number])
            client.post("ack", [message["receipt"]], queue=queue)
    return late, doubled


def measure_lateness(endpoint, options):
    chosen = random.Random(options.seed)
    delays = [chosen.randint(1, options.longest_ms) for _ in range(options.timed)]
    with Client(endpoint) as sender, Client(endpoint) as receiver:
        messages = [{"body": b"%d" % number, "delay_ms": delay} for number, delay in enumerate(delays)]
        late, doubled = receive_timed(receiver, "timed", delays, lambda: sender.ask("send", messages, queue="timed"))
    ordered = sorted(late) or [0.0]

    def share(part):
        return round(ordered[min(len(ordered) - 1, int(len(ordered) * part))], 2)

    return {"timed": options.timed, "longest_ms": options.longest_ms, "seed": options.seed,
            "late_ms": {"p50": share(0.5), "p99": share(0.99), "max": share(1)},
            "early": sum(each < 0 for each in late), "missing": options.timed - len(late) + doubled,
            "doubled": doubled}


def fill(endpoint, options):
    """Sends messages that wait for hours, each for a time of its own; all are confirmed."""
    chosen = random.Random(options.seed)
    body = b"x" * options.size
    with Client(endpoint) as client:
        sent = waiting = 0
        while sent < options.messages or waiting:
            if sent < options.messages and waiting < UNDER_WAY:
                count = min(BATCH, options.messages - sent)
                client.post("send", [{"body": body, "delay_ms": chosen.randint(HOUR_MS, 24 * HOUR_MS)}
                                     for _ in range(count)], queue="waiting")
                sent, waiting = sent + count, waiting + 1
                continue
            header, _ = client.reply(PATIENCE_S)
            if header["code"] != "ok":
                sys.exit(f"a send failed: {header}")
            waiting -= 1


def delayed_count(endpoint):
    with Client(endpoint) as client:
        return client.ask("queue.describe", queue="waiting")["delayed"]


def measure_memory(broker_flags, options):
    """Megabytes (1,000,000 bytes) of the broker's own memory, and how many messages are not there."""
    rss, missing = {}, 0
    with Broker(*broker_flags) as broker:
        rss["empty"] = memory_bytes(broker)
        began = time.monotonic()
        fill(broker.endpoint, options)
        fill_s = time.monotonic() - began
        missing += options.messages - delayed_count(broker.endpoint)
        rss["filled"] = memory_bytes(broker)
    began = time.monotonic()
    with Broker(*broker_flags) as broker:
        start_s = time.monotonic() - began
        missing += options.messages - delayed_count(broker.endpoint)
        rss["restarted"] = memory_bytes(broker)
    return {"messages": options.messages, "size": options.size, "fill_s": round(fill_s, 1),
            "start_s": round(start_s, 2), "rss_anon_mb": {name: round(size / 1e6, 1) for name, size in rss.items()},
            "memory_missing": missing}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=1_000_000, help="that wait in memory; 0: not measured")
    parser.add_argument("--size", type=int, default=100, help="bytes of each")
    parser.add_argument("--timed", type=int, default=200, help="messages whose lateness is measured, up to 1,000")
    parser.add_argument("--longest-ms", type=int, default=5000, help="of their delays")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    result = {}
    with tempfile.TemporaryDirectory() as folder:
        flags = ["--data", os.path.join(folder, "timed"), "--admin", ""]
        with Broker(*flags) as broker:
            result.update(measure_lateness(broker.endpoint, options))
        if options.messages > 0:
            result.update(measure_memory(["--data", os.path.join(folder, "filled"), "--admin", ""], options))
    print(json.dumps(result))
    return 1 if result["early"] or result["missing"] or result["doubled"] or result.get("memory_missing") else 0


if __name__ == "__main__":
    sys.exit(main())
