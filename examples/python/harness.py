# A broker for tests: its own process and port, nothing left on disk, gone when the block ends.
"""Usage in a test:

    from harness import Broker

    with Broker() as broker:
        socket.connect(broker.endpoint)

The program is found by DMQ_BIN, or as dmq-broker on the PATH. Run this file to see it work.
"""
import os
import select
import shutil
import subprocess
import tempfile
import time


class Broker:
    """A dmq-broker on a port of the system's choice. `flags` go to the program as they are."""

    START_S, STOP_S = 15, 10

    def __init__(self, *flags, binary=None):
        self.binary = binary or os.environ.get("DMQ_BIN") or shutil.which("dmq-broker")
        if not self.binary:
            raise FileNotFoundError("dmq-broker is not on the PATH; set DMQ_BIN to the program")
        self.flags = ["--listen", "tcp://127.0.0.1:*", *flags]
        if "--data" not in flags:
            self.flags.insert(0, "--ephemeral")
        self.process = self.endpoint = self.log = None
        self.logged = ""

    def __enter__(self):
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen([self.binary, *self.flags], stdout=subprocess.PIPE, stderr=self.log)
        try:
            self.endpoint = self._read_endpoint()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def _read_endpoint(self):
        """The first line of output is `listening ENDPOINT`: then the broker takes requests."""
        line, end = b"", time.monotonic() + self.START_S
        while not line.endswith(b"\n"):
            readable, _, _ = select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))
            byte = os.read(self.process.stdout.fileno(), 1) if readable else b""
            if not byte:
                raise RuntimeError(f"{self.binary} did not start: {self.output()}")
            line += byte
        word, endpoint = line.decode().split()
        if word != "listening":
            raise RuntimeError(f"{self.binary} said {line!r}")
        return endpoint

    def output(self):
        """What the broker has logged, also after its end."""
        if not self.log.closed:
            self.log.seek(0)
            self.logged = self.log.read().decode(errors="replace")
        return self.logged

    def stop(self):
        """Ends the broker as an operator would; its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(self.STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()
        finally:
            self.output()
            self.log.close()
            self.process.stdout.close()


if __name__ == "__main__":
    import msgpack
    import zmq

    with Broker() as broker, zmq.Context() as context, context.socket(zmq.REQ) as socket:
        socket.linger, socket.rcvtimeo = 0, 5000
        socket.connect(broker.endpoint)
        socket.send(msgpack.packb({"v": 1, "op": "hello"}))
        header, payload = socket.recv_multipart()
        print(broker.endpoint, msgpack.unpackb(header)["code"], msgpack.unpackb(payload)["server"])
