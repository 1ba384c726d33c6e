"""A whole program under test: a script in an interpreter, a session and a folder of its own."""

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import uuid
from pathlib import Path

from deadline import GUARD, eventually
from processes import MARK, kill_marked, marked
from under_test import HERE, NAME


def source_of(text):
    """The text of a program that says `procession`, for the module under test."""
    return re.sub(r"\bprocession\b", NAME, textwrap.dedent(text).lstrip("\n"))


class Program:
    """A running script; leaving the `with` block kills all that is left of it.

    Every process of it has `mark` in its environment, and all are in one session whose process
    group is the "foreground" one: `interrupt()` is Ctrl-C.
    """

    def __init__(
        self,
        source,
        *args,
        env=None,
        executable=sys.executable,
        interpreter=(),
        command=None,
        stdin=None,
    ):
        self.folder = tempfile.TemporaryDirectory(prefix="program-")
        self.path = Path(self.folder.name, "program.py")
        self.path.write_text(source_of(source), encoding="utf-8")
        self.mark = uuid.uuid4().hex
        environ = {**os.environ, MARK: self.mark, **(env or {})}
        search = [environ.get("PYTHONPATH"), str(HERE)]  # helpers beside the tests, last
        environ["PYTHONPATH"] = os.pathsep.join(filter(None, search))
        for name in "PYTHONWARNINGS", "PYTHONUNBUFFERED":  # unbuffered lines would mix
            environ.pop(name, None)
        command = [str(self.path)] if command is None else list(command)
        self.err = open(Path(self.folder.name, "stderr"), "w+b")  # noqa: SIM115
        self.began = time.monotonic()
        self.popen = subprocess.Popen(
            [executable, *interpreter, *command, *map(str, args)],
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self.err,
            env=environ,
            cwd=self.folder.name,
            start_new_session=True,
        )
        self.pid = self.popen.pid
        self._buffer = b""
        if stdin is not None:
            self.popen.stdin.write(source_of(stdin).encode())
            self.popen.stdin.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill_tree()
        self.popen.wait()
        kill_marked(self.mark)  # what had left the process group
        self.popen.stdout.close()
        self.err.close()
        eventually(lambda: not marked(self.mark), what="the program's processes ended")
        self.folder.cleanup()

    def _more(self, deadline):
        """Read a piece of stdout; False at its end."""
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([self.popen.stdout], [], [], left)[0]:
            raise AssertionError(f"the program said nothing more in time\n{self.report()}")
        piece = os.read(self.popen.stdout.fileno(), 65536)
        self._buffer += piece
        return bool(piece)

    def line(self, timeout=GUARD):
        """The next line of stdout, without its end."""
        deadline = time.monotonic() + timeout
        while b"\n" not in self._buffer:
            if not self._more(deadline):
                raise AssertionError(f"the program ended before its line\n{self.report()}")
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode()

    def wait(self, timeout=GUARD):
        """Wait for the root's end and the end of its stdout; the exit code.

        All processes hold stdout, so this also waits for the children's end.
        """
        deadline = time.monotonic() + timeout
        while self._more(deadline):
            pass
        try:
            return self.popen.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the program did not end in time\n{self.report()}") from None

    def interrupt(self):
        """Ctrl-C at the terminal: SIGINT to the foreground process group."""
        os.killpg(self.pid, signal.SIGINT)

    def kill_root(self):
        """SIGKILL to the root alone."""
        os.kill(self.pid, signal.SIGKILL)

    def kill_tree(self):
        """SIGKILL to all at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    @property
    def stdout(self):
        """What was printed and not yet taken by `line`."""
        return self._buffer.decode(errors="replace")

    @property
    def stderr(self):
        """What stands on stderr so far."""
        return Path(self.err.name).read_text(encoding="utf-8", errors="replace")

    def report(self):
        """Both streams, for a failure's text."""
        return f"--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"


class Ended:
    """How a program ended."""

    def __init__(self, program, returncode):
        self.returncode = returncode
        self.seconds = time.monotonic() - program.began
        self.stdout = program.stdout
        self.stderr = program.stderr
        self.lines = self.stdout.splitlines()
        self.report = program.report()


def run_program(source, *args, timeout=GUARD, code=0, **options):
    """Run a script to its end, look at its exit code (None: any), and return what it said."""
    with Program(source, *args, **options) as program:
        ended = Ended(program, program.wait(timeout))
    if code is not None:
        assert ended.returncode == code, f"exit code {ended.returncode}\n{ended.report}"
    return ended
