"""Runs one class of CPython's tests in this process, and writes down each outcome when it comes.

Arguments: the module, the class ("-": print the classes that there are), the file to write, and
the tests to leave out. Each line of the file is a JSON list: ["start", test] or
[outcome, test, why].
"""

import faulthandler
import importlib
import json
import sys
import unittest


class Noted(unittest.TestResult):
    """Outcomes as lines of a file."""

    def __init__(self, file):
        super().__init__()
        self._file = file
        self._worst = None

    def note(self, *words):
        """One line."""
        self._file.write(json.dumps(words) + "\n")
        self._file.flush()

    def startTest(self, test):
        super().startTest(test)
        self._worst = "passed", ""
        self.note("start", name_of(test))

    def stopTest(self, test):
        super().stopTest(test)
        outcome, why = self._worst
        self.note(outcome, name_of(test), why)
        self._worst = None

    def _set(self, outcome, test, why):
        if self._worst is None:  # of the whole class
            self.note(outcome, "*", f"{test}: {why}")
        elif self._worst[0] in ("passed", "skipped"):
            self._worst = outcome, why

    def addError(self, test, err):
        self._set("error", test, self._exc_info_to_string(err, test))

    def addFailure(self, test, err):
        self._set("failed", test, self._exc_info_to_string(err, test))

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self._set("failed", test, f"{subtest}: " + self._exc_info_to_string(err, test))

    def addSkip(self, test, reason):
        self._set("skipped", test, reason)

    def addExpectedFailure(self, test, err):
        self._set("skipped", test, "is expected to fail")

    def addUnexpectedSuccess(self, test):
        self._set("failed", test, "was expected to fail")


def name_of(test):
    """The name of a test's method."""
    return test.id().rpartition(".")[2]


def classes_of(module):
    """The test classes of a module, by name."""
    return {
        name: kind
        for name, kind in sorted(vars(module).items())
        if isinstance(kind, type) and issubclass(kind, unittest.TestCase)
    }


def main(module, kind, path, *left_out):
    """Runs the class."""
    faulthandler.enable()
    module = importlib.import_module(module)
    classes = classes_of(module)
    with open(path, "a", encoding="utf-8") as file:
        if kind == "-":
            names = unittest.TestLoader().getTestCaseNames
            json.dump({name: names(each) for name, each in classes.items()}, file)
            return
        found = unittest.TestLoader().loadTestsFromTestCase(classes[kind])
        tests = [test for test in found if name_of(test) not in left_out]
        result = Noted(file)
        unittest.TestSuite(tests).run(result)
        result.note("end", "*", "")


if __name__ == "__main__":
    main(*sys.argv[1:])
