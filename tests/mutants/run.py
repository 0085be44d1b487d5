#!/usr/bin/env python3
# Breaks each rule of replication on purpose, in a copy of the tree, and shows that the tests notice.
"""tests/mutants/run.py [NAME...] [--seeds N] [--tree DIR] [--record]: applies each patch of this folder, one at a time, to
a copy of the tree, builds, and runs the simulator; when that finds nothing, the unit tests. Prints what caught each
mutant and after how many seeds, and with --record writes it into README.md beside this file. Exit code: 0 all were caught, 1 one was not, 2 a patch does not apply or build any more."""
import argparse
import filecmp
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# A rule that is gone may leave a variable that nobody needs.
BUILD_FLAGS = ["-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_CXX_FLAGS=-Wno-error=unused-but-set-variable -Wno-error=unused-variable -Wno-error=unused-parameter"]


def run(*words, **options):
    return subprocess.run([str(word) for word in words], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          check=False, **options)


def need(what, result):
    if result.returncode == 0:
        return
    print(f"{what}:\n{result.stdout[-3000:]}", file=sys.stderr)
    sys.exit(2)


class Copy:
    """A copy of the tree with a build of its own."""

    def __init__(self, directory):
        self.tree = pathlib.Path(directory) / "tree"
        self.build = pathlib.Path(directory) / "build"
        names = run("git", "-C", ROOT, "ls-files", "-co", "--exclude-standard").stdout.splitlines()
        for name in names:
            if not (ROOT / name).is_file():
                continue
            copied = self.tree / name
            copied.parent.mkdir(parents=True, exist_ok=True)
            # A time of its own for what differs, so that what an interrupted run left is built again.
            if not copied.exists() or not filecmp.cmp(ROOT / name, copied, shallow=False):
                shutil.copy(ROOT / name, copied)
        need("cmake", run("cmake", "-S", self.tree, "-B", self.build, *BUILD_FLAGS))

    def patch(self, patch, *words):
        need(f"{patch.name} does not apply", run("patch", "-p1", *words, "-d", self.tree, "-i", patch))

    def make(self, target):
        need(f"{target} does not build", run("cmake", "--build", self.build, "--target", target, "-j", os.cpu_count()))
        return self.build / "bin" / target


class Table:
    """README.md: a line for each mutant."""

    HEAD = """# Mutants

Each patch here breaks one rule of replication or of what a queue offers; `./dev mutants` applies them one at a time and says what notices.
`tests/mutants/run.py --record` writes this table. "After N seeds": the simulator's histories 1 to N, two at a time on
two cores.

| Mutant | What it breaks | Caught by |
|---|---|---|
"""

    def __init__(self):
        self.path = HERE / "README.md"
        text = self.path.read_text() if self.path.exists() else ""
        self.caught = dict(re.findall(r"^\| (\S+) \| .* \| (.*) \|$", text, re.MULTILINE))

    def write(self, name, by):
        self.caught[name] = by.replace("|", "/")
        known = [patch for patch in sorted(HERE.glob("*.patch")) if patch.stem in self.caught]
        rows = [f"| {patch.stem} | {what_it_breaks(patch)} | {self.caught[patch.stem]} |\n" for patch in known]
        self.path.write_text(self.HEAD + "".join(rows))


def what_it_breaks(patch):
    return patch.read_text().splitlines()[0]


def caught_by(copy, seeds):
    """What noticed, or None."""
    try:
        simulated = run(copy.make("dmq-sim"), "--seeds", seeds, "--most", 1, timeout=900).stdout
    except subprocess.TimeoutExpired:
        return "simulator: it does not end"
    found = re.findall(r"^seed (\d+): (.*)", simulated, re.MULTILINE)
    if found:
        seed, what = min((int(seed), what) for seed, what in found)
        return f"simulator, after {seed} seeds: {what}"
    tested = run(copy.make("dmq-unit-tests"), "[storage],[metad],[protocol],[router],[client]", "-r", "compact", timeout=900)
    if tested.returncode == 0:
        return None
    found = re.search(r"^(\S+?_test\.cpp:\d+): failed: (.*)", tested.stdout.replace(str(copy.tree) + "/", ""), re.MULTILINE)
    return "unit tests: " + (f"{found[1]}" if found else f"exit code {tested.returncode}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="mutants, without .patch; all by default")
    parser.add_argument("--seeds", type=int, default=20000, help="histories for each (default 20000)")
    parser.add_argument("--tree", help="where to build; kept (default: a temporary directory)")
    parser.add_argument("--record", action="store_true", help="write README.md")
    options = parser.parse_args()
    patches = [HERE / f"{name}.patch" for name in options.names] or sorted(HERE.glob("*.patch"))
    with tempfile.TemporaryDirectory(prefix="dmq-mutants-") as scratch:
        copy = Copy(options.tree or scratch)
        unharmed = caught_by(copy, 500)
        if unharmed:
            print(f"the tree as it is does not pass: {unharmed}", file=sys.stderr)
            return 2
        survivors = 0
        for patch in patches:
            copy.patch(patch)
            by = caught_by(copy, options.seeds)
            copy.patch(patch, "-R")
            survivors += by is None
            print(f"{patch.stem:26} {by or 'NOT CAUGHT'}", flush=True)
            if options.record:
                Table().write(patch.stem, by or "nothing")
    print(f"{len(patches)} mutants, {survivors} not caught")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
