"""The words of the package by threads: `dummy`, and `pool.ThreadPool`."""

import gc
import subprocess
import sys
import threading
import weakref

import pytest
from deadline import GUARD, eventually
from program import run_program
from under_test import NAME, mp

dummy = __import__(f"{NAME}.dummy", fromlist=["*"])
ThreadPool = __import__(f"{NAME}.pool", fromlist=["*"]).ThreadPool

ours = pytest.mark.skipif(NAME == "multiprocessing", reason="a promise of ours")


@pytest.fixture
def pool():
    with ThreadPool(2) as pool:
        yield pool


def square(x):
    return x * x


def fail(x):
    raise KeyError(x)


# --- the module


def test_words():
    for name in dummy.__all__:
        assert hasattr(dummy, name), name
    for name in "Namespace", "dict", "list", "connection", "shutdown":
        assert hasattr(dummy, name), name


def test_processes_are_threads():
    seen = []
    process = dummy.Process(target=lambda: seen.append(threading.get_ident()), name="thread")
    process.start()
    process.join(GUARD)
    assert (process.exitcode, process.name, len(seen)) == (0, "thread", 1)
    assert seen[0] != threading.get_ident()
    assert dummy.current_process() is threading.current_thread()


def test_pipes_and_queues():
    one, other = dummy.Pipe()
    item = object()
    one.send(item)
    assert other.poll(0)
    assert other.recv() is item
    tasks = dummy.JoinableQueue()
    tasks.put(item)
    assert tasks.get() is item
    tasks.task_done()
    tasks.join()


def test_manager_is_the_module():
    manager = dummy.Manager()
    assert (manager.list([1]), manager.dict(a=1)) == ([1], {"a": 1})
    assert manager.Value("i", 3).value == 3
    assert manager.Array("i", [1, 2])[1] == 2
    assert manager.Namespace(a=1).a == 1
    if NAME == "procession":
        assert manager.set([1]) == {1}


def test_pool_is_of_threads():
    with dummy.Pool(1) as pool:
        assert isinstance(pool, ThreadPool)
        assert pool.apply(lambda: 3) == 3


# --- ThreadPool


@ours
def test_it_is_the_standard_librarys(pool):
    from multiprocessing import pool as standard

    assert isinstance(pool, standard.ThreadPool)
    assert isinstance(pool, standard.Pool)
    assert isinstance(pool.apply_async(square, (2,)), standard.AsyncResult)


def test_every_call(pool):
    assert pool.apply(divmod, (7, 2)) == (3, 1)
    assert pool.apply(dict, (), {"a": 1}) == {"a": 1}
    assert pool.map(square, range(10)) == [x * x for x in range(10)]
    assert pool.map(square, range(10), 3) == [x * x for x in range(10)]
    assert pool.map(square, []) == []
    assert pool.starmap(pow, [(2, 3), (3, 2)]) == [8, 9]
    assert pool.map_async(square, iter([3])).get(GUARD) == [9]
    assert pool.starmap_async(pow, [(2, 2)]).get(GUARD) == [4]
    assert list(pool.imap(square, range(10))) == [x * x for x in range(10)]
    assert list(pool.imap(square, range(10), 3)) == [x * x for x in range(10)]
    assert sorted(pool.imap_unordered(square, range(10), 4)) == [x * x for x in range(10)]
    assert list(pool.imap(square, [])) == []


def test_results(pool):
    event = threading.Event()
    result = pool.apply_async(event.wait)
    assert not result.ready()
    with pytest.raises(ValueError, match="not ready"):
        result.successful()
    with pytest.raises(mp.TimeoutError):
        result.get(0.01)
    event.set()
    result.wait(GUARD)
    assert (result.ready(), result.successful(), result.get()) == (True, True, True)
    failed = pool.apply_async(fail, (1,))
    with pytest.raises(KeyError):
        failed.get(GUARD)
    assert not failed.successful()


def test_callbacks(pool):
    done, failed = [], []
    pool.apply_async(square, (3,), callback=done.append).wait(GUARD)
    pool.map_async(square, [1, 2], callback=done.append).wait(GUARD)
    pool.apply_async(fail, (3,), error_callback=failed.append).wait(GUARD)
    pool.map_async(fail, [5, 6], error_callback=failed.append).wait(GUARD)
    assert done == [9, [1, 4]]
    assert [error.args for error in failed] == [(3,), (5,)]


@ours
def test_a_failing_callback_is_reported_and_all_goes_on(pool, monkeypatch):
    reported = []
    monkeypatch.setattr(threading, "excepthook", lambda args: reported.append(args.exc_type))
    assert pool.apply_async(square, (3,), callback=fail).get(GUARD) == 9
    assert reported == [KeyError]
    assert pool.apply(square, (4,)) == 16


@ours
@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_any_exception_is_the_tasks(pool, error):
    def leave(_):
        raise error(3)

    for _ in range(4):
        with pytest.raises(error):
            pool.apply_async(leave, (1,)).get(GUARD)
        with pytest.raises(error):
            pool.map_async(leave, [1, 2]).get(GUARD)
    assert pool.map(square, range(5)) == [0, 1, 4, 9, 16]


def test_imap_of_an_input_that_fails(pool):
    def numbers():
        yield 1
        yield 2
        raise KeyError("input")

    results = pool.imap(square, numbers())
    assert (next(results), next(results)) == (1, 4)
    with pytest.raises(KeyError, match="input"):
        next(results)
    with pytest.raises(StopIteration):
        next(results)


def test_imap_of_a_call_that_fails(pool):
    results = pool.imap(lambda x: 1 // x, [1, 0, 1])
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert next(results) == 1


def test_imap_with_a_time_limit(pool):
    event = threading.Event()
    results = pool.imap(lambda _: event.wait(), [1])
    with pytest.raises(mp.TimeoutError):
        results.next(timeout=0.01)
    event.set()
    assert results.next(timeout=GUARD)


@ours
def test_buffersize_bounds_what_is_read(pool):
    read = []

    def numbers():
        for number in range(100):
            read.append(number)
            yield number

    results = pool.imap(square, numbers(), buffersize=4)
    eventually(lambda: len(read) == 4)
    assert next(results) == 0
    eventually(lambda: len(read) == 5)
    assert list(results) == [x * x for x in range(1, 100)]


@ours
def test_a_blocked_input_holds_up_nobody(pool):
    event = threading.Event()

    def numbers():
        event.wait()
        yield 1

    results = pool.imap(square, numbers())
    assert pool.map(square, range(5)) == [0, 1, 4, 9, 16]
    event.set()
    assert list(results) == [1]


def test_close_and_join():
    pool = ThreadPool(2)
    event = threading.Event()
    result = pool.apply_async(event.wait)
    inputs = pool.imap(square, range(50))
    pool.close()
    for call in pool.apply, pool.apply_async, pool.map, pool.imap:
        with pytest.raises(ValueError, match="not running"):
            call(square, (1,))
    event.set()
    pool.join()
    assert result.get(0)
    assert list(inputs) == [x * x for x in range(50)]


def test_join_before_close(pool):
    with pytest.raises(ValueError, match="still running"):
        pool.join()


@ours
def test_terminate_settles_every_result():
    event = threading.Event()
    pool = ThreadPool(1)
    running, waiting = pool.apply_async(event.wait), pool.map_async(square, range(10))
    results = pool.imap(square, range(10))
    pool.terminate()
    for result in running, waiting:
        with pytest.raises(mp.PoolTerminated):
            result.get(GUARD)
    with pytest.raises(mp.PoolTerminated):
        results.next(timeout=GUARD)
    event.set()
    pool.join()


@ours
def test_terminate_and_join_at_once_after_long_tasks():
    event, pool = threading.Event(), ThreadPool(3)
    results = pool.map_async(event.wait, [GUARD] * 10000, chunksize=1)
    pool.terminate()
    pool.join()
    event.set()
    with pytest.raises(mp.PoolTerminated):
        results.get(0)


@ours
def test_a_failing_initializer_breaks_the_pool():
    pool = ThreadPool(2, fail, (1,))
    try:
        result = pool.map_async(square, range(100))
    except KeyError:
        result = None  # it was faster
    if result is not None:
        with pytest.raises(KeyError):
            result.get(GUARD)
    with pytest.raises(KeyError):
        pool.apply(square, (1,))
    pool.terminate()
    pool.join()


def test_initializer():
    local = threading.local()
    with ThreadPool(2, lambda value: setattr(local, "value", value), (3,)) as pool:
        assert pool.map(lambda _: local.value, range(10)) == [3] * 10


def test_wrong_arguments(pool):
    with pytest.raises(ValueError, match="at least 1"):
        ThreadPool(0)
    with pytest.raises(TypeError, match="callable"):
        ThreadPool(1, "initializer")
    with pytest.raises(ValueError, match="Chunksize"):
        pool.imap(square, [1], 0)


def test_threads_of_a_forgotten_pool_end():
    pool = ThreadPool(2)
    assert pool.apply(square, (2,)) == 4
    threads, gone = list(pool._pool), weakref.ref(pool)
    with pytest.warns(ResourceWarning, match="unclosed running"):  # noqa: PT031
        del pool
        gc.collect()
    assert gone() is None
    for thread in threads:
        thread.join(GUARD)
        assert not thread.is_alive()


def test_the_interpreter_ends_beside_a_pool():
    source = """
        import threading
        from procession.pool import ThreadPool

        pool = ThreadPool(2)
        pool.apply_async(threading.Event().wait)
        results = pool.imap(abs, iter([1, 2, 3]))
        print(next(results), flush=True)
    """
    assert run_program(source).stdout == "1\n"


@ours
def test_no_semaphore_is_created():
    # In a process whose semaphores of the standard library can't be made.
    source = """
import _multiprocessing
del _multiprocessing.SemLock
from procession import dummy
with dummy.Pool(2) as pool:
    print(pool.map(abs, [-1]), list(pool.imap(abs, [-2])))
"""
    ended = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, timeout=GUARD, check=False
    )
    assert (ended.stdout, ended.stderr) == ("[1] [2]\n", "")
