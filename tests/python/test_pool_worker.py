"""A worker is killed, exits hard or is stopped, at each moment of its life: what others notice."""

import os
import queue
import signal

import pytest
from deadline import GUARD
from mishaps import CODE, MISHAPS, SQUARES, come_to, goes_on
from pooled import square
from program import run_program
from under_test import NAME, mp

pytestmark = pytest.mark.skipif(NAME == "multiprocessing", reason="promises of ours")

LARGE = 64 << 20


@pytest.fixture(params=MISHAPS)
def how(request):
    """What a worker comes to."""
    return request.param


def fails_alone(result, pid, how, task):
    """The result of the task that the worker ran: it says what became of the worker."""
    if how == "stopped":
        return result.get(GUARD)
    with pytest.raises(mp.WorkerDied) as caught:
        result.get(GUARD)
    error = caught.value
    number = signal.SIGKILL if how == "killed" else None
    code = -signal.SIGKILL if how == "killed" else CODE
    assert (error.task, error.pid, error.signal, error.exitcode) == (task, pid, number, code)
    for said in task, str(pid), "SIGKILL" if how == "killed" else f"exit code {CODE}":
        assert said in str(error)
    return None


def obey(how, told):
    """As an initializer: the worker comes to it when it gets SIGUSR1, and says that it would."""
    signal.signal(signal.SIGUSR1, lambda *_: MISHAPS[how]())
    told.put(os.getpid())


def test_while_it_is_idle(ctx, how):
    told = ctx.Queue()
    with ctx.Pool(2, obey, (how, told)) as pool:
        victim = told.get(timeout=GUARD)
        assert pool.map(square, range(100)) == SQUARES
        os.kill(victim, signal.SIGUSR1)
        goes_on(pool, victim, how)


def test_in_mid_task(ctx, how):
    told = ctx.Queue()
    with ctx.Pool(2) as pool:
        result = pool.apply_async(come_to, (how, told))
        pid = told.get(timeout=GUARD)
        goes_on(pool, pid, how)
        assert fails_alone(result, pid, how, "come_to") in (None, "done")


class ComesTo:
    """What the worker comes to while this is pickled; unpickled it is None."""

    def __init__(self, how, told):
        self.how = how
        self.told = told

    def __reduce__(self):
        come_to(self.how, self.told)
        return type(None), ()


def large(how, told):
    return [bytes(LARGE), ComesTo(how, told), bytes(LARGE)]


def test_in_mid_result(ctx, how):
    told = ctx.Queue()
    with ctx.Pool(2) as pool:
        result = pool.apply_async(large, (how, told))
        pid = told.get(timeout=GUARD)
        assert len(pool.apply(bytes, (LARGE,))) == LARGE
        goes_on(pool, pid, how)
        arrived = fails_alone(result, pid, how, "large")
        if arrived is not None:
            assert [part and len(part) for part in arrived] == [LARGE, None, LARGE]


def come_to_once(how, told, left):
    try:
        left.get(timeout=0)
    except queue.Empty:
        return
    come_to(how, told)


def test_in_the_initializer(ctx, how):
    told, left = ctx.Queue(), ctx.Queue()
    left.put("once")
    with ctx.Pool(2, come_to_once, (how, told, left)) as pool:
        result = pool.map_async(square, range(100))
        pid = told.get(timeout=GUARD)
        assert result.get(GUARD) == SQUARES
        goes_on(pool, pid, how)


STARTING = """
    import sys
    import procession as mp
    from mishaps import SQUARES, AtStart, goes_on
    from pooled import square

    method, how, times, folder = sys.argv[1:]
    start = AtStart(how, int(times), folder)
"""


def test_while_it_starts(method, how, tmp_path):
    program = (
        STARTING
        + """
    if __name__ == "__main__":
        from deadline import eventually

        with mp.get_context(method).Pool(2) as pool:
            result = pool.map_async(square, range(100))
            [pid] = eventually(start.pids)
            assert result.get(20) == SQUARES
            goes_on(pool, pid, how)
        print("all went on")
    """
    )
    ended = run_program(program, method, how, 1, tmp_path)
    assert ended.lines == ["all went on"]
    assert ended.stderr == ""


@pytest.mark.parametrize("how", ["killed", "left"])
def test_each_while_it_starts(method, how, tmp_path):
    # A pool whose workers never get further is given up, after a bounded number of starts.
    program = (
        STARTING
        + """
    if __name__ == "__main__":
        with mp.get_context(method).Pool(2) as pool:
            pending = pool.apply_async(square, (3,))
            for call in lambda: pending.get(20), lambda: pool.map(square, [3]):
                try:
                    call()
                except RuntimeError as error:
                    print(str(error).partition(" before")[0])
            pool.join()
        print(2 <= len(start.pids()) <= 50)
    """
    )
    ended = run_program(program, method, how, 1000, tmp_path)
    assert ended.lines == ["the pool's workers died again and again"] * 2 + ["True"]


def leave_at_start(go, told):
    assert go.wait(GUARD)
    come_to("left", told)


def test_each_exits_hard_in_the_initializer(ctx):
    go, told = ctx.Event(), ctx.Queue()
    with ctx.Pool(2, leave_at_start, (go, told)) as pool:
        pending = pool.apply_async(square, (3,))
        go.set()
        for call in (lambda: pending.get(GUARD)), (lambda: pool.map(square, [3])):
            with pytest.raises(RuntimeError, match="died again and again"):
                call()
        pool.join()
        assert 2 <= told.qsize() <= 50


def test_terminate_with_one_stopped_while_it_starts(method, tmp_path):
    program = (
        STARTING
        + """
    if __name__ == "__main__":
        from time import monotonic
        from deadline import eventually
        from processes import gone, wait_stopped

        pool = mp.get_context(method).Pool(2)
        result = pool.map_async(square, range(100))
        [pid] = eventually(start.pids)
        wait_stopped(pid)
        began = monotonic()
        pool.terminate()
        pool.join()
        assert monotonic() - began < 4.0
        assert gone(pid)
        print("it ended")
    """
    )
    assert run_program(program, method, "stopped", 1, tmp_path).lines == ["it ended"]
