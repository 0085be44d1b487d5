# dmq cluster: what an operator sees and does, on real clusters with replicas. The guide's procedures: test_guide.py.
import json
import os
import signal
import subprocess
import unittest

from programs import BIN, Cluster

from harness import Client, wait_until

QUEUES = [f"queue-{i}" for i in range(24)]
FLAGS = ["--partitions", "16", "--handover-after", "300ms"]
PATIENCE_S = 60


class Case(unittest.TestCase):
    WORKERS = 4
    ROUTERS = 1
    WORKER_FLAGS = ()

    def setUp(self):
        self.cluster = Cluster(routers=self.ROUTERS, workers=self.WORKERS, replicas=3, metad_flags=FLAGS,
                               worker_flags=self.WORKER_FLAGS)
        self.addCleanup(self.cluster.__exit__)
        self.workers = {f"worker-{i}": worker for i, worker in enumerate(self.cluster.workers)}
        self.wait_for_health()
        self.client = Client(self.cluster.routers[0].endpoint)
        self.addCleanup(self.client.close)
        self.sent = {queue: [] for queue in QUEUES}
        self.places = {}  # the partition of each queue, as an argument

    def run_dmq(self, *arguments):
        return subprocess.run([os.path.join(BIN, "dmq"), "cluster", *arguments], capture_output=True, text=True,
                              timeout=PATIENCE_S, env={**os.environ, "DMQ_METAD": self.cluster.metad.endpoint})

    def dmq(self, *arguments, code=0):
        """Runs dmq cluster: the JSON lines that it prints, or with another code the sentence that it says."""
        done = self.run_dmq(*arguments)
        self.assertEqual(done.returncode, code, (arguments, done.stdout, done.stderr))
        return [json.loads(line) for line in done.stdout.splitlines()] if code == 0 else done.stderr

    def status(self):
        """(exit code, what is printed, the sentence)."""
        done = self.run_dmq("status")
        return done.returncode, json.loads(done.stdout), done.stderr

    def wait_for_health(self):
        """What the guide calls: until dmq cluster status; do sleep 1; done."""
        def good():
            self.last = self.status()
            return self.last[0] == 0
        try:
            wait_until(good, PATIENCE_S)
        except AssertionError as error:
            raise AssertionError(f"the cluster is not healthy: {self.last}") from error
        return self.last[1]

    def wait_for_fault(self, *words):
        """Until status ends with 1 and a sentence in which all of `words` are."""
        def bad():
            self.last = self.status()
            return self.last[0] == 1 and all(word in self.last[2] for word in words)
        wait_until(bad, PATIENCE_S, what=f"a sentence with {words}")
        return self.last[1]

    def member(self, name):
        return next(row for row in self.dmq("members") if row["name"] == name)

    def partition(self, number):
        return self.dmq("partitions")[int(number)]

    def wait_for_no_moves(self):
        def done():
            counts = self.status()[1]["partitions"]
            return (counts["moving"], counts["waiting_to_move"]) == (0, 0)
        wait_until(done, PATIENCE_S, what="the end of all moves")

    def send_to_all(self, round_text):
        """One message to each queue; tried again until it is confirmed, and stored once."""
        for queue in QUEUES:
            self.sent[queue].append(f"{queue} {round_text}".encode())
            wait_until(lambda: self.is_confirmed(queue), PATIENCE_S, what=f"a confirmation by {queue}: {round_text}")

    def is_confirmed(self, queue):
        header, results = self.client.request("send", self.sent[queue][-1:], queue=queue, producer="test",
                                              sequence=len(self.sent[queue]))
        if header["code"] == "ok" and isinstance(results[0], str):  # otherwise an earlier try was taken
            self.places[queue] = results[0].split("-")[0]
        return header["code"] == "ok"

    def check_received(self):
        """Everything that was confirmed comes, in order."""
        for queue in QUEUES:
            bodies = []
            def complete():
                header, messages = self.client.request("receive", queue=queue, max=100)
                if header["code"] == "ok" and messages:
                    bodies.extend(message["body"] for message in messages)
                    self.client.request("ack", [message["receipt"] for message in messages], queue=queue)
                return len(bodies) >= len(self.sent[queue])
            wait_until(complete, PATIENCE_S, what=f"the messages of {queue}")
            self.assertEqual(bodies, self.sent[queue])


class Looking(Case):
    def test_status_tells_of_a_killed_worker_and_of_its_return(self):
        before = self.status()[1]
        self.assertEqual((before["replicas"], before["min_in_sync"]), (3, 2))
        self.assertEqual(before["partitions"], {"all": 16, "in_sync": 16, "under_replicated": 0,
                                                "below_min_in_sync": 0, "without_leader": 0, "moving": 0,
                                                "waiting_to_move": 0})
        self.assertEqual(before["workers"], {"alive": 4, "dead": 0, "draining": 0, "fenced": 0})
        self.send_to_all("before")
        self.workers["worker-0"].kill()
        during = self.wait_for_fault("start 'worker-0' again", "fewer complete copies")
        self.assertEqual(during["workers"]["dead"], 1)
        self.assertEqual(during["partitions"]["without_leader"], 0)
        self.assertEqual(self.member("worker-0")["state"], "dead")
        self.send_to_all("during")
        self.workers["worker-0"].start()
        after = self.wait_for_health()
        self.assertEqual(after["workers"]["dead"], 0)
        self.assertEqual((after["cluster"], after["generation"]), (before["cluster"], before["generation"]))
        self.assertGreater(after["version"], before["version"])
        self.check_received()

    def test_members_and_partitions_agree(self):
        self.wait_for_no_moves()
        members, partitions = self.dmq("members"), self.dmq("partitions")
        self.assertEqual([row["name"] for row in members], sorted(self.workers))
        self.assertEqual([row["partition"] for row in partitions], list(range(16)))
        for row in members:
            name = row["name"]
            self.assertEqual((row["state"], row["sync"], row["zone"]), ("alive", "commit", ""))
            self.assertEqual(row["endpoint"], self.workers[name].endpoint)
            self.assertEqual(row["holds"], sum(name in each["replicas"] for each in partitions))
            self.assertEqual(row["in_sync"], sum(name in each["in_sync"] for each in partitions))
        for row in partitions:
            self.assertIn(row["leader"], row["in_sync"])
            self.assertEqual((len(row["replicas"]), row["eligible"], row["target"]), (3, [], []))

    def test_a_majority_that_is_away_is_told_with_names(self):
        self.send_to_all("before")
        away = [self.workers[name] for name in ("worker-1", "worker-2", "worker-3")]
        for worker in away:  # at once, so that none is out of the in-sync set before the next goes
            worker.process.send_signal(signal.SIGKILL)
        for worker in away:
            worker.kill()
        self.wait_for_fault("no leader", "start 'worker-")
        wait_until(lambda: self.status()[1]["partitions"]["in_sync"] == 0, what="the end of all terms")
        counts, sentence = self.status()[1:]
        counts = counts["partitions"]
        self.assertEqual(counts["below_min_in_sync"], 16)
        self.assertNotIn("'worker-0'", sentence)  # who is there is no help
        for worker in away:
            worker.start()
        self.wait_for_health()
        self.check_received()

    def test_errors_have_exit_codes_and_say_what_to_do(self):
        away = ["--metad", "127.0.0.1:1", "--timeout", "300ms"]
        self.assertIn("--metad or DMQ_METAD", self.dmq("status", *away, code=4))
        self.assertIn("write tcp://HOST:PORT", self.dmq("status", "--metad", "here", code=2))
        self.assertIn("1 option from [WORKERS,--anywhere] is required", self.dmq("move", "1", code=2))
        self.assertIn("--replicas,--min-in-sync", self.dmq("set", code=2))
        self.assertIn("not in range 1 to 7", self.dmq("set", "--replicas", "8", code=2))
        self.assertIn("the worker's name is empty", self.dmq("drain", "", code=2))
        for what in ("drain", "fence"):
            said = self.dmq(what, "nobody", code=1)
            self.assertIn("no worker 'nobody'; see who is there with: dmq cluster members", said)
        self.assertIn("keeps 3 replicas", self.dmq("move", "1", "worker-1,worker-2", code=1))
        self.assertIn("no such partition", self.dmq("move", "16", "--anywhere", code=1))
        self.assertIn("not in range 0 to 4095", self.dmq("move", "70000", "--anywhere", code=2))
        self.assertIn("no worker 'nobody'", self.dmq("forget", "nobody", code=1))
        router = self.cluster.routers[0].endpoint
        self.assertIn("does not speak as metad", self.dmq("status", "--metad", router, code=1))
        self.assertIn("give --min-in-sync", self.dmq("set", "--replicas", "1", code=1))
        self.assertIn("Examples:", self.run_dmq("--help").stdout)


class Changing(Case):
    def test_a_drained_worker_holds_nothing_and_no_message_is_lost(self):
        self.send_to_all("before")
        rows = self.dmq("drain", "worker-1", "--wait")
        self.assertEqual(rows[-1], {"name": "worker-1", "leads": 0, "holds": 0})
        self.assertEqual(self.member("worker-1")["state"], "draining")
        self.assertEqual(self.workers["worker-1"].stop(), 0)
        self.send_to_all("after")
        self.assertEqual(self.wait_for_health()["partitions"]["in_sync"], 16)
        self.check_received()
        self.workers["worker-1"].start()
        self.dmq("drain", "worker-1", "--undo")
        wait_until(lambda: self.member("worker-1")["holds"] > 0, PATIENCE_S, what="a replica that comes back")
        self.assertEqual(self.member("worker-1")["state"], "alive")

    def test_a_drain_that_cannot_end_says_why(self):
        self.send_to_all("before")
        self.dmq("drain", "worker-1", "--wait")
        said = self.dmq("drain", "worker-2", "--wait", code=1)
        self.assertIn("kept by 3 workers, and only 2 others can take copies; start another worker", said)
        self.dmq("drain", "worker-2", "--undo")
        self.wait_for_health()
        self.check_received()

    def test_a_move_copies_and_then_leads_where_it_was_told(self):
        self.send_to_all("before")
        self.wait_for_no_moves()
        for number in sorted(set(self.places.values()))[:4]:
            there = self.dmq("move", number, "worker-3,worker-0,worker-1", "--wait")[-1]
            self.assertEqual(there["replicas"], ["worker-3", "worker-0", "worker-1"])
            self.assertEqual((there["in_sync"], there["target"]), (there["replicas"], []))
            wait_until(lambda: self.partition(number)["leader"] == "worker-3", PATIENCE_S, what="the first one's lead")
        self.dmq("move", number, "--anywhere", "--wait")
        self.send_to_all("after")
        self.check_received()

    def test_a_fenced_worker_neither_leads_nor_is_in_sync_until_it_is_undone(self):
        self.send_to_all("before")
        self.assertEqual(self.dmq("fence", "worker-2")[0]["leads"], 0)
        row = self.member("worker-2")
        self.assertEqual((row["state"], row["leads"], row["in_sync"]), ("fenced", 0, 0))
        self.send_to_all("fenced")
        if row["holds"]:
            self.wait_for_fault("take the fence from 'worker-2' away", "--undo")
        self.dmq("fence", "worker-2", "--undo")
        self.wait_for_health()
        self.assertGreater(self.member("worker-2")["in_sync"], 0)
        self.check_received()

    def test_fewer_replicas_are_kept_when_fewer_are_set(self):
        self.send_to_all("before")
        self.assertEqual(self.dmq("set", "--replicas", "2", "--min-in-sync", "1"), [{"replicas": 2, "min_in_sync": 1}])
        wait_until(lambda: all(len(row["replicas"]) == 2 for row in self.dmq("partitions")), PATIENCE_S,
                   what="two replicas of each partition")
        self.wait_for_health()
        self.send_to_all("two")
        self.assertEqual(self.dmq("set", "--replicas", "3", "--min-in-sync", "2"), [{"replicas": 3, "min_in_sync": 2}])
        self.wait_for_health()
        self.assertTrue(all(len(row["replicas"]) == 3 for row in self.dmq("partitions")))
        self.check_received()


class ForcedLeader(Case):
    def test_it_is_refused_with_the_names_of_the_complete_copies_and_done_when_the_loss_is_accepted(self):
        self.send_to_all("early")
        self.wait_for_no_moves()
        lost = self.places[QUEUES[0]]
        self.dmq("move", lost, "worker-0,worker-1,worker-2", "--wait")
        self.workers["worker-2"].kill()
        self.wait_for_fault("'worker-2'")
        self.send_to_all("late")
        for name in ("worker-0", "worker-1"):
            self.workers[name].kill()
        self.wait_for_fault("no leader", "force-leader --help")
        self.workers["worker-2"].start()
        wait_until(lambda: self.member("worker-2")["state"] == "alive", PATIENCE_S, what="worker-2")
        self.check_refused(lost)
        forced = self.dmq("force-leader", lost, "worker-2", "--accept-loss")[0]
        self.assertEqual((forced["leader"], forced["in_sync"], forced["eligible"]), ("worker-2", ["worker-2"], []))
        for name in ("worker-0", "worker-1"):
            self.workers[name].start()
        self.wait_for_health()
        for queue in QUEUES:
            if self.places[queue] == lost:
                self.sent[queue].pop()
        self.send_to_all("again")
        self.check_received()

    def check_refused(self, lost):
        said = self.dmq("force-leader", lost, "worker-2", code=5)
        for words in ("'worker-0'", "'worker-1'", f"dmq cluster force-leader {lost} worker-2 --accept-loss"):
            self.assertIn(words, said)
        self.assertEqual(self.partition(lost)["leader"], "")
        self.assertIn("no replica", self.dmq("force-leader", lost, "worker-3", "--accept-loss", code=1))
        self.assertIn("away or fenced", self.dmq("force-leader", lost, "worker-0", "--accept-loss", code=1))

    def test_a_complete_copy_leads_without_more_words(self):
        self.send_to_all("before")
        number = self.places[QUEUES[0]]
        second = self.partition(number)["replicas"][1]
        self.assertEqual(self.dmq("force-leader", number, second)[0]["leader"], second)
        self.send_to_all("after")
        self.check_received()


if __name__ == "__main__":
    unittest.main()
