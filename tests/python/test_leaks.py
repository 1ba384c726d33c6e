"""Nothing is left of programs that were killed: no process, no name, no open file, no memory."""

import os
import random
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
from deadline import GUARD, eventually
from processes import MARK, kill_marked, marked
from seed import SEED
from under_test import HERE, METHODS

PROGRAMS = int(os.environ.get("PROCESSION_LEAK_PROGRAMS", "200"))
AT_A_TIME = 8
# Two seconds after the last kill nothing may be left: that is the promise.
PROMISED = 2.0
# The tolerance, for what the rest of the system does meanwhile. A leak of one open file in two
# programs, or of 64 KiB of shared memory in each (the least that an arena in use has), would be
# seen.
FILES = max(64, PROGRAMS // 2)
KIBIBYTES = max(4096, 64 * PROGRAMS)


def open_files():
    """The system's open files: the first number of file-nr."""
    return int(Path("/proc/sys/fs/file-nr").read_text(encoding="ascii").split()[0])


def shared_memory():
    """The system's shared memory, memfds included, in KiB."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Shmem:"))


def names(folder):
    return set(os.listdir(folder))


def start(method, environ):
    search = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [sys.executable, str(HERE / "leaking_program.py"), method],
        env={**environ, "PYTHONPATH": search},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def kill_soon(program, what, seconds):
    """SIGKILL to the root alone or to the whole tree at once, after so long."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass
    if what == "root":
        program.kill()
    else:
        os.killpg(program.pid, signal.SIGKILL)


def run_and_kill(environ, generator, nothing_left):
    """All programs, in batches; after each, nothing may be left in time."""
    # Root alone or whole tree, each start method, in turn; each ninth while it starts.
    plan = [(METHODS[i % 3], ("root", "tree")[i // 3 % 2], i % 9 == 8) for i in range(PROGRAMS)]
    for first in range(0, PROGRAMS, AT_A_TIME):
        batch = [
            (start(method, environ), *rest) for method, *rest in plan[first : first + AT_A_TIME]
        ]
        for program, what, early in batch:
            if early:
                kill_soon(program, what, generator.random() * 0.2)
        for program, _, early in batch:
            if not early:
                assert program.stdout.readline() == b"works\n", f"it did not start, seed {SEED}"
        for program, what, early in batch:
            if not early:
                kill_soon(program, what, generator.random() * 0.01)
        eventually(
            nothing_left,
            PROMISED,
            step=0.01,
            what=f"no process of programs {first} to {first + len(batch)} is left, seed {SEED}",
        )
        for program, *_ in batch:
            program.wait(GUARD)
            program.stdout.close()


@pytest.mark.timeout(600)
def test_nothing_is_left_of_killed_programs(tmp_path, record_property, capsys):
    mark = uuid.uuid4().hex
    environ = {**os.environ, MARK: mark, "TMPDIR": str(tmp_path)}
    generator = random.Random(SEED)
    before = open_files(), shared_memory(), names("/dev/shm")
    try:
        run_and_kill(environ, generator, lambda: not marked(mark))
    finally:
        kill_marked(mark)  # of a run that failed
    assert names(tmp_path) == set()
    # Others' names in /dev/shm, files and memory come and go; what leaked would stay.
    eventually(lambda: not names("/dev/shm") - before[2], what="no new name in /dev/shm")
    eventually(lambda: open_files() <= before[0] + FILES, what=f"open files within {FILES}")
    eventually(
        lambda: shared_memory() <= before[1] + KIBIBYTES, what=f"Shmem within {KIBIBYTES} KiB"
    )
    said = (
        f"{PROGRAMS} programs, seed {SEED}: open files {before[0]} -> {open_files()}, "
        f"Shmem {before[1]} -> {shared_memory()} KiB"
    )
    record_property("leaks", said)
    with capsys.disabled():
        print(f"\n  {said}", end=" ")
