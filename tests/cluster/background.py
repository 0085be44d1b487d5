# A small load beside what a test does to a cluster: it sends, receives and acks all the time, and knows what was confirmed.
import select
import threading
import time

from programs import harness  # of tests/wire

REPEAT_S = 1.0  # without a reply a request is repeated, at the next router
LEASE_MS = 2000  # what a lost reply had comes again after it
PATIENCE_S = 60


class Load(threading.Thread):
    """One message at a time to each of some queues, each repeated with its sequence until it is confirmed. Every second
    one is received and acked meanwhile, the rest at the end."""

    def __init__(self, routers, queues=8, pause_s=0.01):
        super().__init__(daemon=True)
        self.clients = [harness.Client(router.endpoint) for router in routers]
        self.queues = [f"load-{i}" for i in range(queues)]
        self.pause_s, self.turn, self.stopping = pause_s, 0, threading.Event()
        self.confirmed = {queue: [] for queue in self.queues}
        self.received, self.acked, self.faults = set(), set(), []

    def run(self):
        try:
            sequence = 0
            while not self.stopping.wait(self.pause_s):
                sequence += 1
                for queue in self.queues:
                    self.send(queue, sequence)
                    if sequence % 2 == 0:
                        self.take(queue, 1)
        except AssertionError as error:
            self.faults.append(str(error))

    def count(self):
        return sum(len(numbers) for numbers in self.confirmed.values())

    def wait_for_more(self, messages):
        """Until so many more are confirmed, so that what was done is seen by some."""
        wanted = self.count() + messages
        harness.wait_until(lambda: self.count() >= wanted or self.faults, PATIENCE_S, what="more confirmed messages")

    def finish(self):
        """Ends the load and takes out what is left. What was wrong: texts, none when all is well."""
        self.stopping.set()
        self.join(PATIENCE_S)
        if self.is_alive():
            return ["the load does not end"]
        for queue in self.queues:
            harness.wait_until(lambda: self.is_empty(queue), PATIENCE_S, what=f"the end of {queue}")
            lost = {(queue, number) for number in self.confirmed[queue]} - self.received
            if lost:
                self.faults.append(f"{len(lost)} confirmed messages of {queue} are lost: {sorted(lost)[:5]}")
        for client in self.clients:
            client.close()
        return self.faults

    def is_empty(self, queue):
        while self.take(queue, 100):
            pass
        info = self.ask("queue.describe", queue=queue)[1]
        return (info["ready"], info["leased"], info["delayed"]) == (0, 0, 0)

    def send(self, queue, number):
        self.ask("send", [b"%d" % number], queue=queue, producer=f"of {queue}", sequence=number)
        self.confirmed[queue].append(number)

    def take(self, queue, most):
        """Receives and acks; how many came."""
        messages = self.ask("receive", queue=queue, max=most, lease_ms=LEASE_MS)[1]
        for message in messages:
            key = (queue, int(message["body"]))
            if key in self.acked:
                self.faults.append(f"{key} came again after its ack")
            self.received.add(key)
        if messages:
            results = self.ask("ack", [message["receipt"] for message in messages], queue=queue)[1]
            self.acked.update((queue, int(message["body"])) for message, result in zip(messages, results)
                              if result == "ok")
        return len(messages)

    def ask(self, op, payload=None, **header):
        """Header and payload of a success, which is asked for until it comes."""
        end = time.monotonic() + PATIENCE_S
        answer = None
        while time.monotonic() < end:
            client = self.clients[self.turn % len(self.clients)]
            answer, result = self.answer_to(client, client.post(op, payload, **header))
            if answer is None:
                self.turn += 1
            elif answer["code"] == "ok":
                return answer, result
            elif not answer["retry"]:
                break
            else:
                select.select([], [], [], 0.05)  # as a client that keeps to the protocol
        raise AssertionError(f"{op} of {header.get('queue')} has no success within {PATIENCE_S} s: {answer}")

    @staticmethod
    def answer_to(client, wanted):
        """The reply to this request, past late ones to others; (None, None) without one."""
        end = time.monotonic() + REPEAT_S
        while (left := end - time.monotonic()) > 0:
            frames = client.frames(left)
            if frames is None:
                break
            answer = harness.msgpack.unpackb(frames[0])
            if answer["id"] == wanted:
                return answer, harness.msgpack.unpackb(frames[1]) if len(frames) > 1 and frames[1] else None
        return None, None
