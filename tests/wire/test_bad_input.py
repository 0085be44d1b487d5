# Bytes that no client should send: each gets a clear error or a closed connection, and costs the others nothing.
import os
import random
import socket
import struct
import threading
import time
import unittest

import msgpack
import zmq

from harness import ROOT, BrokerTest, Client, memory_bytes, open_files, wait_until

GROWTH_MAX = 64 << 20  # of the broker's memory during one test, after a warm-up
LATENCY_MAX_S = 2.0    # of any request of another client meanwhile; a busy machine has to pass too


def pack(value):
    return msgpack.packb(value)


def header(**more):
    return pack({"v": 1, "op": "ping", **more})


def send_header(**more):
    return pack({"v": 1, "op": "send", "queue": "bad", **more})


def nest(depth):
    return b"\x91" * (depth - 1) + b"\x90"


# Name, frames, and the code of the reply; None: dropped without a reply.
HEADERS = [
    ("no bytes behind a delimiter", [b"", b""], "malformed"),
    ("only an empty frame", [b""], None),
    ("text", [b"hello"], "malformed"),
    ("HTTP", [b"GET / HTTP/1.1\r\n\r\n"], "malformed"),
    ("JSON", [b'{"v":1,"op":"ping"}'], "malformed"),
    ("an array", [pack(["ping"])], "malformed"),
    ("nil", [b"\xc0"], "malformed"),
    ("an empty map", [b"\x80"], "unsupported_version"),
    ("a key twice", [b"\x83\xa1v\x01\xa2op\xa4ping\xa1v\x01"], "malformed"),
    ("a key that is an integer", [b"\x82\xa1v\x01\x01\x02"], "malformed"),
    ("a key that is bin", [b"\x82\xc4\x01v\x01\xa2op\xa4ping"], "malformed"),
    ("bytes behind the map", [header() + b"\xc0"], "malformed"),
    ("two maps", [header() + header()], "malformed"),
    ("nested deeper than 8", [b"\x83\xa1v\x01\xa2op\xa4ping\xa1x" + nest(8)], "malformed"),
    ("nested a thousand deep", [nest(1000)], "malformed"),
    ("60,000 deep", [b"\x91" * 60_000], "malformed"),
    ("an extension type", [b"\x83\xa1v\x01\xa2op\xa4ping\xa1x\xd4\x01\x00"], "malformed"),
    ("a timestamp", [b"\x83\xa1v\x01\xa2op\xa4ping\xa1x\xd6\xff\x00\x00\x00\x00"], "malformed"),
    ("the unused byte c1", [b"\xc1"], "malformed"),
    ("a map that claims 4 G keys", [b"\xdf\xff\xff\xff\xff"], "too_large"),
    ("an array that claims 4 G items", [b"\xdd\xff\xff\xff\xff"], "too_large"),
    ("a key that claims 4 GiB", [b"\x81\xdb\xff\xff\xff\xff"], "malformed"),
    ("65 keys", [pack({"v": 1, "op": "ping", **{f"k{i}": i for i in range(63)}})], "too_large"),
    ("over 64 KiB", [header(pad="x" * 65_536)], "too_large"),
    ("30 MiB of header", [header(pad="x" * (30 << 20))], "too_large"),
    ("no version", [pack({"op": "ping"})], "unsupported_version"),
    ("a version that is a float", [pack({"v": 1.0, "op": "ping"})], "unsupported_version"),
    ("no operation", [pack({"v": 1})], "malformed"),
    ("an operation that is bin", [pack({"v": 1, "op": b"ping"})], "malformed"),
    ("an operation that is no UTF-8", [b"\x82\xa1v\x01\xa2op\xa2\xff\xfe"], "unknown_op"),
    ("an id that is a float", [header(id=1.5)], "invalid_argument"),
    ("an id over 2^53", [header(id=2**53 + 1)], "invalid_argument"),
    ("an id of 65 bytes", [header(id="i" * 65)], "invalid_argument"),
    ("an id that is a map", [header(id={"a": 1})], "invalid_argument"),
    ("a queue that is an integer", [pack({"v": 1, "op": "receive", "queue": 1})], "malformed"),
    ("a queue that is no UTF-8", [b"\x83\xa1v\x01\xa2op\xa4send\xa5queue\xa1\xff", b"\x90"], "invalid_argument"),
    ("three frames", [header(), b"", b""], "malformed"),
    ("a thousand frames", [header()] + [b"x"] * 999, None),
    ("a thousand empty frames", [b""] * 1000, None),
]

PAYLOADS = [
    ("nothing", b"", "malformed"),
    ("text", b"hello", "malformed"),
    ("nil", b"\xc0", "malformed"),
    ("a map", pack({"body": b"b"}), "malformed"),
    ("no message", b"\x90", "invalid_argument"),
    ("bytes behind the array", pack([b"b"]) + b"\x00", "malformed"),
    ("an array that claims 4 G items", b"\xdd\xff\xff\xff\xff", "too_large"),
    ("an array that claims more than it has", b"\x93\xc4\x01b", "malformed"),
    ("a body that claims 4 GiB", b"\x91\xc6\xff\xff\xff\xff", "malformed"),
    ("a body that claims more than it has", b"\x91\xc4\x10b", "malformed"),
    ("a map that claims 4 G keys", b"\x91\xdf\xff\xff\xff\xff", "too_large"),
    ("nested deeper than 8", b"\x91" + nest(8), "malformed"),
    ("a million deep", b"\x91" * 1_000_000, "malformed"),
    ("an extension type", b"\x91\xd4\x01\x00", "malformed"),
    ("1,001 messages", pack([b""] * 1001), "too_large"),
    ("a million values", b"\xdc\x03\xe8" + (b"\xdc\x03\xe8" + b"\x01" * 1000) * 1000, "too_large"),
    ("65 headers", pack([{"body": b"b", "headers": {f"h{i}": "v" for i in range(65)}}]), "too_large"),
]


class BadInput(BrokerTest):
    """Each test is watched: another client is served all the time, and the broker's memory stays flat."""

    def setUp(self):
        super().setUp()
        self.client.ask("send", [b"x" * (16 << 20)], queue="warm")  # buffers that large requests leave behind
        self.client.ask("ack", [self.client.ask("receive", queue="warm")[0]["receipt"]], queue="warm")
        self.memory_before = memory_bytes(self.broker)
        self.stop = threading.Event()
        self.slowest, self.served, self.trouble = 0.0, 0, None
        self.watcher = threading.Thread(target=self.watch)
        self.watcher.start()
        self.addCleanup(self.end_watch)

    def watch(self):
        try:
            with Client(self.broker.endpoint) as client:
                while not self.stop.is_set():
                    start = time.monotonic()
                    client.ask("send", [b"fine"], queue="watched")
                    message = client.ask("receive", queue="watched", wait_ms=5000)[0]
                    assert client.ask("ack", [message["receipt"]], queue="watched") == ["ok"]
                    self.slowest = max(self.slowest, (time.monotonic() - start) / 3)
                    self.served += 1
                    self.stop.wait(0.01)
        except BaseException as trouble:
            self.trouble = trouble

    def end_watch(self):
        wait_until(lambda: self.served > 3 or self.trouble, what="service of another client")
        self.stop.set()
        self.watcher.join(30)
        self.assertIsNone(self.trouble)
        self.assertIsNone(self.broker.process.poll(), "the broker ended")
        self.assertLess(self.slowest, LATENCY_MAX_S)
        wait_until(lambda: memory_bytes(self.broker) - self.memory_before < GROWTH_MAX, what="memory as before")

    def expect(self, name, frames, code):
        self.client.socket.send_multipart(frames)
        if code is not None:
            with self.subTest(name):
                frames = self.client.frames()
                self.assertIsNotNone(frames, "no reply")
                answer = msgpack.unpackb(frames[-1] if frames[0] == b"" else frames[0])
                self.assertEqual(answer["code"], code)
                self.assertIs(answer["retry"], False)
                self.assertTrue(answer["message"])
        with self.subTest(name + ": and then a ping"):
            self.assertEqual(self.client.code("ping"), "ok")

    def test_headers(self):
        for name, frames, code in HEADERS:
            self.expect(name, frames, code)

    def test_every_truncation_of_a_header(self):
        whole = send_header(id="r", producer="p", sequence=1)
        for size in range(1, len(whole)):
            self.client.socket.send_multipart([whole[:size], pack([b"b"])])
            answer = self.client.reply()[0]
            self.assertEqual(answer["code"], "malformed", size)
            self.assertNotIn("id", answer)

    def test_payloads_of_send(self):
        for name, payload, code in PAYLOADS:
            self.expect(name, [send_header(), payload], code)

    def test_payloads_of_settling(self):
        self.client.ask("queue.create", queue="bad")
        for op in ("ack", "nack", "extend"):
            for name, payload, code in PAYLOADS:
                if name not in ("a body that claims 4 GiB", "65 headers"):
                    self.expect(f"{op}: {name}", [pack({"v": 1, "op": op, "queue": "bad"}), payload], code)

    def test_every_truncation_of_a_payload(self):
        whole = pack([{"body": b"first", "headers": {"colour": "red"}}, b"second"])
        for size in range(len(whole)):
            self.client.socket.send_multipart([send_header(), whole[:size]])
            self.assertEqual(self.client.reply()[0]["code"], "malformed", size)
        self.assertEqual(self.client.ask("receive", queue="bad", max=10), [])

    def test_large_requests_one_after_the_other(self):
        flood = b"\xdc\x03\xe8" + (b"\xdc\x03\xe8" + b"\x01" * 1000) * 1000
        for payload in (flood * 30, b"\x91\xc6" + struct.pack(">I", 30 << 20) + bytes(30 << 20), b"\x91" * (30 << 20)):
            for _ in range(5):
                self.client.socket.send_multipart([send_header(), payload])
                answer, results = self.client.reply(30)
                self.assertIn((results[0] if results else answer)["code"], ("too_large", "malformed"))

    def test_random_changes_of_golden_frames(self):
        seed = int(os.environ.get("DMQ_SEED", random.SystemRandom().randrange(2**32)))
        print(f"seed: DMQ_SEED={seed}")
        dice = random.Random(seed)
        folder = os.path.join(ROOT, "tests", "wire", "golden")
        golden = []
        for name in sorted(os.listdir(folder)):
            with open(os.path.join(folder, name)) as file:
                golden.append(bytearray.fromhex("".join(file.read().split("\n")[1:])))
        for _ in range(3000):
            frames = [bytearray(dice.choice(golden)) for _ in range(dice.choice((1, 2, 2, 2, 3)))]
            for _ in range(dice.randrange(4)):
                frame = dice.choice(frames)
                at = dice.randrange(len(frame) + 1)
                change = dice.randrange(3)
                if change == 0 and at < len(frame):
                    frame[at] = dice.randrange(256)
                elif change == 1:
                    del frame[at:at + dice.randrange(4)]
                else:
                    frame[at:at] = dice.randbytes(dice.randrange(1, 5))
            self.client.socket.send_multipart([bytes(frame) for frame in frames])
            while self.client.socket.poll(0):
                self.client.socket.recv_multipart()
        with self.new_client() as fresh:
            self.assertEqual(fresh.code("ping"), "ok")

    # --- below ZeroMQ: bytes on the TCP port ---------------------------------------------------------------------

    def connect(self):
        host, port = self.broker.endpoint.removeprefix("tcp://").rsplit(":", 1)
        raw = socket.create_connection((host, int(port)), timeout=10)
        self.addCleanup(raw.close)
        return raw

    def closes(self, raw, seconds=10):
        """Does the broker close this connection in time? What it says before (its greeting) is read and ignored."""
        raw.settimeout(seconds)
        end = time.monotonic() + seconds
        try:
            while time.monotonic() < end:
                if raw.recv(4096) == b"":
                    return True
        except ConnectionError:
            return True
        except TimeoutError:
            return False
        return False

    def handshake(self, raw):
        """A ZMTP 3.0 NULL handshake as a DEALER."""
        raw.sendall(b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + b"\0" + bytes(31))
        ready = b"\x05READY\x0bSocket-Type" + struct.pack(">I", 6) + b"DEALER"
        raw.sendall(b"\x04" + bytes([len(ready)]) + ready)
        got = b""
        while b"READY" not in got:
            got += raw.recv(4096)

    def test_a_browser_says_hello(self):
        for hello in (b"GET / HTTP/1.1\r\nHost: dmq\r\nAccept: */*\r\n\r\n",
                      b"POST /queue HTTP/1.1\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000):
            raw = self.connect()
            try:
                raw.sendall(hello)
            except ConnectionError:
                continue  # closed before all of it was read: as good
            self.assertTrue(self.closes(raw), hello[:20])

    def test_a_tls_client_says_hello(self):
        body = b"\x03\x03" + bytes(32) + b"\x00\x00\x02\x13\x01\x01\x00"
        shake = b"\x01" + len(body).to_bytes(3, "big") + body
        raw = self.connect()
        raw.sendall(b"\x16\x03\x01" + struct.pack(">H", len(shake)) + shake)
        self.assertTrue(self.closes(raw))

    def test_half_a_greeting_is_closed_in_time(self):
        raw = self.connect()
        raw.sendall(b"\xff" + bytes(8) + b"\x7f\x03\x00NULL")
        self.assertTrue(self.closes(raw))

    def test_a_greeting_of_one_byte_a_second_is_closed_in_time(self):
        raw = self.connect()
        greeting = iter(b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(48))
        closed = threading.Event()

        def drip():
            try:
                while not closed.wait(1):
                    raw.sendall(bytes([next(greeting)]))
            except OSError:
                pass

        dripper = threading.Thread(target=drip)
        dripper.start()
        try:
            self.assertTrue(self.closes(raw))
        finally:
            closed.set()
            dripper.join(5)

    def test_200_idle_connections_are_closed_in_time(self):
        wait_until(lambda: self.served > 0)
        before = open_files(self.broker)
        raws = [self.connect() for _ in range(200)]
        self.assertEqual(self.client.code("ping"), "ok")
        self.assertTrue(all(self.closes(raw) for raw in raws))
        wait_until(lambda: open_files(self.broker) <= before + 2, what="the end of idle connections")

    def test_200_clients_that_say_nothing_are_borne(self):
        clients = [self.new_client() for _ in range(200)]
        self.assertEqual({client.code("ping") for client in clients[::20]}, {"ok"})

    def test_a_frame_that_claims_4_gb_closes_the_connection(self):
        for claim in (2**32, 2**40, 2**63 - 1, 2**63, 2**64 - 1, 40 << 20):
            raw = self.connect()
            self.handshake(raw)
            raw.sendall(b"\x02" + struct.pack(">Q", claim) + b"x" * 1000)
            self.assertTrue(self.closes(raw), claim)

    def test_a_frame_that_never_ends_holds_nothing_up(self):
        raws = [self.connect() for _ in range(20)]
        for raw in raws:
            self.handshake(raw)
            raw.sendall(b"\x02" + struct.pack(">Q", 1 << 20) + b"x" * 1000)
        self.assertEqual(self.client.code("ping"), "ok")
        for raw in raws:  # no heartbeat of ours: the broker gives up after its timeout
            self.assertTrue(self.closes(raw))

    def test_a_connection_that_breaks_within_a_message_leaves_nothing(self):
        for _ in range(50):
            raw = self.connect()
            self.handshake(raw)
            frame = send_header()
            raw.sendall(b"\x01" + bytes([len(frame)]) + frame)  # more frames promised
            raw.close()
        self.assertEqual(self.client.ask("receive", queue="watched2"), [])

    def test_requests_without_reading_replies(self):
        lazy = self.new_client()
        lazy.socket.setsockopt(zmq.SNDTIMEO, 100)
        try:
            for _ in range(20_000):
                lazy.socket.send(header())
        except zmq.Again:
            pass  # pushed back: as good
        self.assertEqual(self.client.code("ping"), "ok")


if __name__ == "__main__":
    unittest.main()
