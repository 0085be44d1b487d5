# Every operation of docs/protocol.md against a real broker, on DEALER and REQ sockets.
import tempfile
import threading
import time
import unittest

import msgpack
import zmq

from harness import Broker, BrokerTest, Client, open_files, wait_until


class Connection(BrokerTest):
    def test_hello_tells_what_the_broker_is(self):
        info = self.client.ask("hello")
        self.assertEqual((info["server"], info["versions"], info["heartbeat_ms"]), ("dmq", [1], 1000))
        self.assertIn(info["sync"], ("commit", "interval", "none"))
        self.assertLessEqual({"headers", "idempotent_producer", "nack_delay"}, set(info["features"]))
        limits = {"queue_name_bytes": 200, "header_bytes": 65536, "message_bytes": 16 << 20, "request_bytes": 32 << 20,
                  "batch_messages": 1000, "message_header_bytes": 16384, "wait_ms": 60000, "lease_ms": 43200000}
        self.assertEqual(info["limits"], limits)
        self.assertTrue(info["admin"].startswith("tcp://127.0.0.1:"))

    def test_ping_is_answered(self):
        self.assertEqual(self.client.request("ping"), ({"v": 1, "id": 1, "code": "ok"}, None))

    def test_the_id_comes_back_as_it_was(self):
        for given in (0, 1, 2**53, "", "r-1", "é" * 32):
            self.assertEqual(self.client.request("ping", id=given)[0]["id"], given)
        self.client.socket.send(msgpack.packb({"v": 1, "op": "ping"}))
        self.assertEqual(self.client.reply()[0], {"v": 1, "code": "ok"})

    def test_a_req_socket_gets_its_delimiter_back(self):
        req = self.new_client(zmq.REQ)
        req.ask("send", [b"hello"], queue=self.queue)
        message = req.ask("receive", queue=self.queue)[0]
        self.assertEqual(message["body"], b"hello")
        self.assertEqual(req.ask("ack", [message["receipt"]], queue=self.queue), ["ok"])

    def test_a_dealer_with_a_delimiter_gets_it_back(self):
        self.client.socket.send_multipart([b"", msgpack.packb({"v": 1, "op": "ping"})])
        self.assertEqual(self.client.frames()[0], b"")

    def test_a_request_is_a_header_and_at_most_one_payload(self):
        header = msgpack.packb({"v": 1, "op": "ping"})
        self.client.socket.send_multipart([header, b""])
        self.assertEqual(self.client.reply()[0]["code"], "ok")
        self.client.socket.send_multipart([header, b"", b""])
        self.assertEqual(self.client.reply()[0]["code"], "malformed")

    def test_an_unknown_version_or_operation_is_told(self):
        answer, _ = self.client.request("ping", v=2)
        self.assertEqual((answer["code"], answer["retry"]), ("unsupported_version", False))
        self.assertIn("1", answer["message"])
        self.assertEqual(self.client.code("purge", queue="q"), "unknown_op")

    def test_unknown_keys_are_ignored(self):
        self.assertEqual(self.client.code("ping", colour="red", depth=[[1]], max=0), "ok")

    def test_many_requests_may_be_under_way(self):
        wanted = [self.client.post("send", [b"%d" % i], queue=self.queue) for i in range(500)]
        replies = [self.client.reply() for _ in wanted]
        self.assertEqual(sorted(header["id"] for header, _ in replies), wanted)
        self.assertEqual({header["code"] for header, _ in replies}, {"ok"})
        self.assertEqual(self.bodies(max=500), [b"%d" % i for i in range(500)])


class Send(BrokerTest):
    def test_bodies_come_out_as_they_went_in(self):
        bodies = [b"", b"\x00\xff", "text", {"body": b"map"}, {"body": "str"}, b"x" * 255, b"x" * 256, b"x" * 2022,
                  b"x" * 2023, b"x" * 70000]
        ids = self.send(*bodies)
        messages = self.receive(max=len(bodies))
        as_bytes = lambda body: body["body"] if isinstance(body, dict) else body  # noqa: E731
        wanted = [body.encode() if isinstance(body, str) else body for body in map(as_bytes, bodies)]
        self.assertEqual([message["body"] for message in messages], wanted)
        self.assertEqual([message["id"] for message in messages], ids)
        self.assertEqual(len(set(ids)), len(bodies))

    def test_headers_travel_and_their_values_are_bin(self):
        self.send({"body": b"b", "headers": {"colour": "red", "raw": b"\xff\x00", "": ""}}, {"body": b"c", "headers": {}})
        first, second = self.receive(max=2)
        self.assertEqual(first["headers"], {"colour": b"red", "raw": b"\xff\x00", "": b""})
        self.assertNotIn("headers", second)

    def test_a_delivery_has_the_documented_keys(self):
        before = time.time() * 1000
        self.send(b"b")
        message = self.receive()[0]
        self.assertEqual(set(message), {"id", "receipt", "deliveries", "sent_ms", "body"})
        self.assertEqual(message["deliveries"], 1)
        self.assertLess(abs(message["sent_ms"] - before), 60_000)

    def test_a_bad_message_does_not_touch_the_others(self):
        results = self.client.ask("send", [b"a", 1, {"headers": {}}, {"body": b"b", "headers": {"h": 1}}, "z"],
                                  queue=self.queue)
        self.assertEqual([r if isinstance(r, str) else r["code"] for r in results][1:4], ["malformed"] * 3)
        self.assertIsInstance(results[0], str)
        self.assertIsInstance(results[4], str)
        self.assertEqual(self.bodies(max=10), [b"a", b"z"])

    def test_unknown_keys_are_ignored(self):
        self.send({"body": b"b", "colour": 1})
        self.assertEqual(self.bodies(max=10), [b"b"])

    def test_a_request_has_1_to_1000_messages(self):
        self.assertEqual(self.client.code("send", [], queue=self.queue), "invalid_argument")
        self.assertEqual(len(self.send(*[b"m"] * 1000)), 1000)
        self.assertEqual(self.client.code("send", [b"m"] * 1001, queue=self.queue), "too_large")
        self.assertEqual(self.counts(), (1000, 0, 0))

    def test_a_body_has_at_most_16_mib(self):
        most = 16 << 20
        self.send(b"x" * most)
        results = self.client.ask("send", [b"x" * (most + 1), b"small"], queue=self.queue)
        self.assertEqual(results[0]["code"], "too_large")
        bodies = self.bodies(max=10)  # the first is given although it is over max_bytes, and alone
        self.assertEqual([len(body) for body in bodies], [most])
        self.assertEqual(self.bodies(max=10), [b"small"])

    def test_headers_have_at_most_16_kib(self):
        fits = {"body": b"b", "headers": {"n": "v" * (16384 - 11)}}
        over = {"body": b"b", "headers": {"n": "v" * (16384 - 10)}}
        results = self.client.ask("send", [fits, over], queue=self.queue)
        self.assertIsInstance(results[0], str)
        self.assertEqual(results[1]["code"], "too_large")

    def test_a_whole_request_can_fail(self):
        self.assertEqual(self.client.code("send", {"body": b"b"}, queue=self.queue), "malformed")
        self.assertEqual(self.client.code("send", queue=self.queue), "malformed")
        self.assertEqual(self.client.code("send", [b"b"]), "malformed")
        self.assertEqual(self.client.code("send", [b"b"], queue=""), "invalid_argument")
        self.assertEqual(self.client.code("send", [b"b"], queue="q" * 201), "invalid_argument")
        self.assertEqual(self.client.code("send", [b"b"], queue="a\nb"), "invalid_argument")

    def test_a_name_may_be_any_clean_utf_8(self):
        for name in ("é", "a b/c.d", "{orders}.new", "q" * 200, "日本"):
            self.client.ask("send", [b"b"], queue=name)
            self.assertEqual([m["body"] for m in self.client.ask("receive", queue=name)], [b"b"])


class IdempotentProducer(BrokerTest):
    def produce(self, sequence, *bodies, producer="till-4"):
        return self.client.ask("send", list(bodies), queue=self.queue, producer=producer, sequence=sequence)

    def refused(self, sequence, *bodies, producer="till-4"):
        return self.client.code("send", list(bodies), queue=self.queue, producer=producer, sequence=sequence)

    def test_a_repeated_request_gives_duplicates(self):
        first = self.produce(1, b"a", b"b")
        self.assertTrue(all(isinstance(result, str) for result in first))
        self.assertEqual(self.produce(1, b"a", b"b"), [{"code": "ok", "duplicate": True}] * 2)
        self.assertEqual(self.bodies(max=10), [b"a", b"b"])

    def test_an_overlapping_request_is_taken_for_its_new_part(self):
        self.produce(1, b"a", b"b")
        results = self.produce(2, b"b", b"c")
        self.assertEqual(results[0], {"code": "ok", "duplicate": True})
        self.assertIsInstance(results[1], str)
        self.assertEqual(self.bodies(max=10), [b"a", b"b", b"c"])

    def test_a_gap_is_out_of_sequence(self):
        self.assertEqual(self.refused(2, b"b"), "out_of_sequence")
        self.produce(1, b"a")
        self.assertEqual(self.refused(3, b"c"), "out_of_sequence")
        self.produce(2, b"b")
        self.assertEqual(self.bodies(max=10), [b"a", b"b"])

    def test_a_bad_message_consumes_nothing(self):
        self.assertEqual(self.refused(1, b"a", 7), "malformed")
        self.assertEqual(self.refused(1, b"a", {"body": b"b", "dedup_id": "k"}), "invalid_argument")
        self.produce(1, b"a", b"b")
        self.assertEqual(self.bodies(max=10), [b"a", b"b"])

    def test_each_producer_and_queue_has_its_own_count(self):
        self.produce(1, b"a")
        self.produce(1, b"b", producer="till-5")
        self.client.ask("send", [b"c"], queue=self.queue + "2", producer="till-4", sequence=1)
        self.assertEqual(self.bodies(max=10), [b"a", b"b"])

    def test_producer_and_sequence_go_together(self):
        for header in ({"producer": "p"}, {"sequence": 1}, {"producer": "", "sequence": 1},
                       {"producer": "p", "sequence": 0}, {"producer": "p" * 65, "sequence": 1}):
            self.assertEqual(self.client.code("send", [b"b"], queue=self.queue, **header), "invalid_argument")

    def test_requests_under_way_together_are_taken_in_order(self):
        for first in range(1, 201, 10):
            bodies = [b"%d" % i for i in range(first, first + 10)]
            self.client.post("send", bodies, queue=self.queue, producer="p", sequence=first)
            self.client.post("send", bodies, queue=self.queue, producer="p", sequence=first)
        self.assertEqual({self.client.reply()[0]["code"] for _ in range(40)}, {"ok"})
        self.assertEqual(self.bodies(max=1000), [b"%d" % i for i in range(1, 201)])


class Receive(BrokerTest):
    def test_an_empty_queue_gives_an_empty_array(self):
        self.assertEqual(self.receive(), [])

    def test_max_is_1_by_default(self):
        self.send(b"a", b"b", b"c")
        self.assertEqual(self.bodies(), [b"a"])
        self.assertEqual(self.bodies(max=5), [b"b", b"c"])

    def test_max_bytes_counts_bodies_and_the_first_is_always_given(self):
        self.send(b"12345", b"12345", b"123456", b"1")
        self.assertEqual(self.bodies(max=10, max_bytes=10), [b"12345", b"12345"])
        self.assertEqual(self.bodies(max=10, max_bytes=1), [b"123456"])
        self.assertEqual(self.bodies(max=10, max_bytes=1), [b"1"])

    def test_options_out_of_range_are_refused(self):
        for option in ({"max": 0}, {"max": 1001}, {"max_bytes": 0}, {"max_bytes": (31 << 20) + 1}, {"wait_ms": 60001},
                       {"lease_ms": 99}, {"lease_ms": 43_200_001}, {"max": 1.0}, {"wait_ms": -1}, {"max": "1"}):
            self.assertEqual(self.client.code("receive", queue=self.queue, **option), "invalid_argument", option)

    def test_order_is_first_in_first_out(self):
        for i in range(50):
            self.send(b"%d" % (2 * i), b"%d" % (2 * i + 1))
        self.assertEqual([self.bodies()[0] for _ in range(100)], [b"%d" % i for i in range(100)])

    def test_a_long_poll_ends_with_a_message(self):
        other = self.new_client()
        other.post("receive", queue=self.queue, wait_ms=30_000)
        wait_until(lambda: self.client.code("queue.describe", queue=self.queue) == "ok" and
                   self.client.ask("queue.describe", queue=self.queue)["waiting"] == 1)
        self.send(b"late")
        _, messages = other.reply()
        self.assertEqual([message["body"] for message in messages], [b"late"])

    def test_a_long_poll_ends_with_its_time(self):
        start = time.monotonic()
        self.assertEqual(self.receive(wait_ms=300), [])
        self.assertGreaterEqual(time.monotonic() - start, 0.29)

    def test_waiting_receives_are_served_in_their_order(self):
        clients = [self.new_client() for _ in range(3)]
        for i, client in enumerate(clients):
            client.post("receive", queue=self.queue, wait_ms=30_000)
            wait_until(lambda n=i + 1: self.client.code("queue.describe", queue=self.queue) == "ok" and
                       self.client.ask("queue.describe", queue=self.queue)["waiting"] == n)
        self.send(b"1", b"2", b"3")
        bodies = [client.reply()[1][0]["body"] for client in clients]
        self.assertEqual(bodies, [b"1", b"2", b"3"])

    def test_two_consumers_share_a_queue(self):
        self.send(*[b"%d" % i for i in range(200)])
        other = self.new_client()
        seen = []
        while True:
            batch = self.receive(max=7) + self.receive(other, max=5)
            if not batch:
                break
            seen += [message["body"] for message in batch]
        self.assertEqual(sorted(seen), sorted(b"%d" % i for i in range(200)))


class Leaving(BrokerTest):
    def test_messages_for_a_client_that_left_come_back_at_once(self):
        self.client.ask("ping")  # connected, and nobody else is
        sockets = open_files(self.broker)
        leaver = Client(self.broker.endpoint)
        leaver.post("receive", queue=self.queue, wait_ms=30_000, lease_ms=600_000)
        wait_until(lambda: self.client.code("queue.describe", queue=self.queue) == "ok" and
                   self.client.ask("queue.describe", queue=self.queue)["waiting"] == 1)
        leaver.close()
        wait_until(lambda: open_files(self.broker) <= sockets, what="the end of the connection")
        self.send(b"a")
        message = self.receive(wait_ms=5000)[0]
        self.assertEqual((message["body"], message["deliveries"]), (b"a", 1))


class Lease(BrokerTest):
    def test_a_leased_message_is_invisible_until_its_lease_ends(self):
        self.send(b"a", b"b")
        first = self.receive(lease_ms=400)[0]
        self.assertEqual(self.bodies(max=10, lease_ms=60_000), [b"b"])
        again = self.receive(wait_ms=10_000)[0]
        self.assertEqual((again["body"], again["deliveries"], again["id"]), (b"a", 2, first["id"]))
        self.assertNotEqual(again["receipt"], first["receipt"])

    def test_an_ack_removes_for_good(self):
        self.send(b"a")
        message = self.receive(lease_ms=200)[0]
        self.assertEqual(self.client.ask("ack", [message["receipt"]], queue=self.queue), ["ok"])
        self.assertEqual(self.receive(wait_ms=400), [])
        self.assertEqual(self.counts(), (0, 0, 0))

    def test_a_second_ack_is_stale(self):
        self.send(b"a")
        receipt = self.receive()[0]["receipt"]
        results = self.client.ask("ack", [receipt, receipt, "nonsense", "0.1.1.1"], queue=self.queue)
        self.assertEqual([r if r == "ok" else r["code"] for r in results], ["ok"] + ["stale_receipt"] * 3)
        self.assertEqual(self.client.ask("ack", [receipt], queue=self.queue)[0]["code"], "stale_receipt")

    def test_an_ack_on_a_lease_that_was_issued_again_is_stale(self):
        self.send(b"a")
        old = self.receive(lease_ms=100)[0]["receipt"]
        new = self.receive(wait_ms=10_000)[0]["receipt"]
        for op in ("ack", "nack", "extend"):
            self.assertEqual(self.client.ask(op, [old], queue=self.queue)[0]["code"], "stale_receipt")
        self.assertEqual(self.client.ask("ack", [new], queue=self.queue), ["ok"])

    def test_a_receipt_of_another_queue_is_stale(self):
        self.send(b"a")
        receipt = self.receive()[0]["receipt"]
        self.client.ask("queue.create", queue=self.queue + "2")
        self.assertEqual(self.client.ask("ack", [receipt], queue=self.queue + "2")[0]["code"], "stale_receipt")
        self.assertEqual(self.client.ask("ack", [receipt], queue=self.queue), ["ok"])

    def test_a_nacked_message_goes_back_to_its_place(self):
        self.send(b"a", b"b", b"c")
        a, b = self.receive(max=2)
        self.assertEqual(self.client.ask("nack", [b["receipt"], a["receipt"]], queue=self.queue), ["ok", "ok"])
        messages = self.receive(max=3)
        self.assertEqual([(m["body"], m["deliveries"]) for m in messages], [(b"a", 2), (b"b", 2), (b"c", 1)])

    def test_a_nack_with_a_delay_hides_the_message_for_so_long(self):
        self.send(b"a", b"b")
        receipt = self.receive()[0]["receipt"]
        start = time.monotonic()
        self.assertEqual(self.client.ask("nack", [receipt], queue=self.queue, delay_ms=500), ["ok"])
        self.assertEqual(self.counts(), (1, 0, 1))
        self.assertEqual(self.bodies(), [b"b"])
        self.assertEqual(self.bodies(wait_ms=10_000), [b"a"])
        self.assertGreaterEqual(time.monotonic() - start, 0.45)

    def test_extend_keeps_a_message_longer(self):
        self.send(b"a")
        receipt = self.receive(lease_ms=300)[0]["receipt"]
        self.assertEqual(self.client.ask("extend", [receipt], queue=self.queue, lease_ms=60_000), ["ok"])
        self.assertEqual(self.receive(wait_ms=600), [])
        self.assertEqual(self.client.ask("ack", [receipt], queue=self.queue), ["ok"])

    def test_extend_may_shorten_a_lease(self):
        self.send(b"a")
        receipt = self.receive(lease_ms=600_000)[0]["receipt"]
        self.client.ask("extend", [receipt], queue=self.queue, lease_ms=100)
        self.assertEqual(self.bodies(wait_ms=10_000), [b"a"])

    def test_the_default_lease_is_the_queues(self):
        self.client.ask("queue.create", {"lease_ms": 150}, queue=self.queue)
        self.send(b"a")
        self.receive()
        self.assertEqual(self.receive(wait_ms=10_000)[0]["deliveries"], 2)

    def test_receipts_are_1_to_1000_texts(self):
        self.send(*[b"m"] * 1000)
        receipts = [message["receipt"] for message in self.receive(max=1000)]
        for op in ("ack", "nack", "extend"):
            self.assertEqual(self.client.code(op, [], queue=self.queue), "invalid_argument")
            self.assertEqual(self.client.code(op, receipts + ["x"], queue=self.queue), "too_large")
            self.assertEqual(self.client.code(op, [1], queue=self.queue), "malformed")
            self.assertEqual(self.client.code(op, queue=self.queue), "malformed")
        self.assertEqual(self.client.ask("extend", receipts, queue=self.queue), ["ok"] * 1000)
        self.assertEqual(self.client.ask("ack", receipts, queue=self.queue), ["ok"] * 1000)
        self.assertEqual(self.counts(), (0, 0, 0))

    def test_settling_needs_a_queue_that_exists(self):
        for op in ("ack", "nack", "extend"):
            self.assertEqual(self.client.code(op, ["1.1.1.1"], queue="nowhere"), "no_such_queue")


class Queues(BrokerTest):
    def test_create_is_idempotent_for_the_same_settings(self):
        info = self.client.ask("queue.create", {"lease_ms": 5000}, queue=self.queue)
        self.assertEqual(set(info), {"name", "id", "partition", "created_ms", "version", "lease_ms", "confirm"})
        self.assertEqual((info["name"], info["lease_ms"]), (self.queue, 5000))
        self.assertIsInstance(info["id"], str)
        self.assertEqual(self.client.ask("queue.create", {"lease_ms": 5000}, queue=self.queue), info)
        self.assertEqual(self.client.code("queue.create", {"lease_ms": 6000}, queue=self.queue), "queue_exists")
        self.assertEqual(self.client.code("queue.create", queue=self.queue), "queue_exists")

    def test_create_without_settings_takes_the_defaults(self):
        self.assertEqual(self.client.ask("queue.create", queue=self.queue)["lease_ms"], 30_000)
        self.assertEqual(self.client.ask("queue.create", {}, queue=self.queue)["lease_ms"], 30_000)

    def test_a_reply_says_how_far_it_is_confirmed(self):
        for confirm in ("in_sync", "leader"):
            queue = self.queue + confirm
            self.assertEqual(self.client.ask("queue.create", {"confirm": confirm}, queue=queue)["confirm"], confirm)
            # A worker that has not heard of the new queue's settings yet is on the safe side, and says so.
            wait_until(lambda: self.client.request("send", [b"x"], queue=queue)[0]["confirmed"] == confirm,
                       what=f"a confirmation by {confirm}")
            messages = self.client.ask("receive", queue=queue)
            answer, _ = self.client.request("ack", [messages[0]["receipt"]], queue=queue)
            self.assertEqual(answer["confirmed"], confirm)
        self.assertNotIn("confirmed", self.client.request("receive", queue=queue)[0])

    def test_create_refuses_bad_settings(self):
        for settings in ({"lease_ms": 99}, {"lease_ms": 43_200_001}, {"lease_ms": "5"}, {"leese_ms": 5000},
                         {"confirm": "nobody"}, {"confirm": True}):
            self.assertEqual(self.client.code("queue.create", settings, queue=self.queue), "invalid_argument", settings)
        self.assertEqual(self.client.code("queue.create", [], queue=self.queue), "malformed")
        self.assertEqual(self.client.code("queue.describe", queue=self.queue), "no_such_queue")

    def test_describe_counts(self):
        self.send(*[b"x" * 1000] * 5)
        receipts = [message["receipt"] for message in self.receive(max=3)]
        self.client.ask("nack", receipts[:1], queue=self.queue, delay_ms=60_000)
        info = self.client.ask("queue.describe", queue=self.queue)
        self.assertEqual(set(info), {"name", "id", "partition", "created_ms", "version", "lease_ms", "confirm", "worker", "dead",
                                     "ready", "leased", "delayed", "bytes", "waiting"})
        self.assertEqual((info["ready"], info["leased"], info["delayed"]), (2, 2, 1))
        self.assertGreaterEqual(info["bytes"], 5000)
        self.client.ask("ack", receipts[1:], queue=self.queue)
        self.assertLess(self.client.ask("queue.describe", queue=self.queue)["bytes"], info["bytes"])

    def test_describe_needs_a_queue_that_exists(self):
        self.assertEqual(self.client.code("queue.describe", queue="nowhere"), "no_such_queue")

    def test_list_is_ordered_and_paged(self):
        names = [f"list.{i:03}" for i in range(120)]
        for name in reversed(names):
            self.client.post("queue.create", queue=name)
        for _ in names:
            self.assertEqual(self.client.reply()[0]["code"], "ok")
        listed = lambda **o: [q["name"] for q in self.client.ask("queue.list", prefix="list.", **o)]  # noqa: E731
        self.assertEqual(listed(), names[:100])
        self.assertEqual(listed(max=1000), names)
        self.assertEqual(listed(after=names[99]), names[100:])
        self.assertEqual(listed(max=2, after="list.0005"), names[1:3])
        self.assertEqual(listed(after="zzz"), [])
        self.assertEqual(self.client.ask("queue.list", prefix="list.1190"), [])
        self.assertEqual(self.client.code("queue.list", max=1001), "invalid_argument")

    def test_delete_is_denied_on_the_clients_port(self):
        self.send(b"a")
        answer, _ = self.client.request("queue.delete", queue=self.queue)
        self.assertEqual((answer["code"], answer["retry"]), ("denied", False))
        self.assertEqual(self.bodies(), [b"a"])

    def test_delete_on_the_admin_port_removes_queue_and_messages(self):
        self.send(b"a", b"b")
        receipt = self.receive()[0]["receipt"]
        admin = self.new_client(endpoint=self.client.ask("hello")["admin"])
        self.assertEqual(admin.code("queue.delete", queue=self.queue), "ok")
        self.assertEqual(admin.code("queue.delete", queue=self.queue), "no_such_queue")
        self.assertEqual(self.client.code("queue.describe", queue=self.queue), "no_such_queue")
        self.assertEqual(self.client.code("ack", [receipt], queue=self.queue), "no_such_queue")
        self.send(b"new")
        self.assertEqual(self.client.ask("ack", [receipt], queue=self.queue)[0]["code"], "stale_receipt")
        self.assertEqual(self.bodies(max=10), [b"new"])

    def test_the_admin_port_serves_everything_else_too(self):
        admin = self.new_client(endpoint=self.client.ask("hello")["admin"])
        admin.ask("send", [b"a"], queue=self.queue)
        self.assertEqual(self.bodies(), [b"a"])


class WithoutAutoCreate(BrokerTest):
    FLAGS = ["--no-auto-create"]

    def test_send_and_receive_need_the_queue(self):
        self.assertEqual(self.client.code("send", [b"a"], queue=self.queue), "no_such_queue")
        self.assertEqual(self.client.code("receive", queue=self.queue), "no_such_queue")
        self.client.ask("queue.create", queue=self.queue)
        self.send(b"a")
        self.assertEqual(self.bodies(), [b"a"])


class WithAllowDelete(BrokerTest):
    FLAGS = ["--allow-delete"]

    def test_delete_is_taken_on_the_clients_port(self):
        self.send(b"a")
        self.assertEqual(self.client.code("queue.delete", queue=self.queue), "ok")
        self.assertEqual(self.client.code("queue.describe", queue=self.queue), "no_such_queue")


class FullStore(BrokerTest):
    FLAGS = ["--store-limit", "1MiB"]

    def test_a_full_store_refuses_sends_and_takes_acks(self):
        answer = {"code": "ok"}
        for _ in range(100):
            answer, _ = self.client.request("send", [b"x" * 50_000], queue=self.queue)
            if answer["code"] != "ok":
                break
        self.assertEqual((answer["code"], answer["retry"]), ("insufficient_storage", True))
        receipts = [message["receipt"] for message in self.receive(max=100, max_bytes=31 << 20)]
        self.assertEqual(set(self.client.ask("ack", receipts, queue=self.queue)), {"ok"})
        wait_until(lambda: self.client.code("send", [b"x"], queue=self.queue) == "ok", what="room in the store")


class ManyReceives(BrokerTest):
    FLAGS = ["--workers", "1"]

    def test_10000_receives_wait_in_one_worker_and_one_more_is_refused(self):
        for _ in range(10):
            waiting = self.new_client()
            for _ in range(1000):
                waiting.post("receive", queue=self.queue, wait_ms=60_000)
        wait_until(lambda: self.client.code("queue.describe", queue=self.queue) == "ok" and
                   self.client.ask("queue.describe", queue=self.queue)["waiting"] == 10_000, seconds=60)
        answer, _ = self.client.request("receive", queue=self.queue, wait_ms=1000)
        self.assertEqual((answer["code"], answer["retry"]), ("unavailable", True))
        self.assertEqual(self.receive(), [])  # one that does not wait is served


class Restart(unittest.TestCase):
    def test_messages_survive_and_leases_do_not(self):
        with tempfile.TemporaryDirectory() as folder:
            with Broker("--data", folder, "--admin", "") as broker, Client(broker.endpoint) as client:
                info = client.ask("queue.create", {"lease_ms": 60_000}, queue="q")
                client.ask("send", [b"a", b"b", b"c"], queue="q", producer="p", sequence=1)
                a, b = client.ask("receive", queue="q", max=2)
                client.ask("nack", [b["receipt"]], queue="q", delay_ms=60_000)
                c = client.ask("receive", queue="q")[0]
                self.assertEqual(client.ask("ack", [c["receipt"]], queue="q"), ["ok"])
                client.ask("nack", [a["receipt"]], queue="q")
                a = client.ask("receive", queue="q")[0]
            with Broker("--data", folder, "--admin", "") as broker, Client(broker.endpoint) as client:
                self.assertEqual(client.ask("queue.list"), [info])
                for op in ("ack", "nack", "extend"):
                    self.assertEqual(client.ask(op, [a["receipt"]], queue="q")[0]["code"], "stale_receipt")
                again = client.ask("receive", queue="q", max=10)
                self.assertEqual([(m["id"], m["body"]) for m in again], [(a["id"], b"a")])
                self.assertEqual(again[0]["deliveries"], 2)  # what came back was counted, the lease that was lost was not
                self.assertEqual(client.ask("queue.describe", queue="q")["delayed"], 1)  # b waits on
                repeated = client.ask("send", [b"c", b"d"], queue="q", producer="p", sequence=3)
                self.assertEqual(repeated[0], {"code": "ok", "duplicate": True})
                self.assertEqual(client.code("send", [b"f"], queue="q", producer="p", sequence=6), "out_of_sequence")
                self.assertEqual([m["body"] for m in client.ask("receive", queue="q", max=10)], [b"d"])


class ManyConsumers(BrokerTest):
    def test_each_message_is_acked_once_by_concurrent_consumers(self):
        total, seen, lock = 3000, [], threading.Lock()

        def consume():
            with Client(self.broker.endpoint) as client:
                while True:
                    batch = client.ask("receive", queue=self.queue, max=50, wait_ms=500)
                    if not batch and produced.is_set():
                        return
                    results = client.ask("ack", [m["receipt"] for m in batch], queue=self.queue) if batch else []
                    with lock:
                        seen.extend(m["body"] for m, r in zip(batch, results) if r == "ok")

        produced = threading.Event()
        threads = [threading.Thread(target=consume) for _ in range(4)]
        for thread in threads:
            thread.start()
        for first in range(0, total, 100):
            self.send(*[b"%d" % i for i in range(first, first + 100)])
        produced.set()
        for thread in threads:
            thread.join(60)
        self.assertEqual(sorted(seen), sorted(b"%d" % i for i in range(total)))
        self.assertEqual(self.counts(), (0, 0, 0))


class Stopping(unittest.TestCase):
    def test_the_broker_ends_well_on_sigterm(self):
        broker = Broker()
        with broker, Client(broker.endpoint) as client:
            client.ask("send", [b"a"], queue="q")
            client.post("receive", queue="other", wait_ms=60_000)
            self.assertEqual(broker.stop(), 0, broker.output())


if __name__ == "__main__":
    unittest.main()
