# docs/operations.md, "A cluster of three machines": each procedure in its steps, with a small load all the while.
import os
import shutil
import subprocess
import unittest

from background import Load
from programs import BIN
from test_operators import PATIENCE_S, Case

from harness import wait_until

MORE = 40  # messages that are confirmed between two steps


class Guide(Case):
    WORKERS = 3
    ROUTERS = 2

    def setUp(self):
        super().setUp()
        self.load = Load(self.cluster.routers)
        self.load.start()
        self.load.wait_for_more(MORE)

    def check_load(self):
        """Every confirmed message came, and none came again after its ack."""
        self.assertEqual(self.load.finish(), [])
        print(f"{self.load.count()} messages were confirmed and received")

    def wait_for_health(self):
        status = super().wait_for_health()
        if hasattr(self, "load"):
            self.load.wait_for_more(MORE)
        return status

    def restart(self, name):
        """The steps of the guide's upgrade for one worker."""
        self.assertEqual(self.workers[name].stop(), 0)
        self.wait_for_fault(f"'{name}'")
        self.workers[name].start()
        self.wait_for_health()

    def copy_of(self, program, name):
        """A backup: the data directory as it is while its program is stopped for a moment."""
        backup = self.cluster.path(f"backup of {name}")
        self.assertEqual(program.stop(), 0)
        shutil.copytree(self.cluster.path(name), backup)
        program.start()
        self.wait_for_health()
        return backup

    def run_copy(self, *words):
        done = subprocess.run([os.path.join(BIN, "dmq"), *words], capture_output=True, text=True, timeout=PATIENCE_S)
        self.assertEqual(done.returncode, 0, done.stderr)

    def put_back(self, backup, name):
        shutil.rmtree(self.cluster.path(name))
        shutil.copytree(backup, self.cluster.path(name))


class ThreeMachines(Guide):
    def test_one_is_lost_and_replaced(self):
        self.workers["worker-1"].kill()
        self.wait_for_fault("'worker-1'")
        self.assertEqual(self.member("worker-1")["state"], "dead")
        self.load.wait_for_more(MORE)
        self.workers["worker-1"] = self.cluster.new_worker("worker-1", store="a-new-disk").start()
        self.wait_for_health()
        self.assertEqual(self.member("worker-1")["state"], "alive")
        self.check_load()

    def test_they_grow_and_shrink_and_forget_who_is_gone(self):
        self.workers["worker-3"] = self.cluster.new_worker("worker-3").start()
        wait_until(lambda: any(row["name"] == "worker-3" and row["holds"] for row in self.dmq("members")), PATIENCE_S,
                   what="a share of the new worker")
        self.wait_for_no_moves()
        self.wait_for_health()
        self.dmq("drain", "worker-0", "--wait")
        self.assertIn("'worker-0' is alive", self.dmq("forget", "worker-0", code=1))
        self.assertEqual(self.workers.pop("worker-0").stop(), 0)
        self.wait_for_health()
        wait_until(lambda: self.member("worker-0")["state"].startswith("dead"), PATIENCE_S, what="metad's notice")
        self.assertEqual(self.dmq("forget", "worker-0"), [{"name": "worker-0", "forgotten": True}])
        self.assertEqual([row["name"] for row in self.dmq("members")], ["worker-1", "worker-2", "worker-3"])
        self.assertEqual(self.cluster.metad.stop(), 0)  # what is forgotten stays so
        self.cluster.metad.start()
        self.wait_for_health()
        self.assertEqual([row["name"] for row in self.dmq("members")], ["worker-1", "worker-2", "worker-3"])
        self.check_load()

    def test_all_programs_are_upgraded_one_after_the_other(self):
        for name in self.workers:
            self.restart(name)
        for program in (*self.cluster.routers, self.cluster.metad):
            self.assertEqual(program.stop(), 0)
            self.load.wait_for_more(MORE)
            program.start()
            self.wait_for_health()
        self.check_load()


class Backups(Guide):
    def test_metad_is_restored_with_a_raised_generation(self):
        backup = self.copy_of(self.cluster.metad, "metad")
        before = self.status()[1]["generation"]
        self.restart("worker-2")  # sessions and epochs that the backup does not know
        self.client.ask("queue.create", queue="made since")
        self.cluster.metad.kill()
        self.put_back(backup, "metad")
        self.refuse_the_old_catalog()
        said = subprocess.run([os.path.join(BIN, "dmq-metad"), "--data", self.cluster.path("metad"),
                               "--raise-generation"], capture_output=True, text=True, timeout=PATIENCE_S)
        self.assertEqual(said.returncode, 0, said.stderr)
        self.cluster.metad.start()
        wait_until(lambda: self.run_dmq("status").returncode in (0, 1), PATIENCE_S, what="metad")
        self.wait_for_health()
        self.assertEqual(self.status()[1]["generation"], before + 1)
        self.assertIn(str(before + 1), said.stdout + said.stderr)
        self.assertNotIn("made since", [row["name"] for row in self.client.ask("queue.list")])
        self.restart("worker-0")  # all goes on as ever
        self.check_load()

    def refuse_the_old_catalog(self):
        """Without the raised generation members keep the catalog that they know."""
        self.cluster.metad.start()
        wait_until(lambda: all("does not follow the known one" in worker.output() for worker in self.workers.values()),
                   PATIENCE_S, what="workers that refuse the old catalog")
        self.assertEqual(self.cluster.metad.stop(), 0)

    def test_a_worker_is_restored_from_an_old_copy_of_its_data(self):
        worker = self.workers["worker-1"]
        backup = self.cluster.path("backup of worker-1")
        self.run_copy("backup", self.cluster.path("worker-1"), backup)  # while it is used
        self.load.wait_for_more(5 * MORE)  # what the backup has is acked since, and other messages are there
        worker.kill()
        shutil.rmtree(self.cluster.path("worker-1"))
        self.run_copy("restore", backup, self.cluster.path("worker-1"))
        self.wait_for_fault("'worker-1'")
        worker.flags.append("--restored")
        worker.start()
        self.wait_for_health()
        worker.flags.remove("--restored")
        self.restart("worker-1")
        wait_until(lambda: self.member("worker-1")["leads"] > 0, PATIENCE_S, what="a term of the restored worker")
        self.workers["worker-0"].kill()  # now its copies count
        self.load.wait_for_more(MORE)
        self.workers["worker-0"].start()
        self.wait_for_health()
        self.check_load()


if __name__ == "__main__":
    unittest.main()
