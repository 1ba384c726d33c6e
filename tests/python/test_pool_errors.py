"""What goes wrong in a pool's tasks, on either side: it fails that task alone."""

import contextlib
import os
import pickle
import signal
import sys
import threading
import traceback
from queue import Empty

import pytest
from deadline import GUARD, eventually
from pooled import square
from processes import gone
from program import run_program
from under_test import NAME, mp

pytestmark = pytest.mark.skipif(NAME == "multiprocessing", reason="promises of ours")


@pytest.fixture
def pool(ctx):
    with ctx.Pool(2) as pool:
        yield pool
        assert pool.map(square, range(10)) == [x * x for x in range(10)]  # all goes on


def raised(call, *args):
    """What a call raises."""
    with pytest.raises(BaseException) as caught:  # noqa: PT011
        call(*args)
    return caught.value


def text_of(error):
    return "".join(traceback.format_exception(type(error), error, error.__traceback__))


# --- what comes back of an exception


def raise_with_cause(text):
    try:
        {}[text]
    except KeyError as error:
        failure = LookupError(text, 5)
        failure.detail = ["a", 1]
        raise failure from error


def test_traceback_cause_and_attributes(pool):
    error = raised(pool.apply, raise_with_cause, ("lost",))
    assert type(error) is LookupError
    assert error.args == ("lost", 5)
    assert error.detail == ["a", 1]
    assert type(error.__cause__).__name__ == "RemoteTraceback"
    assert "in raise_with_cause" in str(error.__cause__)
    assert isinstance(error.__cause__.__cause__, KeyError)
    assert "raise failure from error" in text_of(error)
    assert "The above exception was the direct cause" in text_of(error)
    assert "in raise_with_cause" in text_of(error)


def divide(x):
    return 6 // x


def test_each_call_raises(pool):
    for call, items in (pool.map, [1, 0, 2]), (pool.starmap, [(1,), (0,)]):
        assert isinstance(raised(call, divide, items), ZeroDivisionError)
    for imap in pool.imap, pool.imap_unordered:
        assert isinstance(raised(list, imap(divide, [1, 0, 2])), ZeroDivisionError)
    result = pool.apply_async(divide, (0,))
    result.wait(GUARD)
    assert not result.successful()
    errors = [raised(result.get) for _ in range(2)]
    assert errors[0] is errors[1]


def raise_number(x):
    if x % 3 == 2:
        raise ValueError(x)
    return x


def test_map_raises_the_first_and_runs_the_others(ctx, pool):
    queue = ctx.Queue()
    error = raised(pool.map, put_and_raise, [(queue, x) for x in range(9)], 1)
    assert error.args == (2,)
    assert sorted(queue.get(timeout=GUARD) for _ in range(9)) == list(range(9))


def put_and_raise(pair):
    queue, x = pair
    queue.put(x)
    return raise_number(x)


class OwnSignature(Exception):
    def __init__(self, code, *, hint):
        super().__init__(f"code {code}")
        self.code = code
        self.hint = hint


class Unbuildable(Exception):
    """Can be made in workers only."""

    def __init__(self, one, two):
        super().__init__("short")
        self.pair = one, two

    def __reduce__(self):
        raise pickle.PicklingError("not this one")


class Fragile(Exception):
    """Pickles, and fails when it is unpickled."""

    def __reduce__(self):
        return fail_to_build, (self.args,)


def fail_to_build(args):
    raise RuntimeError("can't be built")


def fail_with(kind, args, kwargs):
    raise kind(*args, **kwargs)


@pytest.mark.parametrize(
    ("kind", "args", "kwargs", "attributes"),
    [
        (OwnSignature, (7,), {"hint": "try"}, {"code": 7, "hint": "try"}),
        (Unbuildable, (1, 2), {}, {"pair": (1, 2)}),
        (Fragile, ("thin",), {}, {}),
        (UnicodeDecodeError, ("utf-8", b"\xff", 0, 1, "bad"), {}, {"reason": "bad", "start": 0}),
        (PermissionError, (13, "no", "file"), {}, {"errno": 13, "filename": "file"}),
    ],
)
def test_classes_of_all_kinds(pool, kind, args, kwargs, attributes):
    error = raised(pool.apply, fail_with, (kind, args, kwargs))
    assert type(error) is kind
    for name, value in attributes.items():
        assert getattr(error, name) == value
    assert "in fail_with" in str(error.__cause__)


def test_a_class_that_can_not_be_rebuilt(pool):
    error = raised(pool.apply, fail_with_local, ("x",))
    assert isinstance(error, mp.RemoteError)
    assert error.name.endswith("Local")
    assert str(error).endswith("Local: x")
    assert error.detail == 5
    assert "in fail_with_local" in str(error.__cause__)


def fail_with_local(text):
    class Local(Exception):
        pass

    error = Local(text)
    error.detail = 5
    error.lock = threading.Lock()
    raise error


def fail_with_lock():
    error = ValueError("has a lock", threading.Lock())
    error.lock, error.number = threading.Lock(), 3
    raise error


def test_what_does_not_pickle_of_an_exception_is_left_out(pool):
    error = raised(pool.apply, fail_with_lock)
    assert type(error) is ValueError
    assert error.args[0] == "has a lock"
    assert "lock" in error.args[1]
    assert error.number == 3
    assert not hasattr(error, "lock")


# --- what does not pickle or unpickle


class BadAtUnpickling:
    def __reduce__(self):
        return fail_to_build, ((),)


def give(what):
    return {"lock": threading.Lock, "bad": BadAtUnpickling, "lambda": lambda: lambda: 0}[what]()


def take(*_):
    return "taken"


def test_result_that_does_not_pickle(pool):
    for what in "lock", "lambda":
        error = raised(pool.apply, give, (what,))
        assert isinstance(error, mp.pool.MaybeEncodingError)
        assert what in str(error)
        # How each showed itself where the result was.
        assert error.value.startswith("<")
        assert error.exc == repr(error.__cause__.__cause__)
        assert str(error) == f"Error sending result: '{error.value}'. Reason: '{error.exc}'"
        cause = error.__cause__.__cause__
        assert isinstance(cause, (TypeError, AttributeError, pickle.PicklingError))
    results = [pool.apply_async(give_or_square, (x,)) for x in range(10)]
    assert isinstance(raised(results[5].get, GUARD), mp.pool.MaybeEncodingError)
    assert [results[x].get(GUARD) for x in range(10) if x != 5] == [
        x * x for x in range(10) if x != 5
    ]


def give_or_square(x):
    return threading.Lock() if x == 5 else x * x


def test_result_that_does_not_unpickle(pool):
    error = raised(pool.apply, give, ("bad",))
    assert isinstance(error, RuntimeError)
    assert "can't be built" in str(error)
    assert isinstance(raised(pool.map, give, ["bad", "bad"]), RuntimeError)
    assert isinstance(raised(list, pool.imap(give, ["bad"])), RuntimeError)


def test_argument_that_does_not_unpickle(pool):
    for call in pool.apply, pool.map, lambda f, x: list(pool.imap_unordered(f, x)):
        error = raised(call, take, [BadAtUnpickling()])
        assert isinstance(error, RuntimeError)
        assert "in fail_to_build" in str(error.__cause__)
    good = [pool.apply_async(square, (x,)) for x in range(5)]
    bad = pool.apply_async(take, (BadAtUnpickling(),))
    assert [result.get(GUARD) for result in good] == [0, 1, 4, 9, 16]
    assert isinstance(raised(bad.get, GUARD), RuntimeError)


@pytest.mark.parametrize("what", ["argument", "function"])
def test_what_does_not_pickle_fails_its_call(pool, what):
    function, argument = (square, threading.Lock()) if what == "argument" else ((lambda x: x), 1)
    failed = []
    results = [
        pool.apply_async(function, (argument,), error_callback=failed.append),
        pool.map_async(function, [1, argument], error_callback=failed.append),
    ]
    good = pool.apply_async(square, (3,))
    errors = [raised(result.get, GUARD) for result in results]
    assert good.get(GUARD) == 9
    assert failed == errors
    for error in errors:
        assert isinstance(error, (TypeError, AttributeError, pickle.PicklingError))
        assert "pickle" in str(error) or "local" in str(error)
    for call in pool.map, pool.apply, lambda f, x: list(pool.imap(f, x)):
        assert type(raised(call, function, [argument])) is type(errors[0])


# --- ends in a task


def test_sys_exit_is_the_tasks_exception(pool):
    before = sorted(worker.pid for worker in pool._pool)
    error = raised(pool.apply, sys.exit, (3,))
    assert isinstance(error, SystemExit)
    assert error.code == 3
    assert isinstance(raised(pool.map, sys.exit, [0, 1]), SystemExit)
    assert sorted(worker.pid for worker in pool._pool) == before


class Odd(BaseException):
    pass


def raise_odd():
    raise Odd("odd")


def test_base_exceptions_come_back(pool):
    assert type(raised(pool.apply, raise_odd)) is Odd
    assert type(raised(pool.apply, fail_with, (GeneratorExit, (), {}))) is GeneratorExit


def recurse(n):
    return recurse(n + 1)


def test_recursion_without_end(pool):
    assert isinstance(raised(pool.apply, recurse, (0,)), RecursionError)


# --- callbacks


def test_a_failing_callback_is_reported_and_all_goes_on(pool, monkeypatch):
    reported, said = [], []
    monkeypatch.setattr(threading, "excepthook", reported.append)

    def fail(_):
        raise LookupError("in the callback")

    first = pool.apply_async(square, (3,), callback=fail)
    second = pool.apply_async(divide, (0,), error_callback=fail)
    third = pool.apply_async(square, (4,), callback=said.append)
    assert first.get(GUARD) == 9
    assert isinstance(raised(second.get, GUARD), ZeroDivisionError)
    assert third.get(GUARD) == 16
    assert said == [16]
    assert [report.exc_type for report in reported] == [LookupError] * 2
    assert all(report.thread is not None for report in reported)


# --- the initializer


def fail_at_start(queue, kind=LookupError):
    queue.put(os.getpid())
    raise kind("nothing to begin with")


def fail_when_told(go, queue, kind=LookupError):
    assert go.wait(GUARD)
    fail_at_start(queue, kind)


@pytest.mark.parametrize("kind", [LookupError, SystemExit])
def test_a_failing_initializer_breaks_the_pool(ctx, kind):
    go, queue = ctx.Event(), ctx.Queue()
    with ctx.Pool(2, fail_when_told, (go, queue, kind)) as pool:
        failed = []
        pending = [
            pool.apply_async(square, (2,)),
            pool.map_async(square, [1], error_callback=failed.append),
        ]
        go.set()
        errors = [raised(result.get, GUARD) for result in pending]
        errors += failed
        assert len(failed) == 1
        for call in pool.map, pool.apply_async, pool.imap:
            errors.append(raised(call, square, [1]))
        for error in errors:
            assert type(error) is kind
            assert error.args == ("nothing to begin with",)
            assert "in fail_at_start" in str(error.__cause__)
        pool.join()
        assert 2 <= queue.qsize() <= 6
        assert len(pool._pool) == 0


def test_a_failing_initializer_ends_what_waits(ctx):
    queue = ctx.Queue()
    with ctx.Pool(1, fail_at_start, (queue,)) as pool:
        assert isinstance(raised(lambda: list(pool.imap(square, iter(int, 1)))), LookupError)
    with ctx.Pool(1, fail_at_start, (queue,)) as pool:
        pool.close()
        pool.join()


def fail_at_first(failures, failed):
    with contextlib.suppress(Empty):
        failure = failures.get(timeout=0)
        failed.put(os.getpid())
        raise failure


def test_an_initializer_that_fails_once(ctx):
    failures, failed = ctx.Queue(), ctx.Queue()
    failures.put(LookupError("at first"))
    with ctx.Pool(4, fail_at_first, (failures, failed)) as pool:
        assert pool.map(square, [1, 2]) == [1, 4]
        pid = failed.get(timeout=GUARD)
        eventually(lambda: gone(pid))
        for worker in pool._pool:  # these have not failed at the start
            os.kill(worker.pid, signal.SIGKILL)
        assert pool.map(square, [1, 2]) == [1, 4]


def test_a_failing_main_module_breaks_the_pool():
    source = """
        import procession as mp

        if __name__ == "__main__":
            with mp.get_context("spawn").Pool(2) as pool:
                try:
                    pool.map(abs, [1])
                except RuntimeError as error:
                    print(error)
        else:
            raise SystemExit(7)
    """
    ended = run_program(source)
    assert "exit code 7" in ended.stdout
