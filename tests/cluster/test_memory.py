# What a router holds for a worker that does not take it is bounded in bytes, and nothing confirmed is lost by that.
import signal
import unittest

from programs import Cluster

from harness import Client, memory_bound, memory_bytes, wait_until

MIB = 1 << 20
BODY = 8 * MIB
PUSHED = 160  # bodies: 1,280 MiB
GROWTH_MAX = memory_bound(768 * MIB)  # 256 on their way to the worker, 256 held, what is just being read and the allocator's own
MORE = 48  # bodies, more than may be under way at once


class StoppedWorker(unittest.TestCase):
    """A storage worker is paused (SIGSTOP) while a client sends more to it than the router may hold."""

    def setUp(self):
        self.cluster = Cluster(routers=1, workers=1, heartbeat="5s")  # metad does not notice the pause
        self.cluster.__enter__()
        self.addCleanup(self.cluster.__exit__)
        self.router, self.worker = self.cluster.routers[0], self.cluster.workers[0].process
        self.addCleanup(self.worker.send_signal, signal.SIGCONT)
        self.client = self.new_client()
        self.client.ask("queue.create", queue="q")
        self.memory_before = self.most = memory_bytes(self.router)
        self.confirmed = set()

    def new_client(self):
        client = Client(self.router.endpoint, sndhwm=2)
        self.addCleanup(client.close)
        return client

    def push(self, client, numbers):
        """Sends a body for each number without waiting for replies; the numbers by request id."""
        posted = {}
        for number in numbers:
            posted[client.post("send", [b"%06d" % number + bytes(BODY - 6)], queue="q")] = number
            self.look()
        return posted

    def look(self):
        self.most = max(self.most, memory_bytes(self.router))

    def take_reply(self, posted):
        """Reads one reply and remembers what it confirms; the code."""
        answer, _ = self.client.reply(30)
        number = posted.pop(answer["id"])
        if answer["code"] == "ok":
            self.confirmed.add(number)
        else:
            self.assertEqual((answer["code"], answer["retry"]), ("unavailable", True))
        self.look()
        return answer["code"]

    def replies_until_all_are_read(self, posted):
        """The codes of all replies until that to a ping, which the router reads behind all that was posted."""
        ping = self.client.post("ping")
        codes = []
        posted[ping] = None
        while ping in posted:
            codes.append(self.take_reply(posted))
        self.confirmed.discard(None)
        return codes[:-1]

    def send_until_confirmed(self, client, number):
        body = b"%06d" % number + bytes(BODY - 6)
        wait_until(lambda: client.code("send", [body], queue="q") == "ok", 30, "a confirmed send")
        self.confirmed.add(number)

    def received(self):
        """All messages of the queue, acked; their numbers."""
        numbers = []
        while messages := self.client.ask("receive", queue="q", max=3, max_bytes=3 * BODY):
            numbers += [int(message["body"][:6]) for message in messages]
            receipts = [message["receipt"] for message in messages]
            self.assertEqual(set(self.client.ask("ack", receipts, queue="q")), {"ok"})
        return numbers

    def test_a_router_is_bounded_and_every_confirmed_message_is_there_afterwards(self):
        self.worker.send_signal(signal.SIGSTOP)
        posted = self.push(self.client, range(PUSHED))
        codes = self.replies_until_all_are_read(posted)
        growth = self.most - self.memory_before
        print(f"grew by {growth >> 20} MiB, {len(codes)} of {PUSHED} were refused")
        self.assertLess(growth, GROWTH_MAX)
        self.assertIn("unavailable", codes)
        self.worker.send_signal(signal.SIGCONT)
        # Without a reply for long, the connection broke and the requests on it are lost, as on any broken connection.
        while posted and self.client.socket.poll(5000):
            self.take_reply(posted)
        self.look()
        self.assertLess(self.most - self.memory_before, GROWTH_MAX)
        again = self.new_client()
        for number in sorted(set(range(PUSHED)) - self.confirmed):
            self.send_until_confirmed(again, number)
        self.assertEqual(set(self.received()), set(range(PUSHED)))

    def test_what_is_lost_with_a_worker_that_is_killed_does_not_count_for_ever(self):
        self.worker.send_signal(signal.SIGSTOP)
        posted = self.push(self.client, range(MORE))
        self.replies_until_all_are_read(posted)
        self.cluster.workers[0].kill()
        self.cluster.workers[0].start()  # at the same endpoint
        client = self.new_client()
        for number in range(MORE, 2 * MORE):
            self.send_until_confirmed(client, number)
        self.client = client
        self.assertLessEqual(self.confirmed, set(self.received()))


if __name__ == "__main__":
    unittest.main()
