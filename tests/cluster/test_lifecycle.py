# How the programs start, end and refuse to start; what clients see while a part of a cluster is away.
import os
import signal
import subprocess
import tempfile
import time
import unittest
import unittest.mock

from programs import BIN, Cluster, Program

from harness import Client, wait_until

PROGRAMS = ("dmq-broker", "dmq-metad", "dmq-router", "dmq-storage")


def run(name, *flags, seconds=30):
    """Runs a program to its end: (exit code, lines on standard output, lines on standard error)."""
    done = subprocess.run([os.path.join(BIN, name), *flags], capture_output=True, text=True, timeout=seconds)
    return done.returncode, done.stdout.splitlines(), done.stderr.splitlines()


class Case(unittest.TestCase):
    def folder(self):
        folder = tempfile.TemporaryDirectory(prefix="dmq-lifecycle-")
        self.addCleanup(folder.cleanup)
        return folder.name

    def program(self, *arguments):
        program = Program(*arguments)
        self.addCleanup(program.close)
        return program.start()

    def client(self, endpoint):
        client = Client(endpoint)
        self.addCleanup(client.close)
        return client


class Ends(Case):
    def test_sigterm_ends_the_broker_at_once_with_its_messages_kept(self):
        broker = self.program("dmq-broker", "--data", self.folder(), "--admin", "")
        client = self.client(broker.endpoint)
        client.ask("send", [b"a", b"b"], queue="q")
        begin = time.monotonic()
        self.assertEqual(broker.stop(), 0)
        self.assertLess(time.monotonic() - begin, 3)
        broker.start()
        bodies = [message["body"] for message in self.client(broker.endpoint).ask("receive", queue="q", max=10)]
        self.assertEqual(bodies, [b"a", b"b"])

    def test_receives_that_wait_are_answered_before_the_end(self):
        broker = self.program("dmq-broker", "--data", self.folder(), "--admin", "")
        clients = [self.client(broker.endpoint) for _ in range(4)]
        for client in clients:
            for _ in range(500):
                client.post("receive", queue="q", wait_ms=60_000)
        looking = self.client(broker.endpoint)
        looking.ask("queue.create", queue="q")
        wait_until(lambda: looking.ask("queue.describe", queue="q")["waiting"] == 2000, what="2000 receives")
        self.assertEqual(broker.stop(), 0)
        for client in clients:
            for _ in range(500):
                self.assertEqual(client.reply()[1], [])

    def test_sigterm_ends_every_daemon_at_once(self):
        with Cluster() as cluster:
            self.client(cluster.routers[0].endpoint).ask("send", [b"a"], queue="q")
            for program in cluster.routers + cluster.workers + [cluster.metad]:
                begin = time.monotonic()
                self.assertEqual(program.stop(), 0, program.flags)
                self.assertLess(time.monotonic() - begin, 3, program.flags)

    def test_daemons_end_and_start_without_metad(self):
        for name in ("dmq-router", "dmq-storage"):
            data = ["--data", self.folder()] if name == "dmq-storage" else []
            program = self.program(name, "--metad", "tcp://127.0.0.1:9", *data)
            self.assertEqual(program.stop(), 0, name)


class TemporaryStores(Case):
    def test_the_store_of_a_killed_broker_is_removed_by_the_next_one(self):
        folder = self.folder()
        environment = unittest.mock.patch.dict(os.environ, TMPDIR=folder)
        environment.start()
        self.addCleanup(environment.stop)
        brokers = [self.program("dmq-broker", "--ephemeral") for _ in range(2)]
        self.assertEqual(len(os.listdir(folder)), 2)
        self.client(brokers[0].endpoint).ask("send", [b"a"], queue="q")
        brokers[1].kill()
        self.assertEqual(len(os.listdir(folder)), 2)
        third = self.program("dmq-broker", "--ephemeral")
        self.assertIn("left behind: 1 temporary store", third.output())
        self.assertEqual(len(os.listdir(folder)), 2)
        self.assertEqual(self.client(brokers[0].endpoint).ask("receive", queue="q")[0]["body"], b"a")
        for broker in (brokers[0], third):
            self.assertEqual(broker.stop(), 0)
        self.assertEqual(os.listdir(folder), [])


class RefusesToStart(Case):
    def one_line(self, *arguments):
        """The one line that a program gives which ends with code 1."""
        code, said, complaints = run(*arguments)
        self.assertEqual((code, said), (1, []), complaints)
        lines = [line for line in complaints if line.startswith(arguments[0] + ": ")]
        self.assertEqual(len(lines), 1, complaints)
        return lines[0]

    def test_a_second_program_on_a_data_directory_is_told_so(self):
        for name in ("dmq-broker", "dmq-metad", "dmq-storage"):
            folder = self.folder()
            flags = ["--data", folder, "--listen", "tcp://127.0.0.1:*"] + ["--admin", ""] * (name == "dmq-broker")
            first = self.program(name, *flags)
            self.assertIn("in use by another process", self.one_line(name, *flags))
            self.assertEqual(first.stop(), 0)

    def test_a_port_that_is_taken_is_named(self):
        taken = self.program("dmq-router", "--metad", "tcp://127.0.0.1:9").endpoint
        for name in PROGRAMS:
            data = [] if name == "dmq-router" else ["--data", self.folder()]
            line = self.one_line(name, "--listen", taken, *data)
            self.assertIn(taken, line)
            self.assertIn("in use", line)

    def test_a_data_directory_that_cannot_be_made_is_named(self):
        for name in ("dmq-broker", "dmq-metad", "dmq-storage"):
            flags = ["--data", "/proc/nothing", "--listen", "tcp://127.0.0.1:*"]
            flags += ["--admin", ""] * (name == "dmq-broker")
            self.assertIn("/proc/nothing", self.one_line(name, *flags))

    def test_wrong_flags_are_usage_errors(self):
        for name in PROGRAMS:
            for flags in (["--no-such-flag"], ["--log-level", "loud"]):
                self.assertEqual(run(name, *flags)[0], 2, (name, flags))


class Configuration(Case):
    def config(self, text):
        path = os.path.join(self.folder(), "dmq.toml")
        with open(path, "w") as file:
            file.write(text)
        return path

    def test_a_good_file_is_ok_and_nothing_is_started(self):
        folder = self.folder()
        for name in PROGRAMS:
            data = "" if name == "dmq-router" else f'data = "{folder}/store"\n'
            path = self.config('listen = "tcp://127.0.0.1:*"\nlog-level = "warn"\n' + data)
            self.assertEqual(run(name, "--config", path, "--check-config"), (0, ["ok"], []), name)
        self.assertEqual(os.listdir(folder), [])

    def test_a_wrong_key_and_a_wrong_value_are_told(self):
        for name in PROGRAMS:
            for text, word in (('lissten = "tcp://127.0.0.1:1"\n', "lissten"), ('log-level = "loud"\n', "loud")):
                code, said, complaints = run(name, "--config", self.config(text), "--check-config")
                self.assertEqual((code, said), (2, []), (name, text))
                self.assertIn(word, "\n".join(complaints), name)

    def refused(self, name, *flags):
        """What is said of flags that are wrong, the same by --check-config and at a start."""
        checked = run(name, *flags, "--check-config")
        self.assertEqual(checked, run(name, *flags))
        self.assertEqual((checked[0], checked[1], len(checked[2])), (2, [], 1), (name, flags, checked))
        self.assertTrue(checked[2][0].startswith(f"{name}: "), checked[2])
        return checked[2][0]

    def test_endpoints_are_checked_before_the_start(self):
        for name in PROGRAMS:
            for wrong in ("foo", "", "7310", "http://127.0.0.1:1", "tcp://127.0.0.1:x"):
                line = self.refused(name, "--listen", wrong)
                self.assertIn("--listen", line)
                self.assertIn("write tcp://HOST:PORT", line)
        for name in ("dmq-router", "dmq-storage"):
            self.assertIn("--metad", self.refused(name, "--metad", "tcp://10.0.0.1:*"))
        self.assertIn("--feed", self.refused("dmq-metad", "--feed", "foo"))

    def test_the_administrators_endpoint_is_on_this_machine(self):
        for name in ("dmq-broker", "dmq-router"):
            for wrong in ("tcp://0.0.0.0:1", "tcp://*:*", "192.0.2.1:7311", "localhost.example.org:7311"):
                line = self.refused(name, "--admin", wrong)
                self.assertIn("may delete queues; write tcp://127.0.0.1:PORT or ipc://PATH", line)
            for good in ("tcp://127.0.0.1:7311", "localhost:7311", "ipc:///tmp/x", ""):
                self.assertEqual(run(name, "--admin", good, "--check-config"), (0, ["ok"], []))

    def test_who_listens_everywhere_says_how_it_is_reached(self):
        for name, host in (("dmq-metad", "here"), ("dmq-storage", "tcp://here:7320")):
            self.assertIn("--advertise", self.refused(name, "--listen", "tcp://0.0.0.0:7320"))
            self.assertIn("--advertise", self.refused(name, "--advertise", "tcp://he re"))
            self.assertEqual(run(name, "--listen", "*:7320", "--advertise", host, "--check-config"), (0, ["ok"], []))

    def test_an_empty_data_directory_is_refused(self):
        for name in ("dmq-broker", "dmq-metad", "dmq-storage"):
            self.assertIn("--data is empty; name a directory", self.refused(name, "--data", ""))

    def test_a_file_that_is_not_there_is_told(self):
        for name in PROGRAMS:
            code, _, complaints = run(name, "--config", "/no/such/file.toml", "--check-config")
            self.assertEqual(code, 2, name)
            self.assertIn("/no/such/file.toml", "\n".join(complaints), name)


class Signals(Case):
    def daemons(self, *flags):
        """Each daemon in turn, started with these flags."""
        for name in PROGRAMS:
            own = {"dmq-broker": ["--ephemeral"], "dmq-router": ["--metad", "tcp://127.0.0.1:9"]}
            yield self.program(name, *own.get(name, ["--data", self.folder()]), *flags)

    def hang_up(self, program, answer):
        """SIGHUP, and waits for what is said to it."""
        before = program.output().count(answer)
        program.process.send_signal(signal.SIGHUP)
        wait_until(lambda: program.output().count(answer) > before, what=f"'{answer}' of {program.flags[0]}")

    def test_sighup_reads_the_log_level_again(self):
        path = os.path.join(self.folder(), "dmq.toml")
        def write(text):
            with open(path, "w") as file:
                file.write(text)
        write('log-level = "error"\n')
        for program in self.daemons("--config", path):
            write('log-level = "debug"\n')
            self.hang_up(program, "the log level is debug, it was error")
            write('log-level = "loud"\n')
            self.hang_up(program, "the configuration is wrong and all stays as it was")
            write('log-level = "warn"\nlog-format = "json"\n')
            self.hang_up(program, "the log level is warning, it was debug")
            wait_until(lambda: "counts at the next start only: --log-format" in program.output(), what="a warning")
            write("")
            self.hang_up(program, "the log level is info, it was warning")
            write('log-level = "error"\n')
            self.assertEqual(program.stop(), 0)

    def test_sighup_without_a_file_says_that_there_is_nothing_to_reload(self):
        for program in self.daemons():
            self.hang_up(program, "nothing to reload: no file was given with --config")
            self.assertEqual(program.stop(), 0)

    def test_sigusr1_ends_a_program_as_sigterm_does(self):
        for program in self.daemons():
            program.process.send_signal(signal.SIGUSR1)
            self.assertEqual(program.process.wait(15), 0, program.flags)
            self.assertIn("finishing what was taken", program.output())

    def test_help_tells_what_signals_do(self):
        for name in PROGRAMS:
            code, said, _ = run(name, "--help")
            self.assertEqual(code, 0)
            for word in ("SIGTERM", "SIGUSR1", "SIGHUP"):
                self.assertIn(word, "\n".join(said))


class PartsAway(Case):
    def setUp(self):
        self.cluster = Cluster()
        self.addCleanup(self.cluster.__exit__)
        self.clients = [self.client(router.endpoint) for router in self.cluster.routers]

    def place_queues(self):
        """A queue on each worker: worker's name to queue's name."""
        client, places = self.clients[0], {}
        for i in range(64):
            name = f"q-{i}"
            client.ask("queue.create", queue=name)
            wait_until(lambda: client.code("queue.describe", queue=name) == "ok", what="the queue")
            places.setdefault(client.ask("queue.describe", queue=name)["worker"], name)
            if len(places) == len(self.cluster.workers):
                break
        self.assertEqual(len(places), len(self.cluster.workers))
        for each in self.clients:  # both routers have heard of them
            wait_until(lambda: {q["name"] for q in each.ask("queue.list", max=1000)} >= set(places.values()))
        return places

    def pass_one(self, client, queue):
        self.assertIsInstance(client.ask("send", [b"x"], queue=queue)[0], str)
        message = client.ask("receive", queue=queue, wait_ms=5000)[0]
        self.assertEqual(client.ask("ack", [message["receipt"]], queue=queue), ["ok"])

    def test_known_queues_are_served_while_metad_is_away(self):
        queues = self.place_queues().values()
        self.cluster.metad.kill()
        end = time.monotonic() + 2.5  # more than eight heartbeats
        while time.monotonic() < end:
            for client in self.clients:
                for queue in queues:
                    self.pass_one(client, queue)
        answer, _ = self.clients[0].request("send", [b"x"], queue="new")
        self.assertEqual((answer["code"], answer["retry"]), ("unavailable", True))
        self.cluster.metad.start()
        for client in self.clients:
            wait_until(lambda: client.code("send", [b"x"], queue="new") == "ok", what="a new queue")

    def test_a_worker_that_restarts_while_metad_is_away_serves_when_metad_is_back(self):
        places = self.place_queues()
        self.clients[0].ask("send", [b"kept"], queue=places["worker-1"])
        self.cluster.metad.kill()
        self.cluster.workers[1].kill()
        self.cluster.workers[1].start()
        self.cluster.metad.start()
        for client in self.clients:
            wait_until(lambda: client.code("queue.describe", queue=places["worker-1"]) == "ok", what="the worker")
        self.assertEqual(self.clients[1].ask("receive", queue=places["worker-1"])[0]["body"], b"kept")

    def test_only_the_queues_of_a_worker_that_is_away_are_unavailable(self):
        places = self.place_queues()
        away = places.pop("worker-2")
        self.clients[0].ask("send", [b"kept"], queue=away)
        self.cluster.workers[2].kill()
        for client in self.clients:
            answer, _ = client.request("send", [b"x"], queue=away)
            self.assertEqual((answer["code"], answer["retry"]), ("unavailable", True))
            for queue in places.values():
                self.pass_one(client, queue)
        self.cluster.workers[2].start()
        for client in self.clients:
            wait_until(lambda: client.code("queue.describe", queue=away) == "ok", what="the worker")
        self.assertEqual(self.clients[0].ask("receive", queue=away)[0]["body"], b"kept")

    def test_a_queue_of_several_partitions_is_unavailable_without_workers(self):
        client = self.clients[0]
        client.ask("queue.create", {"partitions": 3}, queue="q")
        wait_until(lambda: client.code("queue.describe", queue="q") == "ok", what="the queue")
        for worker in self.cluster.workers:
            worker.stop()
        for options in ({}, {"ack": "on_delivery"}):
            wait_until(lambda: client.code("receive", queue="q", wait_ms=5000, **options) == "unavailable", what=options)
        client.ask("ping")

    def test_a_router_that_restarts_serves_again(self):
        queue = self.place_queues()["worker-0"]
        self.cluster.routers[0].kill()
        self.pass_one(self.clients[1], queue)
        self.cluster.routers[0].start()
        client = self.client(self.cluster.routers[0].endpoint)
        wait_until(lambda: client.code("queue.describe", queue=queue) == "ok", what="the router")
        self.pass_one(client, queue)


if __name__ == "__main__":
    unittest.main()
