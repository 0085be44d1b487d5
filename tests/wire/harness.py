# What the wire tests share: a client that speaks raw DMQ/1, bounded waiting, and the broker of the examples.
import importlib.util
import os
import select
import time
import unittest

import msgpack
import zmq

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_spec = importlib.util.spec_from_file_location("example_harness", os.path.join(ROOT, "examples", "python", "harness.py"))
_example = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_example)
Broker = _example.Broker

PATIENCE_S = 10  # for anything that should take milliseconds


def wait_until(condition, seconds=PATIENCE_S, what="the condition"):
    """Looks again and again until `condition()` is true, which it returns; fails when that takes too long."""
    end = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come about within {seconds} s")
        select.select([], [], [], 0.02)


def open_files(broker):
    """How many files and sockets the broker has open."""
    return len(os.listdir(f"/proc/{broker.process.pid}/fd"))


def memory_bytes(broker):
    """What the broker holds of memory of its own (RssAnon)."""
    with open(f"/proc/{broker.process.pid}/status") as status:
        for line in status:
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    raise AssertionError("the broker has no RssAnon: is it gone?")


def memory_bound(size):
    """What a program that should hold `size` bytes may have; a sanitizer's own memory is no part of the promise."""
    return size * 8 if os.environ.get("DMQ_SANITIZE") else size


class Client:
    """A DEALER (or REQ) socket and requests by keyword. One thread, one request at a time unless post() is used."""

    def __init__(self, endpoint, kind=zmq.DEALER, **options):
        """`options` are attributes of the socket, set before it connects: rcvhwm=1."""
        self.context = zmq.Context()
        self.socket = self.context.socket(kind)
        self.socket.linger = 0
        for name, value in options.items():
            setattr(self.socket, name, value)
        self.socket.connect(endpoint)
        self.next_id = 1

    def close(self):
        """Closes the connection at once; what is under way is lost."""
        self.context.destroy(linger=0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def post(self, op, payload=None, **header):
        """Sends a request and does not wait; the id to tell its reply by."""
        header = {"v": 1, "op": op, "id": self.next_id, **header}
        self.next_id += 1
        frames = [msgpack.packb(header)] + ([] if payload is None else [msgpack.packb(payload)])
        self.socket.send_multipart(frames)
        return header["id"]

    def frames(self, seconds=PATIENCE_S):
        """The frames of the next reply, or None."""
        if not self.socket.poll(seconds * 1000):
            return None
        return self.socket.recv_multipart()

    def reply(self, seconds=PATIENCE_S):
        """The next reply: header and payload (None when there is none)."""
        frames = self.frames(seconds)
        if frames is None:
            raise AssertionError(f"no reply within {seconds} s")
        header = msgpack.unpackb(frames[0])
        payload = msgpack.unpackb(frames[1]) if len(frames) > 1 and frames[1] else None
        return header, payload

    def request(self, op, payload=None, **header):
        """A request and its reply: header and payload."""
        wanted = self.post(op, payload, **header)
        answer, result = self.reply(PATIENCE_S + header.get("wait_ms", 0) / 1000)
        if answer.get("id") != wanted:
            raise AssertionError(f"a reply to {wanted} was expected, not {answer}")
        return answer, result

    def ask(self, op, payload=None, **header):
        """The payload of a reply that has to be a success."""
        answer, result = self.request(op, payload, **header)
        if answer["code"] != "ok":
            raise AssertionError(f"{op}: {answer}")
        return result

    def code(self, op, payload=None, **header):
        """The code of the reply."""
        return self.request(op, payload, **header)[0]["code"]


class BrokerTest(unittest.TestCase):
    """Tests that share one ephemeral broker; each has a client and a queue of its own."""

    FLAGS = ["--admin", "tcp://127.0.0.1:*"]

    @classmethod
    def setUpClass(cls):
        cls.broker = Broker(*cls.FLAGS).__enter__()
        cls.addClassCleanup(cls.broker.stop)

    def setUp(self):
        self.client = self.new_client()
        self.queue = self.id().rsplit(".", 1)[-1]

    def new_client(self, kind=zmq.DEALER, endpoint=None, **options):
        client = Client(endpoint or self.broker.endpoint, kind, **options)
        self.addCleanup(client.close)
        return client

    def send(self, *bodies):
        """Sends bodies (or message maps) to the test's queue; their ids."""
        return self.client.ask("send", list(bodies), queue=self.queue)

    def receive(self, client=None, **options):
        return (client or self.client).ask("receive", queue=self.queue, **options)

    def bodies(self, **options):
        return [message["body"] for message in self.receive(**options)]

    def counts(self):
        """(ready, leased, delayed) of the test's queue."""
        info = self.client.ask("queue.describe", queue=self.queue)
        return info["ready"], info["leased"], info["delayed"]
