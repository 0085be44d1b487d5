# What the broker takes as its configuration: flags, variables and the TOML file, and what it refuses.
import os
import resource
import subprocess
import tempfile
import unittest

from harness import Broker

BROKER = os.environ.get("DMQ_BIN", "dmq-broker")


def run(*flags, **variables):
    """Runs dmq-broker to its end; exit code, standard output and error together."""
    done = subprocess.run([BROKER, *flags], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30,
                          env={**os.environ, **variables})
    return done.returncode, done.stdout.decode(errors="replace")


class Configuration(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = os.path.join(directory.name, "dmq.toml")

    def check(self, *flags, **variables):
        return run(*flags, "--check-config", **variables)

    def check_file(self, text):
        with open(self.path, "w") as file:
            file.write(text)
        return self.check("--config", self.path)

    def test_a_good_file_is_ok(self):
        self.assertEqual(self.check_file('workers = 2\nstore-limit = "10GiB"\nsync = "none"\nauto-create = false\n'),
                         (0, "ok\n"))

    def test_a_misspelt_key_is_refused_by_name(self):
        for text in ("store-limt = 5\n", "[broker]\nworkers = 2\n"):
            code, said = self.check_file(text)
            self.assertEqual(code, 2, text)
            self.assertRegex(said, "store-limt|broker")

    def test_values_of_a_wrong_type_are_refused(self):
        for text in ('workers = "many"\n', "workers = 0\n", 'sync = "often"\n', "auto-create = maybe\n"):
            self.assertEqual(self.check_file(text)[0], 2, text)

    def test_a_file_that_is_not_there_is_refused_from_a_variable_too(self):
        self.assertEqual(self.check("--config", self.path)[0], 2)
        code, said = self.check(DMQ_CONFIG=self.path)
        self.assertEqual(code, 2)
        self.assertIn(self.path, said)

    def test_variables_win_over_the_file(self):
        with open(self.path, "w") as file:
            file.write("workers = 2\n")
        self.assertEqual(self.check("--config", self.path, DMQ_WORKERS="0")[0], 2)
        self.assertEqual(self.check("--config", self.path, "--workers", "3", DMQ_WORKERS="0"), (0, "ok\n"))

    def test_an_exported_directory_does_not_hinder_a_temporary_store(self):
        place = os.path.join(os.path.dirname(self.path), "store")
        self.assertEqual(self.check("--ephemeral", DMQ_DATA=place), (0, "ok\n"))
        self.assertEqual(self.check("--ephemeral", "--data", place)[0], 2)
        self.assertEqual(self.check("--data", place, DMQ_EPHEMERAL="1"), (0, "ok\n"))

    def test_a_store_limit_has_bounds(self):
        for limit in ("0", "-1", "18446744073709551615", "17TiB", "10XB"):
            self.assertEqual(self.check("--store-limit", limit)[0], 2, limit)
        self.assertEqual(self.check("--store-limit", "16TiB"), (0, "ok\n"))

    def test_an_empty_data_directory_is_no_temporary_store(self):
        code, said = run("--data", "", "--listen", "tcp://127.0.0.1:*", "--admin", "")
        self.assertEqual(code, 2)
        self.assertIn("--ephemeral", said)

    def test_an_endpoint_that_is_none_is_shown_how(self):
        for flags in (["--listen", "7310"], ["--listen", "foo"], ["--listen", ""], ["--admin", "foo"]):
            for end in ([], ["--check-config"]):
                code, said = run("--ephemeral", *flags, *end)
                self.assertEqual(code, 2, flags)
                self.assertIn(f"dmq-broker: {flags[0]} ", said)
                self.assertIn("write tcp://HOST:PORT", said)

    def test_a_broker_takes_all_the_connections_that_the_system_allows(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, hard), hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        with Broker() as broker:
            self.assertEqual(resource.prlimit(broker.process.pid, resource.RLIMIT_NOFILE), (hard, hard))


if __name__ == "__main__":
    unittest.main()
