"""A pool, and what comes at an instant that nobody chose: Ctrl-C, the end of root and keeper."""

import os
import random
import signal
import subprocess
import time

import pytest
from deadline import GUARD, eventually
from processes import gone, marked
from program import Program
from seed import SEED
from under_test import NAME

pytestmark = pytest.mark.skipif(NAME == "multiprocessing", reason="promises of ours")

# Tasks that take next to no time: workers and root are everywhere in what they do.
MANY_TASKS = """
    import sys
    import procession as mp
    from pooled import square

    if __name__ == "__main__":
        with mp.get_context(sys.argv[1]).Pool(3) as pool:
            pool.map(square, range(10))
            print("works", flush=True)
            while True:
                pool.map(square, range(50), 1)
"""


def pass_time(seconds):
    """Lets so much time pass, to the microsecond."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


def test_ctrl_c_at_any_instant_of_map(method):
    generator = random.Random(SEED)
    for _ in range(10):
        with Program(MANY_TASKS, method) as program:
            assert program.line() == "works"
            pass_time(generator.random() * 0.02)
            began = time.monotonic()
            program.interrupt()
            code = program.popen.wait(GUARD)
            seconds = time.monotonic() - began
            left = max(0.1, 1.0 - seconds)
            eventually(lambda: not marked(program.mark), left, what="no orphans")
            assert seconds < 1.0, f"seed {SEED}"  # the second that is promised
            assert code == -signal.SIGINT, f"seed {SEED}\n{program.report()}"
            said = program.stderr
            assert said.count("Traceback (most recent call last)") == 1, f"seed {SEED}\n{said}"
            assert said.rstrip().endswith("KeyboardInterrupt"), f"seed {SEED}\n{said}"


STARTING = """
    import sys
    import procession as mp
    from pooled import square

    if __name__ == "__main__":
        print("starts", flush=True)
        with mp.get_context(sys.argv[1]).Pool(3) as pool:
            while True:
                pool.map(square, range(50), 1)
"""


def test_ctrl_c_at_any_instant_of_a_pools_start(method):
    # Nobody hangs, and nobody is left; main may be interrupted where its report can't be the only
    # one, as amid an import.
    generator = random.Random(SEED)
    for _ in range(10):
        with Program(STARTING, method) as program:
            assert program.line() == "starts"
            pass_time(generator.random() * (0.02 if method == "fork" else 0.2))
            began = time.monotonic()
            program.interrupt()
            try:
                code = program.popen.wait(1.0)
            except subprocess.TimeoutExpired:
                # Python drops it within the callback of a weak reference, as amid an import, and
                # says so.
                assert "Exception ignored in: <function _get_module_lock." in program.stderr, (
                    program.report()
                )
                began = time.monotonic()
                program.interrupt()
                code = program.popen.wait(GUARD)
            seconds = time.monotonic() - began
            left = max(0.1, 1.0 - seconds)
            eventually(lambda: not marked(program.mark), left, what="no orphans")
            assert seconds < 1.0, f"seed {SEED}"
            assert code == -signal.SIGINT, f"seed {SEED}\n{program.report()}"
            assert "KeyboardInterrupt" in program.stderr


BUSY = """
    import os
    import sys
    import procession as mp

    def busy(queue):
        queue.put((os.getpid(), os.getppid()))
        while True:
            pass

    if __name__ == "__main__":
        ctx = mp.get_context(sys.argv[1])
        queue = ctx.Queue()
        process = ctx.Process(target=busy, args=(queue,))
        process.start()
        child, parent = queue.get()
        # Under forkserver that is the template.
        template = [parent] if parent != os.getpid() else []
        with ctx.Pool(3) as pool:
            result = pool.map_async(busy, [queue] * 2, 1)
            workers = [pid for pid, _ in (queue.get(), queue.get())]
            print(*template, pool._keepers[-1].pid, flush=True)
            print(child, *workers, *(worker.pid for worker in pool._pool), flush=True)
            result.get()
"""


@pytest.mark.parametrize("first", ["root", "others"])
def test_root_keeper_and_template_killed_at_once(method, first):
    with Program(BUSY, method) as program:
        helpers = [int(pid) for pid in program.line().split()]
        assert len(helpers) == (2 if method == "forkserver" else 1)
        pids = {int(pid) for pid in program.line().split()}
        assert len(pids) == 4
        victims = [program.pid, *helpers] if first == "root" else [*helpers, program.pid]
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        program.popen.wait(GUARD)
        # As promised, seconds after the root's end.
        eventually(lambda: all(map(gone, {*pids, *helpers})), 2.0, what="all gone")
        eventually(lambda: not marked(program.mark), 0.5, what="nobody else is left")
        assert program.stderr == ""
