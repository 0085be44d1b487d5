# dmq export and dmq import: what one broker has comes to another as it was.
import io
import json
import os
import subprocess
import tempfile
import time
import unittest

import msgpack
from harness import Broker, BrokerTest, Client, wait_until

DMQ = os.path.join(os.path.dirname(os.environ.get("DMQ_BIN", "")), "dmq")


class Transfer(BrokerTest):
    def dmq(self, *words, given=b"", code=0, endpoint=None):
        """Runs dmq; what it printed, and its words to people."""
        done = subprocess.run([DMQ, *words, "--broker", endpoint or self.broker.endpoint], input=given,
                              capture_output=True, timeout=60, check=False)
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stdout, done.stderr.decode()

    def exported(self):
        return [json.loads(line) for line in self.dmq("export", self.queue)[0].splitlines()]

    def create(self, **settings):
        self.client.ask("queue.create", settings, queue=self.queue)
        wait_until(lambda: self.client.code("queue.describe", queue=self.queue) == "ok", what="the queue")

    def test_a_queue_comes_to_another_broker_as_it_was(self):
        self.create(lease_ms=7000, max_deliveries=5, priority_weights=list(range(1, 11)), dedup="replace")
        later = int(time.time() * 1000) + 3_600_000
        self.send(b"1", {"body": b"\x00\xff", "headers": {"h": b"\xfe", "x_base64": "plain"}, "key": "k"},
                  {"body": b"3", "deliver_at": later}, {"body": b"4", "priority": 9, "ttl_ms": 3_600_000},
                  {"body": b"5", "ttl_ms": 1}, {"body": "grüße"})
        self.assertEqual(self.receive()[0]["body"], b"4")  # leased, and in its place all the same
        lines, words = self.dmq("export", self.queue)
        self.assertEqual(words, "5 messages of 1 queue exported\n")
        with Broker() as other, Client(other.endpoint) as client:
            _, words = self.dmq("import", given=lines, endpoint=other.endpoint)
            self.assertEqual(words, "5 messages of 1 queue imported\n")
            settings = client.ask("queue.describe", queue=self.queue)
            self.assertEqual((settings["lease_ms"], settings["max_deliveries"], settings["dedup"]), (7000, 5, "replace"))
            self.assertEqual(settings["priority_weights"], list(range(1, 11)))
            self.assertEqual((settings["ready"], settings["delayed"]), (4, 1))
            messages = {}
            while len(messages) < 4:
                messages |= {each["body"]: each for each in client.ask("receive", queue=self.queue, max=10)}
            self.assertEqual(set(messages), {b"1", b"\x00\xff", b"4", "grüße".encode()})
            odd = messages[b"\x00\xff"]
            self.assertEqual((odd["headers"], odd["key"]), ({"h": b"\xfe", "x_base64": b"plain"}, "k"))
            self.assertEqual(messages[b"4"]["priority"], 9)
            self.assertLessEqual(abs(messages[b"4"]["expires_ms"] - later), 60_000)
            delayed, = client.ask("browse", queue=self.queue, state="delayed")["messages"]
            self.assertLess(abs(delayed["ready_ms"] - later), 1000)

    def test_msgpack_says_the_same_as_json(self):
        self.create(lease_ms=7000, max_deliveries=5)
        self.send(b"1", {"body": b"\x00\xff" * 300_000, "headers": {"h": b"\xfe", "x_base64": "plain"}, "key": "k"},
                  {"body": b"4", "priority": 9, "ttl_ms": 3_600_000}, {"body": "grüße"})
        lines = self.exported()
        packed, words = self.dmq("export", "--format", "msgpack", self.queue)
        self.assertEqual(words, "4 messages of 1 queue exported\n")
        maps = list(msgpack.Unpacker(io.BytesIO(packed)))
        self.assertEqual([list(each) for each in maps],
                         [[key.replace("body_base64", "body") for key in line] for line in lines])
        self.assertEqual([each.get("body") for each in maps],
                         [None, b"1", b"\x00\xff" * 300_000, b"4", "grüße".encode()])
        self.assertEqual(maps[2]["headers"], {"h": b"\xfe", "x_base64": b"plain"})
        with Broker() as other, Client(other.endpoint):
            _, words = self.dmq("import", given=packed, endpoint=other.endpoint)
            self.assertEqual(words, "4 messages of 1 queue imported\n")
            again = [json.loads(line) for line in self.dmq("export", endpoint=other.endpoint)[0].splitlines()]
        for line in lines + again:
            for key in ("id", "sent_ms", "expires_ms"):
                line.pop(key, None)
        self.assertEqual(again, lines)

    def test_a_stream_of_msgpack_that_is_cut_or_spoiled(self):
        good = msgpack.packb({"queue": self.queue, "body": b"x" * 1000})
        _, words = self.dmq("import", given=good + good[:-1], code=1)
        self.assertIn("entry 2: the input ends in the middle of it; 1 message imported, all before that entry", words)
        _, words = self.dmq("import", given=good + b"\xc1" + good, code=1)
        self.assertIn("entry 2: no MessagePack", words)
        _, words = self.dmq("import", given=good + b"7" + good, code=1)
        self.assertIn("entry 2: it is no map", words)
        _, words = self.dmq("import", given=b"\x81\xa4body\xc6\xff\xff\xff\xff" + b"x" * (18 << 20), code=1)
        self.assertIn("entry 1: the input has a message over the limit of 17 MiB; 0 messages imported", words)
        _, words = self.dmq("import", given=b"\xff\xfe\x00nonsense", code=1)
        self.assertIn("line 1: it is no JSON object", words)
        self.assertEqual(self.counts(), (3, 0, 0))
        self.dmq("export", "--format", "xml", code=2)

    def test_all_queues_and_large_ones(self):
        other = self.queue + "-2"
        self.send(*[b"x" * 100] * 1000)
        self.send(*[b"y" * 100] * 500)
        self.client.ask("send", [b"z"], queue=other)
        lines = self.dmq("export")[0].splitlines()
        ours = [json.loads(line) for line in lines if json.loads(line)["queue"] in (self.queue, other)]
        self.assertEqual(sum("settings" in line for line in ours), 2)
        self.assertEqual(len(ours), 2 + 1501)
        bodies = [line["body"][0] for line in ours if line["queue"] == self.queue and "body" in line]
        self.assertEqual(bodies, ["x"] * 1000 + ["y"] * 500)

    def test_a_message_that_does_not_expire_never_does_where_it_comes_to(self):
        self.create()
        self.send(b"lasting", {"body": b"short", "ttl_ms": 3_600_000})
        lines, _ = self.dmq("export", self.queue)
        self.client.ask("queue.create", {"ttl_ms": 60_000}, queue="other")
        wait_until(lambda: self.client.request("queue.describe", queue="other")[1].get("ttl_ms"), what="the queue")
        self.dmq("import", "--to", "other", given=lines)
        expiry = {each["body"]: each.get("expires_ms") for each in self.client.ask("receive", queue="other", max=10)}
        self.assertIsNone(expiry[b"lasting"])
        self.assertGreater(expiry[b"short"], time.time() * 1000 + 3_000_000)

    def test_dead_messages_are_ready_again_or_left_out(self):
        self.send(b"dead", b"alive")
        message = self.receive()[0]
        self.client.ask("nack", [message["receipt"]], queue=self.queue, kind="fatal")
        lines = self.dmq("export", self.queue)[0]
        _, words = self.dmq("import", "--to", "copy", given=lines)
        self.assertIn("2 messages of 1 queue imported; 1 message that were dead", words)
        _, words = self.dmq("import", "--to", "copy2", "--skip-dead", "-q", given=lines)
        self.assertEqual(words, "")
        self.assertEqual([m["body"] for m in self.client.ask("receive", queue="copy2", max=10)], [b"alive"])

    def test_a_queue_that_is_there_keeps_its_settings(self):
        self.create(lease_ms=7000)
        _, words = self.dmq("import", given=json.dumps({"queue": self.queue, "settings": {"lease_ms": 8000}}).encode())
        self.assertIn("is there with other settings, which it keeps", words)
        self.assertEqual(self.client.ask("queue.describe", queue=self.queue)["lease_ms"], 7000)

    def test_a_bad_line_is_named_and_what_was_before_it_is_imported(self):
        good = json.dumps({"queue": self.queue, "body": "x"})
        _, words = self.dmq("import", given=f"{good}\n\n{good}\nnonsense\n{good}\n".encode(), code=1)
        self.assertIn("line 4: it is no JSON object; 2 messages imported, all before that line", words)
        self.assertEqual(self.counts(), (2, 0, 0))
        too_late = json.dumps({"queue": self.queue, "body": "x", "expires_ms": 1000})
        self.assertIn("1 message had expired", self.dmq("import", given=too_late.encode())[1])
        _, words = self.dmq("import", given=json.dumps({"queue": "a\n", "body": "x"}).encode(), code=1)
        self.assertIn("line 1: ", words)

    def test_what_the_broker_refuses_is_told_with_its_line(self):
        self.create(max_messages=1)
        good = json.dumps({"queue": self.queue, "body": "x"})
        _, words = self.dmq("import", given=f"{good}\n{good}\n".encode(), code=1)
        self.assertIn("line 2: ", words)
        self.assertIn("no room", words)

    def test_files_and_their_absence(self):
        with tempfile.NamedTemporaryFile() as file:
            file.write(json.dumps({"queue": self.queue, "body": "x"}).encode())
            file.flush()
            self.dmq("import", file.name)
        self.assertEqual(self.counts(), (1, 0, 0))
        _, words = self.dmq("import", "/nowhere", code=1)
        self.assertIn("cannot read /nowhere: No such file", words)
        self.dmq("export", "not-there", code=6)


if __name__ == "__main__":
    unittest.main()
