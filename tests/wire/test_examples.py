# Runs each example program against a broker, and lets programs in different languages work on one queue.
import os
import shutil
import subprocess
import tempfile
import unittest

from harness import ROOT, BrokerTest, wait_until

EXAMPLES = os.path.join(ROOT, "examples")
PYTHON = shutil.which("python3", path="/usr/bin") or shutil.which("python3")
TIMEOUT_S = 60


def python(name):
    return [PYTHON, os.path.join(EXAMPLES, "python", name)]


def perl(role):
    return ["/usr/bin/perl", os.path.join(EXAMPLES, "perl", "client.pl"), role]


def cpp(name):
    return [os.path.join(os.environ["DMQ_EXAMPLES"], name)]


def install_node(case):
    """A copy of the Node.js examples with what they need installed, until the class of tests ends; an error when npm
    cannot do that."""
    temporary = tempfile.TemporaryDirectory()
    case.addClassCleanup(temporary.cleanup)
    folder = os.path.join(temporary.name, "node")
    shutil.copytree(os.path.join(EXAMPLES, "node"), folder, ignore=shutil.ignore_patterns("node_modules"))
    done = subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=folder, timeout=150, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        raise AssertionError("npm ci failed:\n" + done.stdout)
    return folder


class Examples(BrokerTest):
    node_folder = None

    def test_python_subscriber(self):
        self.send(*[b"%d" % i for i in range(30)])
        done = self.run_program(python("subscriber.py"), self.queue, "25")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual([line.split(": ")[1] for line in done.stdout.splitlines()], [str(i) for i in range(25)])
        wait_until(lambda: self.counts() == (5, 0, 0), what="what it gave back")
        self.assertEqual({m["deliveries"] for m in self.receive(max=5)}, {1})
        self.assertEqual(self.run_program(python("subscriber.py"), "a\n").returncode, 1)

    @classmethod
    def node(cls, name):
        if cls.node_folder is None:
            cls.node_folder = install_node(cls)
        return ["node", os.path.join(cls.node_folder, name)]

    def run_program(self, command, *arguments, endpoint=None, given=""):
        return subprocess.run([*command, *arguments], timeout=TIMEOUT_S, text=True, input=given, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env={**os.environ, "DMQ_ENDPOINT": endpoint or self.broker.endpoint})

    def check_producer(self, command, count=250):
        done = self.run_program(command, self.queue, str(count))
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(done.stdout, f"sent {count} messages to {self.queue}\n")
        messages = self.receive(max=1000)
        self.assertEqual([m["body"] for m in messages], [b"hello %d" % (i + 1) for i in range(count)])
        self.assertEqual(messages[6]["headers"], {"n": b"7"})

    def check_consumer(self, command, count=250):
        self.send(*[b"hello %d" % (i + 1) for i in range(count)])
        done = self.run_program(command, self.queue, str(count))
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        lines = done.stdout.splitlines()
        self.assertEqual([line.split(": ")[1] for line in lines], [f"hello {i + 1}" for i in range(count)])
        self.assertTrue(all(line.split(": ")[0].endswith("(delivery 1)") for line in lines))
        self.assertEqual(self.counts(), (0, 0, 0))

    def check_refusal(self, command):
        done = self.run_program(command, "bad\nname", "1")
        self.assertEqual(done.returncode, 1)
        self.assertIn("invalid_argument", done.stderr)

    def test_python_producer(self):
        self.check_producer(python("producer.py"))

    def test_python_consumer(self):
        self.check_consumer(python("consumer.py"))

    def test_python_errors(self):
        self.check_refusal(python("producer.py"))
        self.check_refusal(python("consumer.py"))

    def test_python_harness(self):
        done = self.run_program(python("harness.py"))
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertRegex(done.stdout, r"^tcp://127\.0\.0\.1:\d+ ok dmq\n$")

    def test_node_producer(self):
        self.check_producer(self.node("producer.js"))

    def test_node_consumer(self):
        self.check_consumer(self.node("consumer.js"))

    def test_node_errors(self):
        self.check_refusal(self.node("producer.js"))
        self.check_refusal(self.node("consumer.js"))

    def test_cpp_producer(self):
        self.check_producer(cpp("example-producer"))

    def test_cpp_consumer(self):
        self.check_consumer(cpp("example-consumer"))

    def test_cpp_harness(self):
        done = subprocess.run(cpp("example-harness"), timeout=60, text=True, stdout=subprocess.PIPE)
        self.assertEqual((done.returncode, done.stdout), (0, "passed: 21 became 42\n"))

    def test_cpp_errors(self):
        self.check_refusal(cpp("example-producer"))
        self.check_refusal(cpp("example-consumer"))

    def test_perl_sends_and_receives_lines(self):
        lines = "".join(f"gr\u00fc\u00dfe {i}\n" for i in range(1200)) + "\n"  # more than two batches, and an empty line
        done = self.run_program(perl("send"), self.queue, given=lines)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        self.assertEqual(self.counts(), (1201, 0, 0))
        done = self.run_program(perl("receive"), self.queue)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, lines, ""))
        self.assertEqual(self.counts(), (0, 0, 0))

    def test_perl_errors(self):
        for role in ("send", "receive"):
            done = self.run_program(perl(role), "bad\nname", given="x\n")
            self.assertEqual(done.returncode, 1)
            self.assertIn("invalid_argument", done.stderr)
        self.assertEqual(self.run_program(perl("peek"), "q").returncode, 2)

    def test_languages_work_on_one_queue(self):
        for producer in (python("producer.py"), self.node("producer.js"), cpp("example-producer")):
            self.assertEqual(self.run_program(producer, self.queue, "30").returncode, 0)
        for consumer in (python("consumer.py"), self.node("consumer.js"), cpp("example-consumer")):
            done = self.run_program(consumer, self.queue, "30")
            self.assertEqual((done.returncode, len(done.stdout.splitlines())), (0, 30), done.stderr)
        self.assertEqual(self.counts(), (0, 0, 0))

    def test_the_ten_lines_of_the_protocol_page(self):
        with open(os.path.join(ROOT, "docs", "protocol.md"), encoding="utf-8") as page:
            blocks = page.read().split("```python\n")[1:3]
        outputs = []
        for block in blocks:
            code = block.split("```")[0].replace("tcp://127.0.0.1:7310", self.broker.endpoint)
            done = self.run_program([PYTHON, "-c", code])
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            outputs.append(done.stdout)
        self.assertRegex(outputs[0], r"^sent \S+\n$")
        self.assertEqual(outputs[1], "received b'hello'\n")


if __name__ == "__main__":
    unittest.main()
