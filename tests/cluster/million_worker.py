# A producer or a consumer of the million test, in Python over plain pyzmq and msgpack.
"""million_worker.py produce ENDPOINT QUEUES PRODUCER COUNT
million_worker.py consume ENDPOINT QUEUES OUTPUT QUEUE...

A consumer writes 8 bytes for each message to OUTPUT (its name, or ff for one that is not as it was sent), tells on
standard output how many it has acked, and ends when its standard input does."""
import select
import sys

import msgpack
import zmq

from million_body import BATCH, body_of, queue_name, queue_of, read_body

UNDER_WAY = 8  # requests of a producer
REPLY_S = 60
RETRY_MS = 20


class Connection:
    """Requests with ids on a DEALER socket; what to do with each reply is kept until it comes."""

    def __init__(self, endpoint):
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.connect(endpoint)
        self.waiting = {}
        self.last_id = 0

    def ask(self, then, payload, **header):
        self.last_id += 1
        frames = [msgpack.packb({"v": 1, "id": self.last_id, **header}), msgpack.packb(payload)]
        self.waiting[self.last_id] = then, frames
        self.socket.send_multipart(frames)

    def take_reply(self):
        if not self.socket.poll(REPLY_S * 1000):
            raise SystemExit(f"no reply for {REPLY_S} s, {len(self.waiting)} requests wait")
        frames = self.socket.recv_multipart()
        header = msgpack.unpackb(frames[0])
        if header["code"] == "ok":
            then, _ = self.waiting.pop(header["id"])
            return then(msgpack.unpackb(frames[1]))
        if not header["retry"]:
            raise SystemExit(f"refused: {header}")
        self.socket.poll(RETRY_MS)
        self.socket.send_multipart(self.waiting[header["id"]][1])  # not done: a worker was away for a moment


def produce(connection, queues, producer, count):
    def check(results):
        if not all(isinstance(result, str) or result.get("duplicate") for result in results):
            raise SystemExit(f"not taken: {results}")

    for first in range(0, count, BATCH):
        bodies = [body_of(producer, counter) for counter in range(first, min(first + BATCH, count))]
        connection.ask(check, bodies, op="send", queue=queue_name(queue_of(first, queues)), producer=f"py-{producer}",
                       sequence=first // (BATCH * queues) * BATCH + 1)
        while len(connection.waiting) >= UNDER_WAY:
            connection.take_reply()
    while connection.waiting:
        connection.take_reply()


class Consumer:
    def __init__(self, connection, queues, output):
        self.connection, self.queues, self.output = connection, queues, output
        self.acked = self.told = 0

    def run(self, numbers):
        for number in numbers:
            self.receive(number)
        while self.connection.waiting:
            self.connection.take_reply()
            if self.acked != self.told and (self.acked - self.told >= 1000 or not self.connection.socket.poll(50)):
                self.told = self.acked
                print(self.acked, flush=True)

    def receive(self, number):
        if not select.select([sys.stdin], [], [], 0)[0]:
            self.connection.ask(lambda messages: self.take(number, messages), None, op="receive",
                                queue=queue_name(number), max=200, wait_ms=1000)

    def take(self, number, messages):
        self.receive(number)
        if not messages:
            return
        for message in messages:
            name = read_body(message["body"])
            good = name is not None and queue_of(name[1], self.queues) == number
            self.output.write(message["body"][:8] if good else b"\xff" * 8)
        self.connection.ask(self.count, [message["receipt"] for message in messages], op="ack",
                            queue=queue_name(number))

    def count(self, results):
        if set(results) != {"ok"}:
            raise SystemExit("an ack was refused")
        self.acked += len(results)


def main(what, endpoint, queues, *rest):
    connection = Connection(endpoint)
    if what == "produce":
        produce(connection, int(queues), int(rest[0]), int(rest[1]))
    else:
        with open(rest[0], "wb") as output:
            Consumer(connection, int(queues), output).run([int(number) for number in rest[1:]])


main(*sys.argv[1:])
