"""Counts what passed, by the lists of known differences and private names; writes the table."""

import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

HEAD = (
    "CPython",
    "start method",
    "public: passed",
    "of",
    "known differences",
    "other differences",
    "private: passed",
    "of",
    "at the second try",
    "hung",
    "processes left",
    "names left",
    "their locks",
)


class Rules(NamedTuple):
    """Patterns of tests, each with a reason."""

    known: dict
    private: dict

    @classmethod
    def read(cls, folder):
        """From the two lists."""
        return cls(_listed(folder / "known.txt"), _listed(folder / "private.txt"))

    def is_known(self, name):
        """Whether it is known that the test does not pass."""
        return _matches(name, self.known)

    def is_private(self, name):
        """Whether the test rests on names that the documentation does not have."""
        return _matches(name, self.private)


def _listed(path):
    """Lines of a pattern and a reason."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    pairs = (line.split(None, 1) for line in lines if line and not line.startswith("#"))
    return {pattern: reason for pattern, reason in pairs}


def _matches(name, patterns):
    plain = re.sub(r"^With(Processes|Threads|Manager)", "", name)
    return any(fnmatchcase(plain, each) or fnmatchcase(name, each) for each in patterns)


class Row(NamedTuple):
    """One interpreter under one method. `differences` are (test, outcome, why)."""

    release: str
    method: str
    public: tuple
    private: tuple
    known: list
    differences: list
    private_differences: list
    second: list
    hung: list
    left: list
    names: list
    semaphores: list

    @classmethod
    def of(cls, release, method, rules, expected, outcomes, second, left, names, semaphores):
        """Sorts the outcomes."""
        asked = [name for name, outcome in expected.items() if outcome == "passed"]
        public = [name for name in asked if not rules.is_private(name)]
        private = [name for name in asked if rules.is_private(name)]

        def how(name):
            return outcomes.get(name, ("missing", ""))

        def failed(names):
            return [(name, *how(name)) for name in names if how(name)[0] != "passed"]

        differences = failed(public)
        # What a class as a whole did beside its tests.
        differences += [
            (name, *outcome)
            for name, outcome in outcomes.items()
            if name not in expected and outcome[0] != "passed"
        ]
        known = [each for each in differences if rules.is_known(each[0])]
        return cls(
            release,
            method,
            (len(public) - len(failed(public)), len(public)),
            (len(private) - len(failed(private)), len(private)),
            known,
            [each for each in differences if each not in known],
            failed(private),
            second,
            [name for name, (outcome, _) in outcomes.items() if outcome == "hung"],
            left,
            names,
            semaphores,
        )

    def is_good(self):
        """Whether all is as it shall be."""
        passed, asked = self.private
        bad = self.differences or self.hung or self.left or self.names or self.semaphores
        return not bad and passed * 3 >= asked * 2

    def cells(self):
        """As a row of the table."""
        counts = self.known, self.differences
        rest = self.second, self.hung, self.left, self.names, self.semaphores
        return [
            self.release,
            self.method,
            *self.public,
            *map(len, counts),
            *self.private,
            *map(len, rest),
        ]

    def print(self):
        """Says what it was, the reasons too."""
        print(f"== {self.release} {self.method}")
        for title, found in (
            ("difference", self.differences),
            ("known", self.known),
            ("private", self.private_differences),
        ):
            for name, outcome, why in found:
                print(f"-- {title}: {name}: {outcome}")
                if title != "known":
                    print("   " + "\n   ".join(why.rstrip().splitlines()[-25:]))
        for title, lines in (
            ("at the second try", self.second),
            ("process left", self.left),
            ("name left in /dev/shm", self.names),
            ("lock of the standard library", self.semaphores),
        ):
            for line in lines:
                print(f"-- {title}: {line}")
        for title, cell in zip(HEAD, self.cells()):
            print(f"   {title}: {cell}")


def write(path, rows, rules):
    """Writes the page; rows of other interpreters and methods stay as they were."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in re.findall(r"^\| \d.*$", text, re.M)
    ]
    table = {(row[0], row[1]): row for row in cells if len(row) == len(HEAD)}
    table.update({(row.release, row.method): row.cells() for row in rows})

    def order(key):
        return [int(number) for number in key[0].split(".")], key[1]

    lines = [
        "# CPython's own tests, with procession in the place of multiprocessing",
        "",
        "Written by `scripts/dropin`: the tests that come with an interpreter, in",
        "`test._test_multiprocessing` and `test.test_multiprocessing_main_handling`, are run with",
        "the standard library, then with procession in its place, in parent and children. What",
        "passed there is asked for here. *Private* are tests of names that the documentation",
        "has not (`dropin/private.txt`). *At the second try*: failed while classes ran side by",
        "side, passed alone. *Left*: when all was over. *Their locks*: semaphores of the standard",
        "library's.",
        "",
        _line(HEAD),
        _line(["---"] * len(HEAD)),
        *(_line(table[key]) for key in sorted(table, key=order)),
        "",
        "Known differences:",
        "",
        *(f"* `{pattern}`: {reason}" for pattern, reason in rules.known.items()),
        "",
    ]
    path.write_text("\n".join(lines), encoding="utf-8")


def _line(cells):
    return f"| {' | '.join(map(str, cells))} |"
