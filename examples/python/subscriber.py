#!/usr/bin/env python3
# Subscribes to a queue: messages come without being asked for, and an ack lets the next one come.
"""Usage: subscriber.py [QUEUE] [COUNT]      DMQ_ENDPOINT (tcp://127.0.0.1:7310)

COUNT 0 (the default) goes on until Ctrl-C. Needs pyzmq and msgpack. It subscribes again when the broker or a
worker was away, and has at most CREDIT messages that are not acked.
"""
import os
import secrets
import sys
import time

import msgpack
import zmq

ENDPOINT = os.environ.get("DMQ_ENDPOINT", "tcp://127.0.0.1:7310")
QUEUE = sys.argv[1] if len(sys.argv) > 1 else "hello"
COUNT = int(sys.argv[2]) if len(sys.argv) > 2 else 0
CREDIT, LASTS_S, ACK_ID = 10, 15, 2
SUBSCRIPTION = secrets.token_hex(16)

socket = zmq.Context.instance().socket(zmq.DEALER)  # one request has many replies: a REQ socket cannot
socket.linger = 2000
socket.connect(ENDPOINT)


def post(op, number, payload=None, **options):
    header = {"v": 1, "op": op, "id": number, "queue": QUEUE, **options}
    socket.send_multipart([msgpack.packb(header), msgpack.packb(payload)])


def subscribe():
    """The same again and again: it goes on with the first, or begins anew where that has ended."""
    post("subscribe", 1, subscription=SUBSCRIPTION, credit=CREDIT, wait_ms=LASTS_S * 1000)
    return time.monotonic() + LASTS_S / 3


def work(message):
    print(f"{message['id']} (delivery {message['deliveries']}): {message['body'].decode(errors='replace')}", flush=True)


def replies(until):
    """What comes until then: header, and messages or results."""
    while (wait := until - time.monotonic()) > 0 and socket.poll(wait * 1000):
        reply, *payload = [msgpack.unpackb(frame) for frame in socket.recv_multipart() if frame]
        yield reply, payload[0] if payload else []


done, again_at = 0, subscribe()
while COUNT == 0 or done < COUNT:
    for reply, items in replies(again_at):
        if reply["code"] != "ok" and not reply["retry"]:
            sys.exit(f"subscriber: {reply['code']}: {reply['message']}")
        if reply["id"] == ACK_ID:
            for result in items:
                if result != "ok":  # stale_receipt: the lease ended before the ack, and the message comes again
                    print(f"subscriber: {result['code']}", file=sys.stderr)
            continue
        if "more" not in reply:  # it ended: another worker leads, or the broker is busy
            again_at = time.monotonic() + 0.2
        for message in items:
            if COUNT and done == COUNT:
                post("nack", ACK_ID, [message["receipt"]], kind="give_back")
                continue
            work(message)
            post("ack", ACK_ID, [message["receipt"]])
            done += 1
        if COUNT and done == COUNT or "more" not in reply:
            break
    if time.monotonic() >= again_at:
        again_at = subscribe()

post("unsubscribe", 3, subscription=SUBSCRIPTION)
for reply, items in replies(time.monotonic() + 5):  # what was on its way goes back
    if reply["id"] == 3:
        break
    for message in items if reply["id"] == 1 else []:
        post("nack", ACK_ID, [message["receipt"]], kind="give_back")
