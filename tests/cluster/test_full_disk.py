# A broker whose disk or store is full: it refuses what needs room, takes what makes room, keeps what it confirmed.
import os
import subprocess
import sys
import tempfile
import unittest

from programs import BIN, Program

from harness import Client, wait_until

DISK_BYTES = 8 << 20


def mount_small_disk(folder):
    """Puts a file system of 8 MiB on the folder; False where that is not allowed."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "dmq-test", folder]
    return os.geteuid() == 0 and subprocess.run(mount, capture_output=True).returncode == 0


def unmount(folder):
    subprocess.run(["umount", folder], check=True)


def may_mount():
    """Only root may, and not in every container."""
    with tempfile.TemporaryDirectory(prefix="dmq-full-") as folder:
        mounted = mount_small_disk(folder)
        if mounted:
            unmount(folder)
        return mounted


class Promises:
    """What holds for a full store, however it came to be full."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="dmq-full-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.broker = Program("dmq-broker", "--data", os.path.join(self.folder, "data"), "--admin", "", *self.limit())
        self.addCleanup(self.broker.close)
        self.broker.start()
        self.connect()

    def connect(self):
        self.client = Client(self.broker.endpoint)
        self.addCleanup(self.client.close)

    def fill(self, size, at_once):
        """Sends until the broker refuses, then ever smaller, so that no page is left; the confirmed bodies."""
        confirmed, refused = [], 0
        while refused < 3:
            bodies = [b"%08d" % (len(confirmed) + i) + b"x" * size for i in range(at_once)]
            answer, _ = self.client.request("send", bodies, queue="q")
            if answer["code"] == "ok":
                confirmed += bodies
                continue
            self.assertEqual((answer["code"], answer["retry"]), ("insufficient_storage", True))
            refused += 1
            size, at_once = size // 8, 1
            wait_until(lambda: self.client.code("ping") == "ok")
        self.assertGreater(len(confirmed), 0)
        return confirmed

    def drain(self):
        """Receives and acks all; the bodies in order."""
        bodies = []
        while messages := self.client.ask("receive", queue="q", max=50, max_bytes=1 << 20):
            bodies += [message["body"] for message in messages]
            receipts = [message["receipt"] for message in messages]
            self.assertEqual(set(self.client.ask("ack", receipts, queue="q")), {"ok"})
        return bodies

    def check_fills_and_recovers(self, size, at_once):
        for _ in range(3):  # what comes back can be used again, and again
            confirmed = self.fill(size, at_once)
            self.assertEqual(self.drain(), confirmed)
            wait_until(lambda: self.client.code("send", [b"y"], queue="q") == "ok", what="room on the disk")
            self.assertEqual(self.drain(), [b"y"])

    def test_small_messages_fill_the_disk_and_acks_make_room(self):
        self.check_fills_and_recovers(1000, 20)

    def test_large_messages_fill_the_disk_and_acks_make_room(self):
        self.check_fills_and_recovers(300_000, 1)

    def test_single_acks_work_on_a_full_disk(self):
        confirmed = self.fill(1500, 10)
        message = self.client.ask("receive", queue="q")[0]
        self.assertEqual(self.client.ask("ack", [message["receipt"]], queue="q"), ["ok"])
        self.assertEqual(self.drain(), confirmed[1:])

    def test_nothing_confirmed_is_lost_by_a_restart_on_a_full_disk(self):
        confirmed = self.fill(1000, 20)
        self.broker.kill()
        self.broker.start()
        self.connect()
        self.assertEqual(self.drain(), confirmed)


class FullStore(Promises, unittest.TestCase):
    """--store-limit, on a disk with room: everybody can test that."""

    def limit(self):
        return ["--store-limit", "2MiB"]

    def test_what_is_refused_leaves_the_disk_alone(self):
        self.fill(1000, 20)
        data = os.path.join(self.folder, "data", "storage-0", "data.mdb")
        before = os.stat(data).st_size
        for _ in range(200):
            self.assertEqual(self.client.code("send", [bytes(1000)] * 20, queue="q"), "insufficient_storage")
        self.assertEqual(os.stat(data).st_size, before)


class FullDisk(Promises, unittest.TestCase):
    """A disk of 8 MiB, where one can be mounted."""

    def limit(self):
        self.assertTrue(mount_small_disk(self.folder))
        self.addCleanup(unmount, self.folder)
        return []

    def test_a_new_queue_is_refused_when_it_has_no_room_and_the_broker_lives(self):
        confirmed = self.fill(1000, 20)
        refusals = 0
        for i in range(300):
            code = self.client.code("queue.create", queue=f"new-{i}" + "n" * 150)
            self.assertIn(code, ("ok", "insufficient_storage"))
            refusals += code != "ok"
        self.assertGreater(refusals, 0)
        self.assertEqual(self.drain(), confirmed)


class BackupToFullDisk(unittest.TestCase):
    """dmq backup to a disk that has no room for it."""

    def folder(self):
        folder = tempfile.TemporaryDirectory(prefix="dmq-full-")
        self.addCleanup(folder.cleanup)
        return folder.name

    def test_nothing_is_left_of_the_backup_and_the_broker_goes_on(self):
        data, small = self.folder(), self.folder()
        self.assertTrue(mount_small_disk(small))
        self.addCleanup(unmount, small)
        broker = Program("dmq-broker", "--data", data, "--admin", "")
        self.addCleanup(broker.close)
        broker.start()
        with Client(broker.endpoint) as client:
            for _ in range(20):
                client.ask("send", [b"x" * 1000] * 1000, queue="q")
            done = subprocess.run([os.path.join(BIN, "dmq"), "backup", data, os.path.join(small, "copy")],
                                  capture_output=True, timeout=60, check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn(b"No space left on device", done.stderr)
            self.assertEqual(os.listdir(small), [])
            self.assertEqual(client.ask("queue.describe", queue="q")["ready"], 20_000)


def load_tests(loader, _tests, _pattern):
    cases = [FullStore] + [FullDisk, BackupToFullDisk] * may_mount()
    if FullDisk not in cases:
        print("no disk can be mounted here: only --store-limit is tested", file=sys.stderr)
    return unittest.TestSuite(loader.loadTestsFromTestCase(case) for case in cases)


if __name__ == "__main__":
    unittest.main()
