"""Runs classes of tests, each in a process of its own, a few at a time, each with a time limit."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections import deque
from pathlib import Path

HERE = Path(__file__).resolve().parent
MARK = "PROCESSION_DROPIN"
# What is left to a class's processes after its own, in seconds.
GRACE = 5.0


class Ran:
    """What came of it: outcomes {class.test: (outcome, why)}, processes and names left behind."""

    def __init__(self):
        self.outcomes = {}
        self.left = []
        self.names = []


class _Process:
    """A class in its process."""

    def __init__(self, limit, prefix, folder, module, kind, tests, left_out):
        self.limit = limit
        self.module, self.kind, self.tests, self.left_out = module, kind, tests, left_out
        self.prefix = prefix
        self.mark = uuid.uuid4().hex
        self.path = folder / f"{self.mark}.jsonl"
        self.path.touch()
        self.output = folder / f"{kind}.{self.mark[:4]}.out"
        everything = Path(self.path).parent
        (everything / "work").mkdir(exist_ok=True)
        environ = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        environ.update({MARK: self.mark, "TMPDIR": str(everything / "work")})
        with self.output.open("wb") as out:
            self.popen = subprocess.Popen(
                [prefix.python, HERE / "one_class.py", module, kind, self.path, *left_out],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=environ,
                cwd=everything / "work",
                start_new_session=True,
            )
        self.running = None
        self.ended = False
        self.heard = time.monotonic()
        self._read = 0
        self.outcomes = {}
        self.of_all = None

    def listen(self):
        """Reads what it has written since."""
        with self.path.open(encoding="utf-8") as file:
            file.seek(self._read)
            while (line := file.readline()).endswith("\n"):
                self._read = file.tell()
                self.heard = time.monotonic()
                self._hear(*json.loads(line))

    def _hear(self, what, test, why=""):
        if what == "start":
            self.running = test
        elif what == "end":
            self.ended = True
        elif test == "*":
            self.of_all = what, why
        else:
            self.outcomes[test] = what, why
            self.running = None

    def is_over(self):
        """Whether it has ended, or has been ended because it hangs."""
        over = self.popen.poll() is not None
        self.listen()
        if over:
            return True
        if time.monotonic() - self.heard < self.limit:
            return False
        self.popen.send_signal(signal.SIGABRT)  # says where it stands
        try:
            self.popen.wait(3)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
        self.outcomes[self.running or "at its end"] = (
            "hung",
            self.output.read_text(encoding="utf-8", errors="replace")[-5000:],
        )
        self.running = None
        return True

    def settle(self):
        """After its end: the tests that another process has to run."""
        if self.running is not None:
            said = self.output.read_text(encoding="utf-8", errors="replace")[-5000:]
            self.outcomes[self.running] = "died", f"exit code {self.popen.returncode}\n{said}"
        missing = [test for test in self.tests if test not in self.outcomes]
        missing = [test for test in missing if test not in self.left_out]
        if self.of_all is not None and self.of_all[0] != "skipped" and not missing:
            self.outcomes["tearDownClass"] = self.of_all
        elif missing and (self.of_all is not None or not self.outcomes):
            why = self.of_all or (
                "error",
                self.output.read_text(encoding="utf-8", errors="replace")[-5000:],
            )
            self.outcomes.update(dict.fromkeys(missing, why))
            missing = []
        return missing


class Runner:
    """Runs classes, `jobs` at a time; a test that says nothing for `limit` seconds hangs."""

    def __init__(self, jobs, limit):
        self._jobs, self._limit = jobs, limit
        self._listed = {}
        self._folder = Path()
        self._title = ""

    def begin(self, folder, title):
        """What follows is of another prefix, and leaves its files in the folder."""
        self._folder, self._title = folder, title
        self._listed.clear()

    def classes(self, prefix, module):
        """The classes of a module and their tests."""
        key = prefix.folder, module
        if key not in self._listed:
            path = self._folder / f"{uuid.uuid4().hex}.json"
            done = subprocess.run(
                [prefix.python, HERE / "one_class.py", module, "-", path],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
                timeout=self._limit,
            )
            if done.returncode:
                sys.exit(f"dropin: {module} can't be imported:\n{done.stdout.decode()}")
            self._listed[key] = json.loads(path.read_text(encoding="utf-8"))
        return self._listed[key]

    def run(self, prefix, classes, jobs=None):
        """Runs all of (module, class, tests)."""
        ran = Ran()
        names = set(os.listdir("/dev/shm"))
        # The long ones first, as far as one can tell by their names.
        ordered = sorted(classes, key=lambda each: "Manager" not in each[1])
        waiting = deque(
            (module, kind, tests, self._others(prefix, module, kind, tests))
            for module, kind, tests in ordered
        )
        running = []
        while waiting or running:
            while waiting and len(running) < (jobs or self._jobs):
                running.append(_Process(self._limit, prefix, self._folder, *waiting.popleft()))
            time.sleep(0.02)
            for each in [each for each in running if each.is_over()]:
                running.remove(each)
                missing = each.settle()
                self._look_for_left(each, ran)
                for test, outcome in each.outcomes.items():
                    ran.outcomes[f"{each.kind}.{test}"] = outcome
                if missing:
                    out = [*each.left_out, *each.outcomes]
                    waiting.appendleft((each.module, each.kind, each.tests, out))
                self._tell(ran, len(waiting) + len(running))
        if sys.stdout.isatty():
            print("\r\033[K", end="")
        ran.names = _unused_names(names)
        return ran

    def _others(self, prefix, module, kind, tests):
        return [test for test in self.classes(prefix, module)[kind] if test not in tests]

    def _tell(self, ran, left):
        if sys.stdout.isatty():
            print(f"\r\033[K{self._title}: {len(ran.outcomes)} tests, {left} classes to go", end="")

    @staticmethod
    def _look_for_left(process, ran):
        """Whether processes have outlived the class; they are ended."""
        deadline = time.monotonic() + GRACE
        while (found := _marked(process.mark)) and time.monotonic() < deadline:
            time.sleep(0.05)
        for pid, words in found.items():
            # Of one that hangs that is said already.
            if not any(how == "hung" for how, _ in process.outcomes.values()):
                ran.left.append(f"{process.kind}: {pid} {words}")
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _unused_names(before):
    """The names in /dev/shm that are new, and that stay although no process has them mapped: other
    programs of the machine have names there too."""
    deadline = time.monotonic() + GRACE
    while True:
        found = set(os.listdir("/dev/shm")) - before
        if not found or time.monotonic() > deadline:
            return sorted(found - _mapped_names())
        time.sleep(0.2)


def _mapped_names():
    """The names in /dev/shm that some process has mapped."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/maps"):
        with contextlib.suppress(OSError):
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            found |= {line.partition("/dev/shm/")[2].split(" ")[0] for line in lines}
    return found


def _marked(mark):
    """The living processes whose environment has the mark: {pid: command line}."""
    wanted = f"{MARK}={mark}".encode()
    found = {}
    for name in os.listdir("/proc"):
        if name.isdecimal():
            try:
                if wanted in Path(f"/proc/{name}/environ").read_bytes().split(b"\0"):
                    words = Path(f"/proc/{name}/cmdline").read_bytes()
                    found[int(name)] = words.replace(b"\0", b" ").decode(errors="replace")
            except OSError:  # it has just ended, or is another user's
                continue
    return found
