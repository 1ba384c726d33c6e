"""Processes as the kernel shows them in /proc, and the end of those that a test started."""

import contextlib
import os
import signal
from pathlib import Path

from deadline import GUARD, eventually

MARK = "PROCESSION_TEST_MARK"


def state(pid, tid=None):
    """The letter of a process's (or one thread's) state: R, S, D, T, Z; "" when it is gone."""
    path = f"/proc/{pid}/stat" if tid is None else f"/proc/{pid}/task/{tid}/stat"
    try:
        text = Path(path).read_text(encoding="latin-1")
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return text.rpartition(")")[2].split()[0]


def gone(pid):
    """Whether the process has ended; a zombie that nobody reaped has."""
    return state(pid) in ("", "Z", "X")


def wait_stopped(pid):
    """Return once a SIGSTOP has taken effect."""
    eventually(lambda: state(pid) in ("T", "t"), what=f"process {pid} stopped")


def wait_asleep(pid, tid=None):
    """Return once the thread (by default the main one) sleeps in the kernel, 20 looks in a row.

    A waiter may spin before it sleeps and may look again now and then, so one look says little.
    """
    looks = 0

    def asleep():
        nonlocal looks
        looks = looks + 1 if state(pid, tid or pid) == "S" else 0
        return looks >= 20

    eventually(asleep, what=f"process {pid} asleep")


def marked(mark):
    """The living processes that have `mark` in the environment that they were started with."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for name in os.listdir("/proc"):
        if name.isdecimal():
            try:
                environ = Path(f"/proc/{name}/environ").read_bytes()
            except OSError:  # it has just ended, or is another user's
                continue
            if wanted in environ.split(b"\0") and not gone(int(name)):
                found.append(int(name))
    return found


def kill_marked(mark):
    """Kill those; some may end by themselves meanwhile."""
    for pid in marked(mark):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def start(ctx, target, *args, **options):
    """A started process of the context."""
    process = ctx.Process(target=target, args=args, **options)
    process.start()
    return process


def finish(*processes, codes=(0,)):
    """Join processes that are about to end, and look at their exit codes."""
    for process in processes:
        process.join(GUARD)
    found = [process.exitcode for process in processes]
    expected = list(codes) * (len(processes) if len(codes) == 1 else 1)
    assert found == expected, f"exit codes {found}, expected {expected}"
