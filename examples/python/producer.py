#!/usr/bin/env python3
# Sends messages to a queue, in batches, and sends again what got no answer.
"""Usage: producer.py [QUEUE] [COUNT]      DMQ_ENDPOINT (tcp://127.0.0.1:7310)

Needs pyzmq and msgpack. The producer's name and sequence make a repeated request harmless: the broker
answers with duplicates and stores nothing twice.
"""
import os
import sys
import time
import uuid

import msgpack
import zmq

ENDPOINT = os.environ.get("DMQ_ENDPOINT", "tcp://127.0.0.1:7310")
QUEUE = sys.argv[1] if len(sys.argv) > 1 else "hello"
COUNT = int(sys.argv[2]) if len(sys.argv) > 2 else 10
BATCH, PATIENCE_MS, TRIES = 100, 5000, 10


def connect():
    socket = zmq.Context.instance().socket(zmq.REQ)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.RCVTIMEO, PATIENCE_MS)
    socket.setsockopt(zmq.SNDTIMEO, PATIENCE_MS)
    socket.connect(ENDPOINT)
    return socket


def send(header, messages):
    """One request until it is answered: the list of results, or SystemExit."""
    socket, pause, trouble = connect(), 0.1, "no answer from " + ENDPOINT
    for _ in range(TRIES):
        try:
            socket.send_multipart([msgpack.packb(header), msgpack.packb(messages)])
            reply, *payload = [msgpack.unpackb(frame) for frame in socket.recv_multipart()]
            if reply["code"] == "ok":
                return payload[0]
            trouble = f"{reply['code']}: {reply['message']}"
            if not reply["retry"]:
                break
        except zmq.Again:
            socket.close()  # a REQ socket that got no answer is of no more use
            socket = connect()
        time.sleep(pause)
        pause = min(2 * pause, 5)
    sys.exit("producer: " + trouble)


producer, taken = uuid.uuid4().hex, 0
for first in range(0, COUNT, BATCH):
    messages = [{"body": b"hello %d" % (i + 1), "headers": {"n": str(i + 1)}} for i in range(first, min(first + BATCH, COUNT))]
    header = {"v": 1, "op": "send", "queue": QUEUE, "producer": producer, "sequence": first + 1}
    for result in send(header, messages):
        # A str is the message's id; a map is a duplicate (code ok) or an error of this one message.
        if isinstance(result, dict) and result["code"] != "ok":
            sys.exit(f"producer: not taken: {result['code']}: {result['message']}")
        taken += 1
print(f"sent {taken} messages to {QUEUE}")
