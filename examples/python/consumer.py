#!/usr/bin/env python3
# Receives messages from a queue, works on each, and acks those that are done.
"""Usage: consumer.py [QUEUE] [COUNT]      DMQ_ENDPOINT (tcp://127.0.0.1:7310)

COUNT 0 (the default) goes on until Ctrl-C. Needs pyzmq and msgpack. A message whose work fails is given
back with a delay that grows with its deliveries.
"""
import os
import sys
import time

import msgpack
import zmq

ENDPOINT = os.environ.get("DMQ_ENDPOINT", "tcp://127.0.0.1:7310")
QUEUE = sys.argv[1] if len(sys.argv) > 1 else "hello"
COUNT = int(sys.argv[2]) if len(sys.argv) > 2 else 0
WAIT_MS, PATIENCE_MS, TRIES = 20_000, 5000, 10


def connect():
    socket = zmq.Context.instance().socket(zmq.REQ)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.RCVTIMEO, WAIT_MS + PATIENCE_MS)
    socket.setsockopt(zmq.SNDTIMEO, PATIENCE_MS)
    socket.connect(ENDPOINT)
    return socket


socket = connect()


def ask(op, payload=None, **options):
    """One request until it is answered: its result. Every operation used here may be repeated."""
    global socket
    pause, trouble = 0.1, "no answer from " + ENDPOINT
    for _ in range(TRIES):
        try:
            socket.send_multipart([msgpack.packb({"v": 1, "op": op, "queue": QUEUE, **options}), msgpack.packb(payload)])
            reply, *result = [msgpack.unpackb(frame) for frame in socket.recv_multipart()]
            if reply["code"] == "ok":
                return result[0]
            trouble = f"{reply['code']}: {reply['message']}"
            if not reply["retry"]:
                break
        except zmq.Again:
            socket.close()  # a REQ socket that got no answer is of no more use
            socket = connect()
        time.sleep(pause)
        pause = min(2 * pause, 5)
    sys.exit("consumer: " + trouble)


def work(message):
    print(f"{message['id']} (delivery {message['deliveries']}): {message['body'].decode(errors='replace')}", flush=True)


done = 0
while COUNT == 0 or done < COUNT:
    finished = []
    for message in ask("receive", max=min(100, COUNT - done) if COUNT else 100, wait_ms=WAIT_MS):
        try:
            work(message)
            finished.append(message["receipt"])
        except Exception as trouble:
            print(f"consumer: {message['id']} goes back: {trouble}", file=sys.stderr)
            ask("nack", [message["receipt"]], delay_ms=min(1000 * 2 ** min(message["deliveries"], 10), 600_000))
    for result in ask("ack", finished) if finished else []:
        if result != "ok":  # stale_receipt: the lease ended before the ack, and the message comes again
            print(f"consumer: {result['code']}: {result['message']}", file=sys.stderr)
        else:
            done += 1
