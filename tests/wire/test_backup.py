# dmq backup of a broker that is busy, and what a broker has that starts on it.
import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from harness import PATIENCE_S, Broker, Client, wait_until

BIN = os.path.dirname(os.environ.get("DMQ_BIN", ""))
DMQ = os.path.join(BIN, "dmq")
QUEUES = [f"queue-{number}" for number in range(6)]  # in partitions of several workers
WORKERS = 3


class BackupTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="dmq-backup-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.data, self.copy, self.restored = (self.path(name) for name in ("data", "copy", "restored"))

    def path(self, name):
        return os.path.join(self.folder, name)

    def start(self, data, *flags):
        broker = Broker("--data", data, "--admin", "", *(flags or ("--workers", str(WORKERS)))).__enter__()
        self.addCleanup(broker.stop)
        return broker

    def connect(self, broker):
        client = Client(broker.endpoint)
        self.addCleanup(client.close)
        return client

    def dmq(self, *words, code=0):
        """Runs dmq; what it said on both of its outputs."""
        done = subprocess.run([DMQ, *words], capture_output=True, timeout=60, check=False)
        self.assertEqual(done.returncode, code, done.stderr)
        return (done.stdout + done.stderr).decode()

    def refused(self, *words, code=1):
        said = self.dmq(*words, code=code)
        self.assertEqual([name for name in os.listdir(self.folder) if name.endswith(".partial")], [], said)
        return said


class Traffic:
    """Sends and acks one message after the other, and knows what was confirmed."""

    def __init__(self, client):
        self.client = client
        self.sent, self.confirmed, self.acked = set(), set(), set()
        self.receipts = []

    def send(self, queue, size=100):
        body = b"%s %d " % (queue.encode(), len(self.sent)) + b"x" * size
        self.sent.add(body)
        result, = self.client.ask("send", [body], queue=queue)
        assert isinstance(result, str), result
        self.confirmed.add(body)

    def receive(self, queue, count):
        messages = self.client.ask("receive", queue=queue, max=count)
        self.receipts += [(queue, message["receipt"]) for message in messages]
        return messages

    def ack(self, queue, count):
        for message in self.receive(queue, count):
            if self.client.ask("ack", [message["receipt"]], queue=queue) == ["ok"]:
                self.acked.add(message["body"])

    def round(self):
        for number, queue in enumerate(QUEUES):
            self.send(queue, 100 if number else 50_000)
        self.ack(QUEUES[len(self.sent) % len(QUEUES)], 2)


def drain(client, queues=tuple(QUEUES)):
    """All bodies of these queues, acked."""
    bodies = []
    for queue in queues:
        while messages := client.ask("receive", queue=queue, max=100, wait_ms=100):
            bodies += [message["body"] for message in messages]
            client.ask("ack", [message["receipt"] for message in messages], queue=queue)
    return bodies


class Busy(BackupTest):
    def test_a_backup_under_load_has_all_that_was_confirmed_before(self):
        broker = self.start(self.data)
        traffic = Traffic(self.connect(broker))
        for number in range(100):
            traffic.round()
            traffic.client.ask("send", [bytes(100_000)] * 10, queue=f"bulk-{number % 10}")  # so that it takes a while
        held = traffic.receive(QUEUES[0], 5)  # leased, and not acked
        confirmed, acked = set(traffic.confirmed), set(traffic.acked)
        backup = subprocess.Popen([DMQ, "backup", self.data, self.copy], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        rounds = 0
        while backup.poll() is None:
            traffic.round()
            rounds += 1
        said, words = backup.communicate()
        self.assertGreater(rounds, 1)
        self.assertEqual((backup.returncode, words), (0, b""))
        self.assertIn(b"the broker's data is in " + self.copy.encode(), said)
        files = [os.path.join(where, name) for where, _, names in os.walk(self.copy) for name in names]
        self.assertEqual(sorted(os.path.relpath(file, self.copy) for file in files),
                         ["BACKUP", "metad/data.mdb"] + [f"storage-{i}/data.mdb" for i in range(WORKERS)])

        self.assertIn("start it with: dmq-broker --data", self.dmq("restore", self.copy, self.restored))
        client = self.connect(self.start(self.restored))
        got = drain(client)
        self.assertEqual(len(got), len(set(got)), "a message came twice")
        self.assertEqual(set(got) - traffic.sent, set(), "a message that nobody sent")
        self.assertEqual(acked & set(got), set(), "a message that was acked before")
        self.assertEqual(confirmed - traffic.acked - set(got), set(), "a message that was confirmed before is missing")
        self.assertLessEqual({message["body"] for message in held} - traffic.acked, set(got))
        traffic.round()  # the first broker goes on
        self.assertGreater(len(drain(traffic.client)), 0)

    def test_many_backups_one_after_the_other(self):
        """Each has all that was confirmed before it; the moment is another one each time."""
        traffic = Traffic(self.connect(self.start(self.data)))
        for number in range(5):
            traffic.round()
            confirmed, acked = set(traffic.confirmed), set(traffic.acked)
            copy, restored = self.path(f"copy-{number}"), self.path(f"restored-{number}")
            backup = subprocess.Popen([DMQ, "backup", "-q", self.data, copy], stdout=subprocess.DEVNULL)
            while backup.poll() is None:
                traffic.round()
            self.assertEqual(backup.returncode, 0)
            self.dmq("restore", copy, restored)
            broker = self.start(restored)
            with Client(broker.endpoint) as client:
                got = set(drain(client))
            broker.stop()
            self.assertEqual(confirmed - traffic.acked - got, set())
            self.assertEqual(acked & got, set())

    def queue_elsewhere(self, client, queue):
        """Creates it and another one, which another worker serves; the name of that."""
        for name in [queue] + [f"dead-{number}" for number in range(50)]:
            client.ask("queue.create", queue=name)
            worker = wait_until(lambda: client.request("queue.describe", queue=name)[1], what="the queue")["worker"]
            if name == queue:
                first = worker
            elif worker != first:
                return name
        raise AssertionError("one worker serves all queues")

    def test_a_message_that_moves_to_another_worker_meanwhile_is_in_it_once(self):
        client = self.connect(self.start(self.data))
        dead = self.queue_elsewhere(client, "work")
        client.ask("queue.update", {"max_deliveries": 1, "dead_letter": dead}, queue="work")
        bodies = [b"%d" % number for number in range(3000)]
        for first in range(0, len(bodies), 1000):
            client.ask("send", bodies[first:first + 1000], queue="work")
        backup = subprocess.Popen([DMQ, "backup", self.data, self.copy], stdout=subprocess.DEVNULL)
        while messages := client.ask("receive", queue="work", max=20):
            client.ask("nack", [message["receipt"] for message in messages], queue="work")
        self.assertEqual(backup.wait(), 0)
        self.dmq("restore", self.copy, self.restored)
        client = self.connect(self.start(self.restored))
        wait_until(lambda: client.ask("queue.describe", queue="work")["dead"] == 0, what="the move of the dead")
        got = [body for queue in ("work", dead) for body in drain(client, [queue])]
        self.assertEqual(sorted(got), sorted(bodies))

    def test_what_was_given_after_the_backup_is_not_given_again(self):
        broker = self.start(self.data)
        client = self.connect(broker)
        client.ask("send", [b"1", b"2", b"3"], queue="q")
        old, = client.ask("receive", queue="q", lease_ms=60_000)
        self.dmq("backup", self.data, self.copy)
        broker.stop()
        later, = (later_client := self.connect(self.start(self.data))).ask("receive", queue="q", lease_ms=60_000)
        later_client.ask("queue.create", queue="made since")
        self.dmq("restore", self.copy, self.restored)
        client = self.connect(self.start(self.restored))
        messages = client.ask("receive", queue="q", max=10)
        self.assertEqual([message["body"] for message in messages], [b"1", b"2", b"3"])
        for receipt in (old["receipt"], later["receipt"]):
            self.assertNotIn(receipt, [message["receipt"] for message in messages])
            self.assertEqual(client.ask("ack", [receipt], queue="q")[0]["code"], "stale_receipt")
        self.assertEqual([queue["name"] for queue in client.ask("queue.list")], ["q"])

    def test_settings_delays_dedup_ids_and_dead_messages_are_in_it(self):
        client = self.connect(self.start(self.data))
        client.ask("queue.create", {"lease_ms": 7000, "max_deliveries": 1}, queue="q")
        later = int(time.time() * 1000) + 3_600_000
        wait_until(lambda: client.code("queue.describe", queue="q") == "ok", what="the queue")
        client.ask("send", [b"dead", {"body": b"later", "deliver_at": later}, {"body": b"once", "dedup_id": "d"}], queue="q")
        message, = client.ask("receive", queue="q")
        client.ask("nack", [message["receipt"]], queue="q")
        self.dmq("backup", self.data, self.copy)
        self.dmq("restore", self.copy, self.restored)
        client = self.connect(self.start(self.restored))
        settings = client.ask("queue.describe", queue="q")
        self.assertEqual({key: settings[key] for key in ("lease_ms", "ready", "delayed", "dead")},
                         {"lease_ms": 7000, "ready": 1, "delayed": 1, "dead": 1})
        self.assertEqual(client.ask("send", [{"body": b"again", "dedup_id": "d"}], queue="q"),
                         [{"code": "ok", "duplicate": True}])

    def test_a_killed_backup_does_no_harm(self):
        broker = self.start(self.data, "--workers", "1")
        client = self.connect(broker)
        for _ in range(50):
            client.ask("send", [b"x" * 100_000] * 10, queue="q")
        copying = subprocess.Popen([os.environ["DMQ_BIN"], "--data", self.data, "--backup-to", self.copy])
        wait_until(lambda: os.path.exists(self.copy + ".partial/storage-0/data.mdb") or copying.poll() is not None,
                   what="a copy under way")
        copying.kill()
        copying.wait()
        self.check_pages_are_used_again(client)
        if not os.path.exists(self.copy):
            self.dmq("backup", self.data, self.copy)
        self.assertFalse(os.path.exists(self.copy + ".partial"))
        self.assertTrue(os.path.exists(os.path.join(self.copy, "BACKUP")))

    def check_pages_are_used_again(self, client):
        """What the killed process saw is not kept for it: the store does not grow by all that goes through."""
        file = os.path.join(self.data, "storage-0", "data.mdb")
        before = os.stat(file).st_size
        for _ in range(400):
            client.ask("send", [b"y" * 100_000] * 4, queue="r")
            receipts = [message["receipt"] for message in client.ask("receive", queue="r", max=4)]
            client.ask("ack", receipts, queue="r")
        self.assertLess(os.stat(file).st_size, before + 400 * 400_000 // 2)


class Parts(BackupTest):
    def test_a_broker_at_rest_its_catalog_and_a_worker(self):
        broker = self.start(self.data)
        self.connect(broker).ask("send", [b"x"], queue="q")
        broker.stop()
        self.dmq("backup", self.data, self.copy)
        for part, kind, start in (("metad", "metad", "dmq-metad --data"), ("storage-0", "worker", "--restored")):
            said = self.dmq("backup", os.path.join(self.data, part), self.path("copy-" + part))
            self.assertIn(f"the {kind}'s data is in", said)
            self.assertIn(start, self.dmq("restore", self.path("copy-" + part), self.path("again-" + part)))
            self.assertTrue(os.path.exists(os.path.join(self.path("again-" + part), "data.mdb")))

    def test_a_backup_is_no_data_directory(self):
        self.start(self.data).stop()
        self.dmq("backup", self.data, self.copy)
        done = subprocess.run([os.environ["DMQ_BIN"], "--data", self.copy, "--listen", "tcp://127.0.0.1:*", "--admin", ""],
                              capture_output=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"is a backup; make a data directory of it with: dmq restore", done.stderr)
        self.assertIn("is a backup; copy it as it is", self.refused("backup", self.copy, self.path("copy-2")))


class Errors(BackupTest):
    def setUp(self):
        super().setUp()
        self.start(self.data).stop()

    def test_what_cannot_be_copied(self):
        self.assertIn("No such file or directory", self.refused("backup", self.path("nowhere"), self.copy))
        self.assertIn("is no data directory", self.refused("backup", self.folder, self.copy))
        self.refused("backup", self.data, code=2)
        self.assertIn("is no backup", self.refused("restore", self.data, self.restored))
        with open(os.path.join(self.data, "storage-1", "data.mdb"), "wb") as file:
            file.write(b"nonsense" * 10_000)
        self.assertIn("cannot open the store", self.refused("backup", self.data, self.copy))
        self.assertFalse(os.path.exists(self.copy))

    def test_where_nothing_can_be_put(self):
        os.mkdir(self.copy)
        self.dmq("backup", self.data, self.copy)  # an empty directory will do
        self.assertIn("is there already, and no empty directory", self.refused("backup", self.data, self.copy))
        self.assertIn("No such file or directory", self.refused("backup", self.data, self.path("nowhere/copy")))
        self.assertIn("is there already", self.refused("restore", self.copy, self.data))

    @unittest.skipIf(os.geteuid() == 0, "root may write everywhere")
    def test_where_nothing_may_be_put(self):
        os.mkdir(self.copy, 0o500)
        self.assertIn("Permission denied", self.refused("backup", self.data, os.path.join(self.copy, "copy")))

    def test_two_backups_to_the_same_place(self):
        os.mkdir(self.copy + ".partial")
        other = os.open(self.copy + ".partial", os.O_RDONLY)
        self.addCleanup(os.close, other)
        fcntl.flock(other, fcntl.LOCK_EX)
        self.assertIn("is being written by another process", self.dmq("backup", self.data, self.copy, code=1))
        fcntl.flock(other, fcntl.LOCK_UN)
        self.dmq("backup", self.data, self.copy)

    def test_ctrl_c_ends_it_and_leaves_nothing(self):
        programs = self.path("programs")
        os.mkdir(programs)
        shutil.copy(DMQ, programs)
        with open(os.path.join(programs, "dmq-broker"), "w") as script:
            script.write('#!/bin/sh\nmkdir "$4.partial" && touch "$4.partial/data.mdb" && exec sleep 60\n')
        os.chmod(script.name, 0o755)
        backup = subprocess.Popen([os.path.join(programs, "dmq"), "backup", self.data, self.copy],
                                  stderr=subprocess.PIPE)
        wait_until(lambda: os.path.exists(self.copy + ".partial/data.mdb"), what="a backup under way")
        backup.send_signal(signal.SIGINT)
        _, words = backup.communicate(timeout=PATIENCE_S)
        self.assertEqual(backup.returncode, 1)
        self.assertIn(b"interrupted; nothing is left of", words)
        self.assertFalse(os.path.exists(self.copy + ".partial"))


if __name__ == "__main__":
    unittest.main()
