# The programs of dmq as child processes of a test: each at an endpoint that stays, with a log that can be read.
import os
import select
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "wire"))
BIN = os.environ.get("DMQ_BIN_DIR") or os.path.join(os.path.dirname(os.path.dirname(HERE)), "build", "bin")

import harness  # of tests/wire

START_S = 20


class Program:
    """One program with its flags. It takes a free port at its first start and the same one at each further start."""

    def __init__(self, name, *flags):
        self.flags = [os.path.join(BIN, name), *flags]
        self.endpoint = self.process = None
        self.log = tempfile.TemporaryFile()

    def start(self):
        """Starts it and waits until it listens."""
        self.process = self.spawn()
        self.endpoint = self._read_endpoint()
        return self

    def spawn(self):
        listen = [] if "--listen" in self.flags else ["--listen", self.endpoint or "tcp://127.0.0.1:*"]
        return subprocess.Popen([*self.flags, *listen], stdout=subprocess.PIPE, stderr=self.log)

    def _read_endpoint(self):
        line, end = b"", time.monotonic() + START_S
        while not line.endswith(b"\n"):
            readable, _, _ = select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))
            byte = os.read(self.process.stdout.fileno(), 1) if readable else b""
            if not byte:
                raise AssertionError(f"{self.flags} did not start: {self.output()}")
            line += byte
        return line.decode().split()[1]

    def output(self):
        """What it has logged up to now, over all starts."""
        log = self.log.fileno()  # it writes at the same offset, so that a seek would be one of its too
        return os.pread(log, os.fstat(log).st_size, 0).decode(errors="replace")

    def kill(self):
        """Ends it as a crash would."""
        self._end(signal.SIGKILL)

    def stop(self, seconds=15):
        """Ends it as an operator would; its exit code."""
        return self._end(signal.SIGTERM, seconds)

    def _end(self, how, seconds=15):
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"{self.flags[0]} did not end within {seconds} s: {self.output()}")
        finally:
            self.process.stdout.close()

    def close(self):
        """For the end of a test: whatever state it is in, it is gone afterwards."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.process is not None:
            self.process.stdout.close()
        self.log.close()


class Cluster:
    """One metad, some routers and some workers in a temporary directory. Members know metad's endpoint alone."""

    def __init__(self, routers=2, workers=3, heartbeat="300ms", replicas=1, metad_flags=(), worker_flags=()):
        self.worker_flags = worker_flags
        self.directory = tempfile.TemporaryDirectory(prefix="dmq-cluster-")
        self.metad = self._program("dmq-metad", "--data", self.path("metad"), "--heartbeat", heartbeat, "--replicas",
                                   str(replicas), *metad_flags)
        self.metad.start()
        self.workers = [self.new_worker(f"worker-{i}") for i in range(workers)]
        self.routers = [self._program("dmq-router", "--metad", self.metad.endpoint) for _ in range(routers)]
        for program in self.workers + self.routers:
            program.start()
        for router in self.routers:
            with harness.Client(router.endpoint) as client:
                harness.wait_until(lambda: client.code("hello") == "ok", what="a router that has reached metad")
                harness.wait_until(lambda: client.code("send", [b"x"], queue="ready") == "ok", what="a worker")

    def _program(self, *arguments):
        program = Program(*arguments)
        self.programs = getattr(self, "programs", []) + [program]
        return program

    def new_worker(self, name, store=None):
        """A worker that is not started yet and not one of `workers`."""
        return self._program("dmq-storage", "--data", self.path(store or name), "--name", name,
                             "--metad", self.metad.endpoint, *self.worker_flags)

    def path(self, name):
        return os.path.join(self.directory.name, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for program in reversed(self.programs):
            program.close()
        self.directory.cleanup()
