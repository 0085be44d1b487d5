# dmq completion: what bash really offers, and that the other shells can read their scripts.
import os
import shutil
import subprocess
import unittest

from harness import BrokerTest

PROGRAMS = os.path.dirname(os.environ.get("DMQ_BIN", ""))
DMQ = os.path.join(PROGRAMS, "dmq")
SECONDS = 30


def script(shell):
    return subprocess.run([DMQ, "completion", shell], stdout=subprocess.PIPE, check=True, timeout=SECONDS).stdout.decode()


class Completion(BrokerTest):
    def offers(self, line, words=None, **variables):
        """What bash offers at the end of the line. `words`: how bash cuts it, where that is not at blanks."""
        words = words or line.split(" ")
        code = script("bash") + 'COMP_LINE=$1; COMP_POINT=${#1}; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))\n'
        # The function that bash has been told to call for the program.
        code += 'call=$(complete -p "${COMP_WORDS[0]##*/}"); call=${call#*-F }; ${call%% *}; printf "%s\\n" "${COMPREPLY[@]}"'
        environment = {**os.environ, "DMQ_ENDPOINT": self.broker.endpoint, **variables,
                       "PATH": PROGRAMS + os.pathsep + os.environ["PATH"]}
        done = subprocess.run(["bash", "--norc", "-c", code, "bash", line, *words], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env=environment, timeout=SECONDS)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        return done.stdout.decode().split()

    def test_subcommands(self):
        self.assertEqual(self.offers("dmq que"), ["queue"])
        self.assertIn("update", self.offers("dmq queue "))
        self.assertEqual(self.offers("dmq cluster force"), ["force-leader"])
        self.assertEqual(self.offers("dmq completion "), ["bash", "zsh", "fish"])

    def test_options_of_all_three_programs(self):
        self.assertEqual(self.offers("dmq queue update jobs --if"), ["--if-version"])
        self.assertEqual(self.offers("dmq-send --prio"), ["--priority"])
        self.assertEqual(self.offers("dmq-recv --nack"), ["--nack-delay"])
        self.assertEqual(self.offers(os.path.join(PROGRAMS, "dmq-recv") + " --nack"), ["--nack-delay"])

    def test_every_option_of_the_help_is_offered(self):
        for program in ("dmq-send", "dmq-recv"):
            text = subprocess.run([os.path.join(PROGRAMS, program), "--help"], stdout=subprocess.PIPE, check=True,
                                  timeout=SECONDS).stdout.decode()
            options = text[text.index("\nOptions:"):text.index("\nExamples:")].splitlines()
            long = {word for line in options if line.startswith("  -")
                    for word in line.split()[0].split(",") if word.startswith("--")}
            self.assertGreater(len(long), 10)
            self.assertEqual(set(self.offers(program + " -")), long)

    def test_values_of_an_option_in_both_forms(self):
        self.assertEqual(self.offers("dmq-recv --ack a"), ["auto", "after"])
        # Bash takes = for a word of its own, and replaces only what stands behind it.
        self.assertEqual(self.offers("dmq-recv --ack=n", ["dmq-recv", "--ack", "=", "n"]), ["none"])
        self.assertEqual(self.offers("dmq-recv --ack=", ["dmq-recv", "--ack", "="]), ["auto", "after", "none"])

    def test_names_of_queues(self):
        for name in ("complete-a", "complete-b", "complete:c"):
            self.client.ask("queue.create", queue=name)
        self.assertEqual(self.offers("dmq-send complete-"), ["complete-a", "complete-b"])
        self.assertEqual(self.offers("dmq queue describe complete-b"), ["complete-b"])
        self.assertEqual(self.offers("dmq-send complete:", ["dmq-send", "complete", ":"]), ["c"])
        self.assertEqual(self.offers("dmq-recv --broker " + self.broker.endpoint + " complete-a", DMQ_ENDPOINT="x:1"),
                         ["complete-a"])

    def test_without_a_broker_nothing_is_offered_and_nothing_said(self):
        self.assertEqual(self.offers("dmq-send j", DMQ_ENDPOINT="127.0.0.1:1"), [])
        self.assertEqual(self.offers("dmq-send j", DMQ_ENDPOINT="no endpoint"), [])

    def test_the_scripts_of_other_shells_can_be_read(self):
        for shell, words in (("zsh", ["compdef", "dmq completion candidates --", "_describe"]),
                             ("fish", ["complete -c", "dmq completion candidates --", "commandline -ct"])):
            text = script(shell)
            if shutil.which(shell):
                done = subprocess.run([shell, "-n", "/dev/stdin"], input=text.encode(), stderr=subprocess.PIPE,
                                      timeout=SECONDS)
                self.assertEqual((done.returncode, done.stderr), (0, b""))
            for program in ("dmq", "dmq-send", "dmq-recv"):
                self.assertRegex(text, rf"\b{program}\b")
            for word in words:
                self.assertIn(word, text.replace('"$dmq"', "dmq").replace("$dmq", "dmq"))

    def test_a_shell_that_is_not_known_is_a_usage_error(self):
        for arguments in ([], ["tcsh"]):
            done = subprocess.run([DMQ, "completion", *arguments], stderr=subprocess.PIPE, timeout=SECONDS)
            self.assertEqual(done.returncode, 2)


if __name__ == "__main__":
    unittest.main()
