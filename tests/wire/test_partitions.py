# Queues that are spread over several partitions and workers: order of keys, fair receives, sums, growth.
import os
import struct
import subprocess
import threading
import unittest

from harness import Broker, BrokerTest, Client, wait_until

PROGRAMS = os.path.dirname(os.environ.get("DMQ_BIN", ""))


class Partitions(BrokerTest):
    FLAGS = ["--admin", "tcp://127.0.0.1:*", "--workers", "3"]

    def create(self, partitions=4, **settings):
        self.client.ask("queue.create", {"partitions": partitions, **settings}, queue=self.queue)
        wait_until(lambda: self.client.code("queue.describe", queue=self.queue) == "ok", what="the queue")

    def ack(self, messages, **options):
        return self.client.ask("ack", [m["receipt"] for m in messages], queue=self.queue, **options)

    def drain(self, seconds=0, **options):
        messages = []
        while True:
            batch = self.receive(max=100, wait_ms=int(seconds * 1000), **options)
            if not batch:
                return messages
            self.assertEqual(set(self.ack(batch)), {"ok"})
            messages += batch

    def test_all_messages_come_once(self):
        self.create()
        ids = []
        for i in range(20):
            ids += self.send(*[f"{i}-{j}".encode() for j in range(5)])
        self.assertEqual(len({identity.split("-")[0] for identity in ids}), 4)
        described = self.client.ask("queue.describe", queue=self.queue)
        self.assertEqual((described["ready"], described["partitions"], described["key_partitions"]), (100, 4, 4))
        messages = self.drain()
        self.assertEqual(sorted(m["id"] for m in messages), sorted(ids))
        self.assertEqual(self.counts(), (0, 0, 0))
        stats = self.client.ask("queue.stats", queue=self.queue)
        self.assertEqual((stats["totals"]["sent"], stats["totals"]["acked"]), (100, 100))

    def test_messages_of_a_key_keep_their_order(self):
        self.create()
        keys = [f"k{i}" for i in range(10)]
        for number in range(10):
            results = self.send(*[{"body": str(number).encode(), "key": key} for key in keys])
            self.assertTrue(all(isinstance(result, str) for result in results), results)
        seen = {key: [] for key in keys}
        out = set()
        while sum(map(len, seen.values())) < 100:
            batch = self.receive(max=7, wait_ms=1000)
            for message in batch:
                self.assertNotIn(message["key"], out)
                out.add(message["key"])
                seen[message["key"]].append(int(message["body"]))
            self.ack(batch)
            out -= {m["key"] for m in batch}
        self.assertEqual(set(map(tuple, seen.values())), {tuple(range(10))})

    def test_a_receive_waits_for_all_of_them(self):
        self.create()
        for i in range(8):
            waiting = self.new_client()
            number = waiting.post("receive", queue=self.queue, wait_ms=20_000)
            wait_until(lambda: self.client.ask("queue.describe", queue=self.queue)["waiting"] == 4, what="the waits")
            self.send(str(i).encode())
            header, messages = waiting.reply()
            self.assertEqual((header["id"], [m["body"] for m in messages]), (number, [str(i).encode()]))
            self.assertEqual(messages[0]["deliveries"], 1)
            self.ack(messages)
            wait_until(lambda: self.client.ask("queue.describe", queue=self.queue)["waiting"] == 0, what="their end")
        self.assertEqual(self.receive(wait_ms=200), [])

    def test_on_delivery_nothing_is_lost_among_them(self):
        self.create()
        waiting = self.new_client()
        waiting.post("receive", queue=self.queue, wait_ms=20_000, ack="on_delivery")
        self.send(b"a", b"b")
        bodies = [m["body"] for m in waiting.reply()[1]]
        while len(bodies) < 2:
            bodies += [m["body"] for m in self.receive(wait_ms=1000, ack="on_delivery")]
        self.assertEqual(sorted(bodies), [b"a", b"b"])
        self.assertEqual(self.counts(), (0, 0, 0))

    def test_receipts_of_several_partitions_are_settled_in_one_request(self):
        self.create(retry_delay_ms=0)
        for i in range(4):
            self.send(str(i).encode())
        messages = [self.receive()[0] for _ in range(4)]
        self.assertEqual(len({m["receipt"].split(".")[0] for m in messages}), 4)
        receipts = [m["receipt"] for m in messages]
        self.assertEqual(self.client.ask("extend", receipts, queue=self.queue, lease_ms=60_000), ["ok"] * 4)
        stale = {"code": "stale_receipt"}
        results = self.client.ask("nack", [receipts[1], "nonsense", receipts[0]], queue=self.queue)
        self.assertEqual([results[0], results[1]["code"], results[2]], ["ok", stale["code"], "ok"])
        self.assertEqual(self.client.ask("ack", receipts[2:], queue=self.queue), ["ok", "ok"])
        self.assertEqual(self.counts(), (2, 0, 0))

    def test_a_producer_counts_in_its_partition(self):
        self.create()
        for sequence in (1, 2, 3, 2):
            result, = self.client.ask("send", [str(sequence).encode()], queue=self.queue, producer="p",
                                      sequence=sequence)
        self.assertEqual(result, {"code": "ok", "duplicate": True})
        for partition in range(4):
            self.client.ask("send", [b"x"], queue=self.queue, producer="each", sequence=1, partition=partition)
        self.assertEqual(self.client.code("send", [b"x"], queue=self.queue, partition=4), "invalid_argument")
        keyed = [{"body": b"", "key": f"k{i}"} for i in range(20)]
        code = self.client.code("send", keyed, queue=self.queue, producer="q", sequence=1)
        self.assertEqual(code, "invalid_argument")
        wrong = self.client.ask("send", keyed, queue=self.queue, partition=0)
        self.assertEqual({r["code"] for r in wrong if isinstance(r, dict)}, {"invalid_argument"})

    def test_subscribers_get_all(self):
        self.create()
        subscriber = self.new_client()
        number = subscriber.post("subscribe", queue=self.queue, subscription="s", credit=8)
        for i in range(40):
            self.send(str(i).encode())
        got = set()
        while len(got) < 40:
            header, messages = subscriber.reply()
            if header["id"] != number:
                continue
            self.assertTrue(header["more"])
            got |= {m["body"] for m in messages}
            if messages:
                subscriber.post("ack", [m["receipt"] for m in messages], queue=self.queue)
        asked = subscriber.post("unsubscribe", queue=self.queue, subscription="s")
        while subscriber.reply()[0]["id"] != asked:
            pass
        self.assertEqual(self.client.ask("queue.describe", queue=self.queue)["waiting"], 0)

    def test_looking_and_purging(self):
        self.create()
        for i in range(30):
            self.send(str(i).encode())
        seen, after = [], None
        while True:
            page = self.client.ask("browse", queue=self.queue, max=4, **({"after": after} if after else {}))
            seen += [m["body"] for m in page["messages"]]
            after = page.get("after")
            if not after:
                break
        self.assertEqual(sorted(map(int, seen)), list(range(30)))
        admin = self.new_client(endpoint=self.client.ask("hello")["admin"])
        self.assertEqual(list(admin.ask("queue.purge", queue=self.queue).values()), [30])
        self.assertEqual(self.counts(), (0, 0, 0))

    def test_it_grows_while_it_is_used(self):
        self.create(2)
        stop = threading.Event()
        sent = []

        def produce():
            with self.new_client() as client:
                while not stop.is_set():
                    number = len(sent)
                    client.ask("send", [{"body": str(number).encode(), "key": f"k{number % 5}"}], queue=self.queue)
                    sent.append(number)

        producer = threading.Thread(target=produce)
        producer.start()
        got = []

        def consume(until):
            while len(got) < until:
                batch = self.receive(max=10, wait_ms=1000)
                got.extend(batch)
                self.ack(batch)

        try:
            consume(100)
            for partitions in (3, 8):
                grown = self.client.ask("queue.update", {"partitions": partitions}, queue=self.queue)
                self.assertEqual((grown["partitions"], grown["key_partitions"]), (partitions, 2))
                consume(len(got) + 100)
        finally:
            stop.set()
            producer.join()
        got += self.drain()
        self.assertEqual(sorted(int(m["body"]) for m in got), list(range(len(sent))))
        for key in {m["key"] for m in got}:
            numbers = [int(m["body"]) for m in got if m["key"] == key]
            self.assertEqual(numbers, sorted(numbers))
        places = {identity.split("-")[0] for _ in range(16) for identity in self.send(b"x")}
        self.assertEqual(len(places), 8)
        for wrong in ({"partitions": 7}, {"partitions": 0}, {"partitions": 65}, {"key_partitions": 4}):
            self.assertEqual(self.client.code("queue.update", wrong, queue=self.queue), "invalid_argument", wrong)

    def test_dead_letters_and_the_way_back(self):
        self.create(dead_letter=self.queue + ".dead", max_deliveries=1)
        dead = self.queue + ".dead"
        keys = [f"k{i}" for i in range(8)]
        self.send(*[{"body": key.encode(), "key": key} for key in keys])
        messages = []
        while len(messages) < 8:
            batch = self.receive(max=8, wait_ms=1000)
            self.client.ask("nack", [m["receipt"] for m in batch], queue=self.queue)
            messages += batch
        wait_until(lambda: self.client.ask("queue.describe", queue=dead)["ready"] == 8, what="the dead letters")
        self.client.ask("queue.redrive", queue=dead)
        wait_until(lambda: self.counts()[0] == 8, what="the way back")
        again = self.drain()
        self.assertEqual(sorted(m["id"] for m in again), sorted(m["id"] for m in messages))
        # A key's messages that came back are in its partition, in line with those that are sent now.
        places = {m["key"]: m["receipt"].split(".")[0] for m in messages}
        self.assertEqual({m["key"]: m["receipt"].split(".")[0] for m in again}, places)

    def test_the_programs(self):
        def run(program, *arguments, given=b""):
            done = subprocess.run([os.path.join(PROGRAMS, program), "--broker", self.broker.endpoint, *arguments],
                                  input=given, capture_output=True, timeout=30, check=False)
            self.assertEqual(done.returncode, 0, done.stderr)
            return done.stdout

        run("dmq", "queue", "create", "--partitions", "4", self.queue)
        wait_until(lambda: self.client.code("queue.describe", queue=self.queue) == "ok", what="the queue")
        for key in ("a", "b", "c", "d", "e"):
            run("dmq-send", "--lines", "--key", key, self.queue, given=b"1\n2\n3\n")
        run("dmq-send", "--lines", self.queue, given=b"x\ny\nz\n")
        bodies = run("dmq-recv", "--count", "18", "--wait", "5s", "--lines", self.queue).split()
        self.assertEqual(sorted(bodies), sorted([b"1", b"2", b"3"] * 5 + [b"x", b"y", b"z"]))
        self.assertEqual(self.counts(), (0, 0, 0))

    def test_what_cannot_be(self):
        for wrong in ({"partitions": 0}, {"partitions": 65}, {"partitions": 4, "key_partitions": 3},
                      {"partitions": 2, "key_partitions": 4}, {"partitions": "4"}):
            self.assertEqual(self.client.code("queue.create", wrong, queue=self.queue), "invalid_argument", wrong)
        self.create(2)
        self.assertEqual(self.client.code("queue.create", {"partitions": 2}, queue=self.queue), "ok")
        self.assertEqual(self.client.code("queue.create", {"partitions": 3}, queue=self.queue), "queue_exists")


class Forged(unittest.TestCase):
    def test_nobody_answers_in_the_name_of_a_partition(self):
        with Broker("--admin", "") as broker, Client(broker.endpoint) as client, Client(broker.endpoint) as other:
            other.ask("queue.create", {"partitions": 2}, queue="q")
            client.post("receive", queue="q", wait_ms=20_000)  # the router's first request to several partitions
            wait_until(lambda: other.ask("queue.describe", queue="q")["waiting"] == 2, what="the waits")
            for part in (0, 1):
                with Client(broker.endpoint, routing_id=b"\0dmq" + struct.pack("<QH", 1, part)) as forger:
                    forger.post("ping")
                    self.assertIsNone(forger.frames(0.3))
            self.assertIsNone(client.frames(0))  # it waits still


if __name__ == "__main__":
    unittest.main()
