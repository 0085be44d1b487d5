# docs/tutorial.md: every program in it is run, in its order, and prints what the page says.
import os
import re
import subprocess
import sys
import unittest

from harness import ROOT, BrokerTest
from test_examples import install_node

PAGE = os.path.join(ROOT, "docs", "tutorial.md")
TIMEOUT_S = 60
BLOCK = re.compile(r"^```(\w+)( client)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def programs():
    """(language, program, what it prints) of the page; outputs belong to all programs since the last output."""
    clients, waiting, found = {}, [], []
    with open(PAGE, encoding="utf-8") as page:
        blocks = BLOCK.findall(page.read())
    for language, client, text in blocks:
        if client:
            clients[language] = text
        elif language == "text":
            found += [(language, program, text) for language, program in waiting]
            waiting = []
        else:
            waiting.append((language, text))
    if waiting:
        raise AssertionError(f"the page does not say what this prints:\n{waiting[0][1]}")
    return clients, found


class Tutorial(BrokerTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.clients, cls.programs = programs()

    def run_all(self, language, command):
        ran = 0
        for _, program, printed in [each for each in self.programs if each[0] == language]:
            done = subprocess.run(command(self.clients[language], program), timeout=TIMEOUT_S, text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  env={**os.environ, "DMQ_ENDPOINT": self.broker.endpoint})
            self.assertEqual((done.stderr, done.stdout), ("", printed), program)
            ran += 1
        self.assertEqual(ran, 5)

    def test_python(self):
        self.run_all("python", lambda client, program: [sys.executable, "-c", client + program])

    def test_node(self):
        folder = install_node(type(self))

        def command(client, program):
            path = os.path.join(folder, "tutorial.js")
            with open(path, "w", encoding="utf-8") as out:
                out.write(f"{client}\n(async () => {{\n{program}\nsocket.close();\n}})();\n")
            return ["node", path]

        self.run_all("js", command)


if __name__ == "__main__":
    unittest.main()
