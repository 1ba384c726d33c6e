"""Runs CPython's own tests of multiprocessing with procession in its place, beside the standard
library itself; `scripts/dropin` calls it.

Each class of tests has a process of its own. What passes with the standard library and not here
is a difference; processes and names in /dev/shm that stay and locks of the standard library's count
too.
"""

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from classes import Runner
from prefix import METHODS, Prefix
from report import Row, Rules, write

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
# What the standard library itself does, by interpreter: it does not change.
BASELINES = ROOT / "target" / "dropin"
MAIN_HANDLING = {"fork": "ForkCmdLineTest", "spawn": "SpawnCmdLineTest"}
MAIN_HANDLING["forkserver"] = "ForkServerCmdLineTest"


def tests_of(runner, prefix, method, only):
    """The classes to run under a method: (module, class, tests)."""
    found = [
        (f"dropin_{method}", kind, tests)
        for kind, tests in runner.classes(prefix, f"dropin_{method}").items()
    ]
    handling = "test.test_multiprocessing_main_handling"
    kind = MAIN_HANDLING[method]
    found.append((handling, kind, runner.classes(prefix, handling)[kind]))
    return [
        each for each in found if each[2] and (not only or any(word in each[1] for word in only))
    ]


def baseline(runner, prefix, method, only):
    """What the standard library does, by class.test; from an earlier run if there is one."""
    path = BASELINES / f"{prefix.release}-{method}.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    wanted = tests_of(runner, prefix, method, only)
    missing = [each for each in wanted if f"{each[1]}.{each[2][0]}" not in known]
    if missing:
        outcomes = runner.run(prefix, missing).outcomes
        # One that a busy machine failed would not be asked for here.
        doubtful = [name for name, (how, _) in outcomes.items() if how not in ("passed", "skipped")]
        outcomes.update(runner.run(prefix, _some(missing, doubtful)).outcomes)
        known.update({name: outcome for name, (outcome, _) in outcomes.items()})
        BASELINES.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(known, indent=0), encoding="utf-8")
    return {f"{k}.{test}": known.get(f"{k}.{test}") for _, k, tests in wanted for test in tests}


def _some(found, names):
    """Of the classes only those tests, by class.test."""
    chosen = [(m, kind, [t for t in tests if f"{kind}.{t}" in names]) for m, kind, tests in found]
    return [each for each in chosen if each[2]]


def compare(runner, python, method, options, package):
    """Runs one interpreter under one method; its Row."""
    folder = Path(tempfile.mkdtemp(prefix="dropin-", dir="/tmp"))
    try:
        standard = Prefix(python, folder / "standard")
        ours = Prefix(python, folder / "ours", package)
        runner.begin(folder, f"{standard.release} {method}")
        expected = baseline(runner, standard, method, options.classes)
        found = tests_of(runner, ours, method, options.classes)
        ours.count_semaphores()
        ran = runner.run(ours, found)
        failed = [
            name
            for name, (outcome, _) in ran.outcomes.items()
            if outcome != "passed" and expected.get(name) == "passed"
        ]
        # Once more, and alone: many of these tests measure time.
        again = runner.run(ours, _some(found, failed), jobs=1)
        second = [name for name, (outcome, _) in again.outcomes.items() if outcome == "passed"]
        outcomes = {**ran.outcomes, **again.outcomes}
        semaphores = [
            line for line in ours.count_semaphores() if "_test_multiprocessing.py" not in line[:24]
        ]
        return Row.of(
            standard.release,
            method,
            Rules.read(HERE),
            expected,
            outcomes,
            second,
            ran.left + again.left,
            ran.names + again.names,
            semaphores,
        )
    finally:
        if options.keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def main():
    """Runs what the command line names; 1 if there is a difference that is not known."""
    parser = argparse.ArgumentParser(prog="scripts/dropin", description=__doc__.split("\n")[0])
    parser.add_argument("python", help="the interpreter")
    parser.add_argument("package", help="the folder of the package procession for it")
    parser.add_argument("--method", action="append", choices=METHODS, dest="methods")
    parser.add_argument("--class", action="append", dest="classes", help="(part of) a class's name")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="classes at a time")
    parser.add_argument("--limit", type=float, default=90, help="seconds that a test may take")
    parser.add_argument("--keep", action="store_true", help="keep prefixes and output")
    options = parser.parse_args()
    # A job in a shell's background ignores it, and so would all its children.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    runner = Runner(options.jobs, options.limit)
    began = time.monotonic()
    good = True
    for method in options.methods or METHODS:
        row = compare(runner, options.python, method, options, options.package)
        row.print()
        print(f"   {time.monotonic() - began:.0f} s so far", flush=True)
        if not options.classes:
            write(ROOT / "docs" / "dropin.md", [row], Rules.read(HERE))
        good = good and row.is_good()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
