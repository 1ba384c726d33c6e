"""The root's death: all its children end with it, in time."""

import random
import time

import pytest
from deadline import GUARD, eventually
from processes import gone, marked, wait_stopped
from program import Program
from seed import SEED
from under_test import METHODS

# The promise: within this after the root, all its children are gone.
PROMISED = 2.0


FAMILY = """
    import os
    import signal
    import sys
    import procession as mp

    def tell(queue):
        queue.put(os.getpid())

    def busy(queue):
        tell(queue)
        while True:
            pass

    def waits(queue, other):
        tell(queue)
        other.get()

    def ignores(queue):
        for number in signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGIO:
            signal.signal(number, signal.SIG_IGN)
        tell(queue)
        while True:
            signal.pause()

    def parent(queue, method):
        ctx = mp.get_context(method)
        ctx.Process(target=busy, args=(queue,)).start()
        ctx.Process(target=waits, args=(queue, ctx.Queue())).start()
        tell(queue)
        mp.Event().wait()

    if __name__ == "__main__":
        method = sys.argv[1]
        ctx = mp.get_context(method)
        queue, other = ctx.Queue(), ctx.Queue()
        ctx.Process(target=busy, args=(queue,)).start()
        ctx.Process(target=busy, args=(queue,), daemon=True).start()
        ctx.Process(target=waits, args=(queue, other)).start()
        ctx.Process(target=ignores, args=(queue,)).start()
        ctx.Process(target=parent, args=(queue, method)).start()
        print(*[queue.get() for _ in range(7)], flush=True)
        {last}
"""


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "last",
    [
        pytest.param("signal.pause()", id="killed"),
        pytest.param("os.kill(os.getpid(), signal.SIGTERM)", id="terminated"),
        pytest.param("os._exit(0)", id="_exit"),
    ],
)
def test_children_and_grandchildren_end_with_the_root(method, last):
    with Program(FAMILY.replace("{last}", last), method) as program:
        pids = list(map(int, program.line().split()))
        assert len(set(pids)) == 7
        if last == "signal.pause()":
            assert not any(map(gone, pids))
            program.kill_root()
        program.popen.wait(GUARD)
        eventually(lambda: all(map(gone, pids)), PROMISED, what="all gone")


@pytest.mark.parametrize("method", METHODS)
def test_the_root_is_killed_while_it_starts_children(method):
    source = """
        import sys
        import procession as mp

        def child():
            mp.Event().wait()

        if __name__ == "__main__":
            ctx = mp.get_context(sys.argv[1])
            print("starts", flush=True)
            for _ in range(30):
                ctx.Process(target=child).start()
            mp.Event().wait()
    """
    generator = random.Random(SEED)
    for _ in range(5):
        with Program(source, method) as program:
            program.line()
            until = time.perf_counter() + generator.random() * (0.05 if method == "fork" else 0.3)
            while time.perf_counter() < until:
                pass
            program.kill_root()
            program.popen.wait(GUARD)
            eventually(
                lambda mark=program.mark: not marked(mark), PROMISED, what=f"all gone, seed {SEED}"
            )


def test_a_stopped_child_ends_with_the_root(method):
    source = """
        import os
        import signal
        import sys
        import procession as mp

        def child(queue):
            queue.put(os.getpid())
            os.kill(os.getpid(), signal.SIGSTOP)
            while True:
                pass

        if __name__ == "__main__":
            ctx = mp.get_context(sys.argv[1])
            queue = ctx.Queue()
            ctx.Process(target=child, args=(queue,)).start()
            print(queue.get(), flush=True)
            signal.pause()
    """
    with Program(source, method) as program:
        pid = int(program.line())
        wait_stopped(pid)
        program.kill_root()
        eventually(lambda: gone(pid), PROMISED)
