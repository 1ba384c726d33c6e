"""Wrong calls: each raises what it raises in multiprocessing, unless its row says why not.

Each row is a call on a module, which is either; `ours` is where we differ, and why.
"""

import contextlib
import importlib
import multiprocessing
import multiprocessing.connection
import pickle
import queue
import sys
import threading
from typing import Any, Callable, NamedTuple, Optional

import pytest
from under_test import mp

pytestmark = [
    pytest.mark.timeout(60),
    # What the standard library leaves open after an error is not ours to judge.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


class Row(NamedTuple):
    """A wrong call, what it raises, and what it raises here if that is not the same."""

    call: Callable[[Any], Any]
    raises: type
    ours: Optional[type] = None
    why: str = ""
    # Python versions before it look at the call less closely, and are not asked.
    since: tuple[int, int] = (3, 9)


ROWS: dict[str, Row] = {}


def wrong(raises, ours=None, why="", *, since=(3, 9)):
    """The function is a row: it makes a wrong call on the module that it is given."""
    assert (ours is None) == (not why)

    def add(call):
        assert call.__name__ not in ROWS
        ROWS[call.__name__] = Row(call, raises, ours, why, since)
        return call

    return add


def submodule(m, name):
    """A module of the package."""
    return importlib.import_module(f"{m.__name__}.{name}")


def nothing():
    """A target."""


def fail():
    """A task."""
    raise LookupError("a task's own")


unpicklable = lambda: None  # noqa: E731
NONE: type = type(None)  # it raises nothing


@contextlib.contextmanager
def started(m):
    process = m.Process(target=nothing)
    process.start()
    try:
        yield process
    finally:
        process.join()


# --- processes


@wrong(AssertionError)
def start_twice(m):
    with started(m) as process:
        process.start()


@wrong(AssertionError)
def join_before_start(m):
    m.Process(target=nothing).join()


@wrong(AssertionError)
def process_with_a_group(m):
    m.Process(group="group", target=nothing)


@wrong(AssertionError)
def name_that_is_no_string(m):
    m.Process(target=nothing).name = 5


@wrong(AssertionError)
def daemon_after_start(m):
    with started(m) as process:
        process.daemon = True


@wrong(AssertionError)
def start_of_a_started_copy(m):
    with started(m) as process:
        process.join()
        process.start()


@wrong(ValueError)
def is_alive_after_close(m):
    with started(m) as process:
        pass
    process.close()
    process.is_alive()


@wrong(ValueError)
def join_after_close(m):
    with started(m) as process:
        pass
    process.close()
    process.join()


@wrong(ValueError)
def exitcode_after_close(m):
    with started(m) as process:
        pass
    process.close()
    process.exitcode


@wrong(ValueError)
def sentinel_before_start(m):
    m.Process(target=nothing).sentinel


@wrong(ValueError)
def close_while_it_runs(m):
    event = m.Event()
    process = m.Process(target=event.wait)
    process.start()
    try:
        process.close()
    finally:
        event.set()
        process.join()


@wrong(AttributeError)
def terminate_before_start(m):
    m.Process(target=nothing).terminate()


@wrong(AttributeError)
def kill_before_start(m):
    m.Process(target=nothing).kill()


@wrong(TypeError)
def pickled_process_outside_of_a_start(m):
    with started(m) as process:
        pickle.dumps(process)


@wrong(TypeError)
def authkey_that_is_a_string(m):
    m.Process(target=nothing).authkey = "secret"


@wrong(TypeError)
def args_that_are_no_sequence(m):
    m.Process(target=nothing, args=5)


@wrong(TypeError)
def keyword_that_is_none_of_process(m):
    m.Process(target=nothing, priority=3)


@wrong((AttributeError, pickle.PicklingError))
def target_that_does_not_pickle_under_spawn(m):
    m.get_context("spawn").Process(target=unpicklable).start()


@wrong(TypeError)
def join_with_a_string(m):
    with started(m) as process:
        process.join("soon")


# --- contexts and start methods


@wrong(ValueError)
def unknown_context(m):
    m.get_context("teleport")


@wrong(ValueError)
def unknown_start_method(m):
    m.set_start_method("teleport", force=True)


@wrong(RuntimeError)
def start_method_set_twice(m):
    m.get_start_method()
    m.set_start_method("fork")


@wrong(ValueError)
def start_method_of_a_concrete_context(m):
    m.get_context("fork").set_start_method("spawn")


@wrong(TypeError, since=(3, 11))
def preload_of_what_is_no_list_of_names(m):
    m.set_forkserver_preload([1, 2])


# --- queues


@wrong(queue.Empty)
def get_nowait_of_an_empty_queue(m):
    m.Queue().get_nowait()


@wrong(queue.Empty)
def get_with_a_negative_timeout(m):
    m.Queue().get(timeout=-1)


@wrong(queue.Full)
def put_nowait_on_a_full_queue(m):
    full = m.Queue(1)
    full.put(1)
    full.cancel_join_thread()
    full.put_nowait(2)


@wrong(queue.Full)
def put_with_a_negative_timeout(m):
    full = m.Queue(1)
    full.put(1)
    full.cancel_join_thread()
    full.put(2, timeout=-1)


@wrong(ValueError)
def put_on_a_closed_queue(m):
    closed = m.Queue()
    closed.close()
    closed.put(1)


@wrong(ValueError)
def get_from_a_closed_queue(m):
    closed = m.Queue()
    closed.close()
    closed.get()


@wrong(ValueError)
def get_nowait_from_a_closed_queue(m):
    closed = m.Queue()
    closed.close()
    closed.get_nowait()


@wrong(TypeError)
def maxsize_that_is_a_string(m):
    m.Queue("3")


@wrong(TypeError)
def timeout_of_get_that_is_a_string(m):
    m.Queue().get(True, "soon")


@wrong(TypeError)
def put_of_nothing(m):
    m.Queue().put()


@wrong(AssertionError)
def join_thread_before_close(m):
    m.Queue().join_thread()


@wrong(
    NONE,
    (AttributeError, pickle.PicklingError),
    "put() itself raises; there the item is lost and a thread prints a traceback",
)
def put_of_what_does_not_pickle(m):
    lossy = m.Queue()
    with quiet():
        lossy.put(unpicklable)
        lossy.close()
        lossy.join_thread()


@contextlib.contextmanager
def quiet():
    """What a thread prints is no matter here."""
    stderr, sys.stderr = sys.stderr, open("/dev/null", "w")  # noqa: SIM115
    try:
        yield
    finally:
        sys.stderr.close()
        sys.stderr = stderr


@wrong(ValueError)
def task_done_without_items(m):
    m.JoinableQueue().task_done()


@wrong(ValueError)
def task_done_too_often(m):
    work = m.JoinableQueue()
    work.put(1)
    work.get()
    work.task_done()
    work.task_done()


@wrong(OSError)
def put_on_a_closed_simple_queue(m):
    closed = m.SimpleQueue()
    closed.close()
    closed.put(1)


@wrong(OSError)
def get_from_a_closed_simple_queue(m):
    closed = m.SimpleQueue()
    closed.close()
    closed.get()


@wrong((AttributeError, pickle.PicklingError))
def put_of_what_does_not_pickle_on_a_simple_queue(m):
    m.SimpleQueue().put(unpicklable)


@wrong(TypeError)
def bound_of_a_simple_queue(m):
    m.SimpleQueue(3)


SHARED = "it may be pickled at any time: shared objects travel through each other"


@wrong(RuntimeError, NONE, SHARED)
def pickled_queue(m):
    pickle.dumps(m.Queue())


@wrong(RuntimeError, NONE, SHARED)
def pickled_lock(m):
    pickle.dumps(m.Lock())


@wrong(RuntimeError, NONE, SHARED)
def pickled_condition(m):
    pickle.dumps(m.Condition())


@wrong(RuntimeError, NONE, SHARED)
def pickled_simple_queue(m):
    pickle.dumps(m.SimpleQueue())


# --- locks and their like


@wrong(ValueError)
def release_of_a_lock_that_nobody_holds(m):
    m.Lock().release()


@wrong(AssertionError)
def release_of_an_rlock_that_nobody_holds(m):
    m.RLock().release()


@wrong(AssertionError)
def release_of_an_rlock_that_another_thread_holds(m):
    lock = m.RLock()
    thread = threading.Thread(target=lock.acquire)
    thread.start()
    thread.join()
    lock.release()


@wrong(ValueError)
def release_of_a_bounded_semaphore_above_its_bound(m):
    m.BoundedSemaphore(2).release()


NEGATIVE = "an error of the value, as threading has it, not one of the system"


@wrong(OSError, ValueError, NEGATIVE)
def semaphore_of_a_negative_value(m):
    m.Semaphore(-1)


@wrong(OSError, ValueError, NEGATIVE)
def bounded_semaphore_of_a_negative_value(m):
    m.BoundedSemaphore(-1)


@wrong(TypeError)
def semaphore_of_a_string(m):
    m.Semaphore("two")


@wrong((OverflowError, ValueError))
def semaphore_of_a_giant_value(m):
    m.Semaphore(1 << 70)


@wrong(TypeError)
def acquire_with_a_string_as_timeout(m):
    m.Lock().acquire(True, "soon")


@wrong(TypeError)
def acquire_with_an_unknown_keyword(m):
    m.Lock().acquire(blocking=False)


@wrong(AssertionError)
def notify_without_the_lock(m):
    m.Condition().notify()


@wrong(AssertionError)
def notify_all_without_the_lock(m):
    m.Condition().notify_all()


@wrong(AssertionError)
def wait_at_a_condition_without_its_lock(m):
    m.Condition().wait()


@wrong(AssertionError)
def wait_for_at_a_condition_without_its_lock(m):
    m.Condition().wait_for(lambda: False)


@wrong(AssertionError)
def release_of_a_condition_that_nobody_holds(m):
    m.Condition().release()


@wrong(AttributeError, TypeError, "said at once, and what it needs")
def condition_on_what_is_no_lock(m):
    m.Condition(5)


@wrong(threading.BrokenBarrierError)
def wait_at_an_aborted_barrier(m):
    barrier = m.Barrier(2)
    barrier.abort()
    barrier.wait()


@wrong(threading.BrokenBarrierError)
def wait_at_a_barrier_that_nobody_else_reaches(m):
    m.Barrier(2).wait(0.01)


@wrong(NONE if sys.version_info < (3, 13) else ValueError, ValueError, "on each Python")
def barrier_of_nobody(m):
    m.Barrier(0)


@wrong(NONE, TypeError, "said at once, and not when somebody waits")
def barrier_of_a_string(m):
    m.Barrier("two")


@wrong(ZeroDivisionError)
def barrier_whose_action_raises(m):
    m.Barrier(1, lambda: 1 / 0).wait()


@wrong(TypeError)
def event_wait_with_a_string(m):
    m.Event().wait("soon")


# --- pipes


@wrong(OSError)
def send_on_a_closed_connection(m):
    one, _other = m.Pipe()
    one.close()
    one.send(1)


@wrong(OSError)
def fileno_of_a_closed_connection(m):
    one, _other = m.Pipe()
    one.close()
    one.fileno()


@wrong(OSError)
def poll_on_a_closed_connection(m):
    one, _other = m.Pipe()
    one.close()
    one.poll()


@wrong(EOFError)
def recv_when_the_other_end_is_closed(m):
    one, other = m.Pipe()
    other.close()
    one.recv()


@wrong(BrokenPipeError)
def send_when_the_other_end_is_closed(m):
    one, other = m.Pipe()
    other.close()
    one.send(1)


@wrong(OSError)
def send_on_the_reading_end(m):
    reader, _writer = m.Pipe(duplex=False)
    reader.send(1)


@wrong(OSError)
def recv_on_the_writing_end(m):
    _reader, writer = m.Pipe(duplex=False)
    writer.recv()


@wrong(TypeError)
def send_bytes_of_a_string(m):
    one, _other = m.Pipe()
    one.send_bytes("text")


@wrong(ValueError)
def send_bytes_from_a_negative_offset(m):
    one, _other = m.Pipe()
    one.send_bytes(b"abc", -1)


@wrong(ValueError)
def send_bytes_beyond_the_end(m):
    one, _other = m.Pipe()
    one.send_bytes(b"abc", 4)


@wrong(ValueError)
def send_bytes_of_a_negative_size(m):
    one, _other = m.Pipe()
    one.send_bytes(b"abc", 0, -1)


@wrong(ValueError)
def recv_bytes_of_a_negative_length(m):
    one, _other = m.Pipe()
    one.recv_bytes(-1)


@wrong(OSError)
def recv_bytes_of_more_than_allowed(m):
    one, other = m.Pipe()
    other.send_bytes(b"0123456789")
    one.recv_bytes(3)


@wrong(multiprocessing.BufferTooShort)
def recv_bytes_into_too_little(m):
    one, other = m.Pipe()
    other.send_bytes(b"0123456789")
    one.recv_bytes_into(bytearray(3))


@wrong((AttributeError, pickle.PicklingError))
def send_of_what_does_not_pickle(m):
    one, _other = m.Pipe()
    one.send(unpicklable)


# --- pools


@wrong(ValueError)
def pool_of_no_workers(m):
    m.Pool(0)


@wrong(ValueError)
def pool_of_less_than_no_workers(m):
    m.Pool(-2)


@wrong(TypeError)
def pool_of_a_string(m):
    m.Pool("two")


@wrong(TypeError)
def initializer_that_can_not_be_called(m):
    m.Pool(1, initializer=5)


@wrong(ValueError, since=(3, 11))
def maxtasksperchild_of_none(m):
    m.Pool(1, maxtasksperchild=0)


@wrong(ValueError)
def apply_on_a_closed_pool(m):
    with m.Pool(1) as pool:
        pool.close()
        pool.apply(nothing)


@wrong(ValueError)
def map_on_a_terminated_pool(m):
    pool = m.Pool(1)
    pool.terminate()
    pool.join()
    pool.map(abs, [1])


@wrong(ValueError)
def imap_on_a_closed_pool(m):
    with m.Pool(1) as pool:
        pool.close()
        pool.imap(abs, [1])


@wrong(ValueError)
def join_of_a_running_pool(m):
    with m.Pool(1) as pool:
        pool.join()


@wrong(ValueError)
def with_a_closed_pool(m):
    pool = m.Pool(1)
    try:
        pool.close()
        with pool:
            pass
    finally:
        pool.terminate()
        pool.join()


@wrong(ValueError)
def imap_with_chunks_of_none(m):
    with m.Pool(1) as pool:
        pool.imap(abs, [1], chunksize=0)


@wrong(ValueError)
def imap_unordered_with_negative_chunks(m):
    with m.Pool(1) as pool:
        pool.imap_unordered(abs, [1], chunksize=-1)


@wrong(TypeError)
def map_over_what_is_no_iterable(m):
    with m.Pool(1) as pool:
        pool.map(abs, 5)


@wrong(TypeError)
def starmap_over_what_are_no_arguments(m):
    with m.Pool(1) as pool:
        pool.starmap(abs, [1, 2])


@wrong(LookupError)
def apply_of_what_raises(m):
    with m.Pool(1) as pool:
        pool.apply(fail)


@wrong(multiprocessing.TimeoutError)
def result_that_is_not_there_in_time(m):
    with m.Pool(1) as pool:
        pool.apply_async(m.Event().wait if m is mp else sleep_long).get(timeout=0.01)


def sleep_long():
    threading.Event().wait(30)


@wrong(ValueError)
def successful_before_it_is_ready(m):
    with m.Pool(1) as pool:
        pool.apply_async(sleep_long).successful()


@wrong((AttributeError, pickle.PicklingError))
def task_that_does_not_pickle(m):
    with m.Pool(1) as pool:
        pool.apply(unpicklable)


@wrong(NotImplementedError)
def pickled_pool(m):
    with m.Pool(1) as pool:
        pickle.dumps(pool)


@wrong(TypeError)
def apply_with_args_that_are_none(m):
    with m.Pool(1) as pool:
        pool.apply(nothing, 5)


# --- shared values


@wrong((KeyError, TypeError))
def value_of_an_unknown_typecode(m):
    m.Value("Q?")


@wrong(TypeError)
def value_of_another_type(m):
    m.Value("i", "three")


@wrong(TypeError)
def array_of_texts(m):
    m.Array("i", ["a", "b"])


@wrong(ValueError)
def array_of_a_negative_size(m):
    m.Array("i", -1)


@wrong(IndexError)
def index_beyond_an_array(m):
    m.Array("i", 3)[3]


@wrong(AttributeError)
def value_with_what_is_no_lock(m):
    m.Value("i", lock=5)


@wrong(AttributeError)
def lock_of_a_raw_value(m):
    m.RawValue("i").get_lock()


@wrong(TypeError)
def assignment_of_another_type(m):
    m.Value("i").value = "three"


@wrong(ValueError)
def shared_memory_of_no_size(m):
    submodule(m, "shared_memory").SharedMemory(create=True, size=0)


@wrong(ValueError)
def shared_memory_of_a_negative_size(m):
    submodule(m, "shared_memory").SharedMemory(create=True, size=-5)


@wrong(FileNotFoundError)
def shared_memory_that_is_not_there(m):
    submodule(m, "shared_memory").SharedMemory("procession-no-such-name")


@wrong(ValueError)
def shared_memory_without_a_name(m):
    submodule(m, "shared_memory").SharedMemory()


@wrong(FileExistsError)
def shared_memory_made_twice(m):
    SharedMemory = submodule(m, "shared_memory").SharedMemory
    first = SharedMemory(create=True, size=8)
    try:
        SharedMemory(first.name, create=True, size=8)
    finally:
        first.close()
        first.unlink()


@contextlib.contextmanager
def shareable_list(m, items):
    made = submodule(m, "shared_memory").ShareableList(items)
    try:
        yield made
    finally:
        made.shm.close()
        made.shm.unlink()


@wrong(IndexError)
def index_beyond_a_shareable_list(m):
    with shareable_list(m, [1, 2]) as made:
        made[2]


@wrong(ValueError)
def text_longer_than_its_place_in_a_shareable_list(m):
    with shareable_list(m, ["ab"]) as made:
        made[0] = "much longer than eight characters"


@wrong(ValueError)
def index_of_what_a_shareable_list_has_not(m):
    with shareable_list(m, [1, 2]) as made:
        made.index(3)


# --- listeners and clients


@wrong(TypeError)
def key_of_a_listener_that_is_a_string(m):
    submodule(m, "connection").Listener(authkey="secret")


@wrong(ValueError)
def listener_of_an_unknown_family(m):
    submodule(m, "connection").Listener(family="AF_CARRIER_PIGEON")


@wrong(TypeError)
def client_of_an_address_of_no_kind(m):
    submodule(m, "connection").Client(5)


@wrong(TypeError)
def key_of_a_client_that_is_a_string(m):
    connection = submodule(m, "connection")
    with connection.Listener() as listener:
        connection.Client(listener.address, authkey="secret")


@wrong(FileNotFoundError)
def client_of_an_address_where_nobody_listens(m):
    submodule(m, "connection").Client("/procession-no-such-socket")


@wrong(OSError)
def accept_on_a_closed_listener(m):
    listener = submodule(m, "connection").Listener()
    listener.close()
    listener.accept()


@wrong(multiprocessing.AuthenticationError)
def client_with_another_key(m):
    connection = submodule(m, "connection")
    with connection.Listener(authkey=b"one") as listener:
        accepts = threading.Thread(target=swallow, args=(listener.accept,))
        accepts.start()
        try:
            connection.Client(listener.address, authkey=b"another")
        finally:
            accepts.join()


def swallow(call):
    with contextlib.suppress(Exception):
        call()


# --- managers


@wrong((AssertionError, multiprocessing.ProcessError))
def manager_started_twice(m):
    with submodule(m, "managers").BaseManager() as manager:
        manager.start()


@wrong((AssertionError, multiprocessing.ProcessError))
def server_of_a_started_manager(m):
    with submodule(m, "managers").BaseManager() as manager:
        manager.get_server()


@wrong(AttributeError)
def manager_of_no_such_kind(m):
    with m.Manager() as manager:
        manager.unicorn()


@wrong(AttributeError)
def method_that_is_not_exposed(m):
    with m.Manager() as manager:
        manager.list()._grow()


@wrong(IndexError)
def what_a_managed_object_raises(m):
    with m.Manager() as manager:
        manager.list()[5]


@wrong(queue.Empty)
def managed_queue_that_is_empty(m):
    with m.Manager() as manager:
        manager.Queue().get_nowait()


@wrong(TypeError)
def initializer_of_a_manager_that_can_not_be_called(m):
    submodule(m, "managers").BaseManager().start(5)


@wrong(AttributeError)
def shutdown_of_a_manager_before_its_start(m):
    submodule(m, "managers").BaseManager().shutdown()


# --- the table


def raised_by(module, call):
    """What the call raises; NoneType if nothing."""
    try:
        call(module)
    except Exception as error:
        return type(error)
    return NONE


def is_one_of(found, expected):
    return issubclass(found, expected)


@pytest.mark.parametrize("name", ROWS)
def test_wrong_call(name):
    row = ROWS[name]
    if mp is not multiprocessing:
        found = raised_by(mp, row.call)
        assert is_one_of(found, row.ours or row.raises), found
    if sys.version_info < row.since:
        return
    theirs = raised_by(multiprocessing, row.call)
    assert is_one_of(theirs, row.raises), theirs
    if mp is not multiprocessing and row.ours is None and not isinstance(row.raises, tuple):
        assert found.__name__ == theirs.__name__, "the same, not only of the same kind"


def test_the_table_is_long_enough():
    assert len(ROWS) >= 60
    assert sum(row.ours is not None for row in ROWS.values()) <= 10
