"""Process: what it runs, how it is started, joined and looked at; from a thread; bad input."""

import multiprocessing
import multiprocessing.connection
import multiprocessing.process
import os
import sys
import threading
import time

import pytest
from deadline import GUARD, eventually
from processes import finish, gone, start, wait_asleep
from program import Program
from targets import answer, fail, leave, nothing, say_who, wait_for
from under_test import mp

# A program that has threads is warned by Python itself when it forks, from 3.12 on.
threads_of_the_test = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")


# --- what it runs


def test_target_gets_args_and_kwargs(ctx):
    queue = ctx.Queue()
    process = ctx.Process(target=answer, args=(queue, 1, "two"), kwargs={"three": [3]})
    process.start()
    assert queue.get(timeout=GUARD) == ((1, "two"), {"three": [3]})
    finish(process)


def test_positional_parameters(ctx):
    queue = ctx.Queue()
    process = ctx.Process(None, answer, "positional", (queue, 1), {"two": 2})
    assert process.name == "positional"
    process.start()
    assert queue.get(timeout=GUARD) == ((1,), {"two": 2})
    finish(process)


def test_args_may_be_any_iterable(ctx):
    queue = ctx.Queue()
    process = ctx.Process(target=answer, args=[queue, *"ab"])
    process.start()
    assert queue.get(timeout=GUARD) == (("a", "b"), {})
    finish(process)


def test_no_target_does_nothing(ctx):
    process = ctx.Process()
    process.start()
    finish(process)


class Doubler:
    """Mixed into the context's Process: a process by subclass."""

    def __init__(self, queue, number):
        super().__init__(name="doubler")
        self.queue = queue
        self.number = number

    def run(self):
        self.queue.put((self.name, 2 * self.number))


class ForkDoubler(Doubler, mp.get_context("fork").Process):
    pass


class SpawnDoubler(Doubler, mp.get_context("spawn").Process):
    pass


class ForkserverDoubler(Doubler, mp.get_context("forkserver").Process):
    pass


@pytest.mark.parametrize("doubler", [ForkDoubler, SpawnDoubler, ForkserverDoubler])
def test_subclass_with_run(doubler):
    queue = mp.get_context(doubler._start_method).Queue()
    process = doubler(queue, 21)
    process.start()
    assert queue.get(timeout=GUARD) == ("doubler", 42)
    finish(process)


def test_is_a_process_of_the_standard_library(ctx):
    # coverage.py, logging and others reach for BaseProcess.
    assert isinstance(ctx.Process(), multiprocessing.process.BaseProcess)
    assert issubclass(mp.Process, multiprocessing.process.BaseProcess)


COUNTER = [0]


def count(queue):
    COUNTER[0] += 1
    queue.put(COUNTER[0])


def test_memory_is_separate(ctx):
    COUNTER[0] = 0
    queue = ctx.Queue()
    first = start(ctx, count, queue)
    second = start(ctx, count, queue)
    assert [queue.get(timeout=GUARD), queue.get(timeout=GUARD)] == [1, 1]
    finish(first, second)
    assert COUNTER == [0]


def start_grandchild(method, queue):
    process = mp.get_context(method).Process(target=say_who, args=(queue,), name="grandchild")
    process.start()
    process.join()
    queue.put(process.exitcode)


def test_a_child_may_have_children(ctx, method):
    queue = ctx.Queue()
    process = start(ctx, start_grandchild, method, queue)
    name, _pid, _ident, _getpid, parent, _daemon = queue.get(timeout=GUARD)
    assert (name, parent) == ("grandchild", process.pid)
    assert queue.get(timeout=GUARD) == 0
    finish(process)


# --- start, join, is_alive, sentinel


def test_start_twice(ctx):
    process = start(ctx, nothing)
    with pytest.raises(AssertionError):
        process.start()
    finish(process)
    with pytest.raises(AssertionError):
        process.start()


def test_join_before_start(ctx):
    with pytest.raises(AssertionError):
        ctx.Process(target=nothing).join()


def test_join_waits_for_the_end(ctx):
    process = start(ctx, leave, 4)
    assert process.join() is None
    assert process.exitcode == 4
    assert not process.is_alive()
    assert process.join() is None  # again, at once


def test_join_with_a_timeout_goes_on(ctx):
    event = ctx.Event()
    process = start(ctx, wait_for, event)
    began = time.monotonic()
    assert process.join(0.1) is None
    assert time.monotonic() - began >= 0.1
    assert process.is_alive()
    assert process.exitcode is None
    event.set()
    process.join(GUARD)
    assert process.exitcode == 0


@pytest.mark.parametrize("timeout", [0, 0.0, -1])
def test_join_without_waiting(ctx, timeout):
    event = ctx.Event()
    process = start(ctx, wait_for, event)
    process.join(timeout)
    assert process.is_alive()
    event.set()
    finish(process)


def test_is_alive(ctx):
    event = ctx.Event()
    process = ctx.Process(target=wait_for, args=(event,))
    assert not process.is_alive()
    process.start()
    assert process.is_alive()
    event.set()
    process.join(GUARD)
    assert not process.is_alive()


def test_is_alive_falls_without_join(ctx):
    process = start(ctx, nothing)
    eventually(lambda: not process.is_alive())
    assert process.exitcode == 0


def test_a_child_that_another_waited_for_is_not_alive_for_ever(ctx, method):
    process = start(ctx, leave, 3)
    if method != "forkserver":  # whose children are the template's to wait for
        os.waitpid(process.pid, 0)  # as a library or a SIGCHLD handler does
    eventually(lambda: not process.is_alive())
    process.join(GUARD)
    assert process.exitcode is not None


def test_sentinel(ctx):
    event = ctx.Event()
    process = ctx.Process(target=wait_for, args=(event,))
    with pytest.raises(ValueError, match="not started"):
        process.sentinel
    process.start()
    sentinel = process.sentinel
    assert multiprocessing.connection.wait([sentinel], timeout=0) == []
    assert process.is_alive()
    event.set()
    assert multiprocessing.connection.wait([sentinel], timeout=GUARD) == [sentinel]
    process.join(GUARD)
    assert process.exitcode == 0
    assert multiprocessing.connection.wait([sentinel], timeout=0) == [sentinel]


def test_sentinels_tell_which_one_ended(ctx):
    events = [ctx.Event() for _ in range(3)]
    processes = [start(ctx, wait_for, event) for event in events]
    sentinels = [process.sentinel for process in processes]
    for chosen in (1, 0, 2):
        events[chosen].set()
        left = [sentinels[i] for i in range(3) if not events[i].is_set() or i == chosen]
        assert multiprocessing.connection.wait(left, timeout=GUARD) == [sentinels[chosen]]
        processes[chosen].join(GUARD)
    finish(*processes)


def join_other(queue, process):
    try:
        process.join()
    except BaseException as error:  # what it is goes to the parent
        queue.put(type(error).__name__)
    else:
        queue.put("joined")


def test_only_the_parent_may_join():
    ctx = mp.get_context("fork")  # an object of the parent reaches the child by fork alone
    queue, event = ctx.Queue(), ctx.Event()
    process = start(ctx, wait_for, event)
    other = start(ctx, join_other, queue, process)
    assert queue.get(timeout=GUARD) == "AssertionError"
    event.set()
    finish(process, other)


# --- from a thread


@threads_of_the_test
def test_started_from_a_thread_that_ends_at_once(ctx):
    event, ready, started = ctx.Event(), ctx.Event(), []

    def starter():
        process = ctx.Process(target=tell_then_exit, args=(ready, event, 6))
        process.start()
        started.append((process, threading.get_native_id()))

    thread = threading.Thread(target=starter)
    thread.start()
    thread.join(GUARD)
    [(process, tid)] = started
    eventually(lambda: not os.path.exists(f"/proc/self/task/{tid}"), what="the thread is gone")
    assert ready.wait(GUARD)
    wait_asleep(process.pid)  # it outlived the thread, and waits
    assert process.is_alive()
    assert process in mp.active_children()
    event.set()
    finish(process, codes=[6])


def tell_then_exit(ready, event, code):
    ready.set()
    event.wait()
    sys.exit(code)


@threads_of_the_test
def test_started_from_many_threads_and_joined_elsewhere(ctx):
    queue, processes = ctx.Queue(), []

    def starter(number):
        processes.append(start(ctx, answer, queue, number))

    threads = [threading.Thread(target=starter, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(GUARD)
    assert sorted(queue.get(timeout=GUARD)[0][0] for _ in threads) == [0, 1, 2, 3]
    joiner = threading.Thread(target=finish, args=processes)
    joiner.start()
    joiner.join(GUARD)
    assert [process.exitcode for process in processes] == [0, 0, 0, 0]


# --- bad input


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"args": 5}, TypeError),
        ({"kwargs": 5}, TypeError),
        ({"kwargs": [(1, 2, 3)]}, ValueError),
        ({"group": 1}, AssertionError),
        ({"unknown": 1}, TypeError),
    ],
    ids=str,
)
def test_wrong_arguments(ctx, options, error):
    with pytest.raises(error):
        ctx.Process(target=nothing, **options)


def test_a_target_that_cannot_be_called_fails_in_the_child(ctx):
    process = ctx.Process(target=3)
    process.start()
    finish(process, codes=[1])


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
@pytest.mark.parametrize("where", ["target", "args"])
def test_what_does_not_pickle_fails_in_start(where, method):
    ctx = mp.get_context(method)
    thing = lambda: None  # noqa: E731
    process = (
        ctx.Process(target=thing)
        if where == "target"
        else ctx.Process(target=nothing, args=(thing,))
    )
    with pytest.raises(Exception, match="lambda"):
        process.start()
    assert process not in mp.active_children()
    assert process.exitcode is None
    assert not process.is_alive()
    finish(start(ctx, nothing))


def test_fork_needs_no_pickling():
    ctx = mp.get_context("fork")
    queue = ctx.Queue()
    process = ctx.Process(target=lambda: queue.put("unpicklable"))
    process.start()
    assert queue.get(timeout=GUARD) == "unpicklable"
    finish(process)


class Raiser:
    def __reduce__(self):
        return fail, ()


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_arguments_that_do_not_unpickle_fail_in_the_child(method):
    ctx = mp.get_context(method)
    process = ctx.Process(target=nothing, args=(Raiser(),))
    process.start()
    finish(process, codes=[1])
    finish(start(ctx, nothing))


def answer_when_set(event, queue):
    event.wait()
    queue.put("set")


def test_arguments_that_the_starter_dropped_live_on(ctx):
    # Who created an object has no special role: it lives while anybody may still come to use it.
    queue = ctx.Queue()
    event = ctx.Event()
    event.set()
    process = start(ctx, answer_when_set, event, queue)
    del event
    assert queue.get(timeout=GUARD) == "set"
    finish(process)


def test_big_arguments_do_not_make_start_wait(tmp_path):
    # The child stands still before its first line of Python, in sitecustomize: a start that waited
    # for the child to read its 8 MB would never return.
    (tmp_path / "sitecustomize.py").write_text(
        "import os\nif 'GATE' in os.environ:\n    open(os.environ['GATE']).close()\n",
        encoding="utf-8",
    )
    program = """
        import os
        import procession as mp

        def child(queue, data):
            queue.put((len(data), data.count(b"x")))

        if __name__ == "__main__":
            ctx = mp.get_context("spawn")
            gate = os.path.abspath("gate")
            os.mkfifo(gate)
            queue = ctx.Queue()
            os.environ["GATE"] = gate
            process = ctx.Process(target=child, args=(queue, b"x" * 8_000_000))
            process.start()
            print("started", flush=True)
            open(gate, "w").close()
            print(*queue.get())
            process.join()
            print(process.exitcode)
    """
    with Program(program, env={"PYTHONPATH": str(tmp_path)}) as running:
        assert running.line() == "started"
        assert running.wait() == 0, running.report()
        assert running.stdout.splitlines() == ["8000000 8000000", "0"]


def test_no_process_is_left(ctx):
    process = start(ctx, nothing)
    finish(process)
    assert gone(process.pid)


BIG_ARGUMENTS = """
    import os
    import sys
    import procession as mp

    class Gate:
        def __init__(self, path):
            self.path = path

        def __reduce__(self):
            return wait_at, (self.path,)

    def wait_at(path):
        open(path).close()

    def child(gate, data, queue):
        if gate is not None:  # under fork nothing was unpickled
            wait_at(gate.path)
        queue.put(len(data))

    if __name__ == "__main__":
        ctx = mp.get_context(sys.argv[1])
        gate = os.path.abspath("gate")
        os.mkfifo(gate)
        queue = ctx.Queue()
        args = Gate(gate), b"x" * 8_000_000, queue
        processes = [ctx.Process(target=child, args=args) for _ in range(4)]
        for process in processes:
            process.start()
        print("started", flush=True)
        with open(gate, "w"):
            print(*[queue.get() for _ in processes])
        for process in processes:
            process.join()
"""


def test_start_does_not_wait_for_the_child_to_read_its_arguments(method):
    # Each child stands still amid its arguments until all have been started.
    with Program(BIG_ARGUMENTS, method) as program:
        assert program.line() == "started"
        assert program.wait() == 0, program.report()
        assert program.stdout.split() == ["8000000"] * 4
