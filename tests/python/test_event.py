"""Event: set or not set, and waiting for the change."""

import functools
import signal
import threading
import time

import pytest
from deadline import GUARD
from processes import finish, start, wait_asleep
from under_test import mp


def test_set_clear_is_set(ctx):
    event = ctx.Event()
    assert event.is_set() is False
    event.set()
    event.set()
    assert event.is_set() is True
    event.clear()
    event.clear()
    assert event.is_set() is False


def test_wait_when_set(ctx):
    event = ctx.Event()
    event.set()
    assert event.wait() is True
    assert event.wait(0) is True
    assert event.wait(timeout=2.5) is True
    assert event.is_set()


def test_wait_with_a_timer(ctx):
    event = ctx.Event()
    began = time.monotonic()
    assert event.wait(0.1) is False
    assert time.monotonic() - began >= 0.1


@pytest.mark.parametrize("timeout", [0, 0.0, -1, -0.5])
def test_wait_without_waiting(ctx, timeout):
    assert ctx.Event().wait(timeout) is False


@pytest.mark.parametrize("timeout", ["1", [1], {}])
def test_wrong_timeouts(ctx, timeout):
    with pytest.raises(TypeError):
        ctx.Event().wait(timeout)


def test_wrong_arguments(ctx):
    with pytest.raises(TypeError):
        ctx.Event(1)


def wait_and_tell(event, queue, number):
    queue.put(("waits", number))
    queue.put((event.wait(), number))


def test_set_wakes_all(ctx):
    event, queue = ctx.Event(), ctx.Queue()
    processes = [start(ctx, wait_and_tell, event, queue, i) for i in range(3)]
    assert sorted(queue.get(timeout=GUARD) for _ in processes) == [("waits", i) for i in range(3)]
    for process in processes:
        wait_asleep(process.pid)
    assert queue.empty()
    event.set()
    assert sorted(queue.get(timeout=GUARD) for _ in processes) == [(True, i) for i in range(3)]
    finish(*processes)


def test_a_set_and_clear_at_once_wakes_the_waiter(ctx):
    event, queue = ctx.Event(), ctx.Queue()
    process = start(ctx, wait_and_tell, event, queue, 0)
    assert queue.get(timeout=GUARD) == ("waits", 0)
    wait_asleep(process.pid)
    event.set()
    event.clear()
    assert queue.get(timeout=GUARD) == (True, 0)
    finish(process)
    assert not event.is_set()


def set_it(event):
    event.set()


def test_a_child_sets_and_the_parent_waits(ctx):
    event = ctx.Event()
    process = start(ctx, set_it, event)
    assert event.wait(GUARD) is True
    finish(process)
    assert event.is_set()


def ping_pong(ping, pong, rounds):
    for _ in range(rounds):
        ping.wait()
        ping.clear()
        pong.set()


def test_ping_pong(ctx):
    ping, pong = ctx.Event(), ctx.Event()
    process = start(ctx, ping_pong, ping, pong, 200)
    for _ in range(200):
        ping.set()
        assert pong.wait(GUARD)
        pong.clear()
    finish(process)


def test_between_threads(ctx):
    event, seen = ctx.Event(), []
    thread = threading.Thread(target=lambda: seen.append(event.wait(GUARD)))
    thread.start()
    wait_asleep("self", thread.native_id)
    event.set()
    thread.join(GUARD)
    assert seen == [True]


@pytest.mark.parametrize("via", ["set", "clear and set"])
def test_set_in_a_signal_handler_ends_the_wait(via):
    event = mp.Event()

    def handler(*_):
        if via != "set":
            event.clear()
        event.set()

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        waker = threading.Thread(
            target=functools.partial(signal_when_asleep, threading.get_native_id())
        )
        waker.start()
        assert event.wait(GUARD) is True
        waker.join(GUARD)
    finally:
        signal.signal(signal.SIGUSR1, before)


def signal_when_asleep(tid):
    wait_asleep("self", tid)
    signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)


def test_a_signal_handler_that_raises_ends_the_wait():
    class Enough(Exception):
        pass

    def handler(*_):
        raise Enough

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        waker = threading.Thread(
            target=functools.partial(signal_when_asleep, threading.get_native_id())
        )
        waker.start()
        with pytest.raises(Enough):
            mp.Event().wait(GUARD)
        waker.join(GUARD)
    finally:
        signal.signal(signal.SIGUSR1, before)
