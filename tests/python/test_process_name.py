"""Process: names and numbers, of the child, the parent and all children."""

import multiprocessing
import multiprocessing.connection
import multiprocessing.process
import os

import pytest
from deadline import GUARD, eventually
from processes import finish, start
from program import run_program
from targets import nothing, say_who, wait_for
from under_test import METHODS, mp


def test_name_pid_and_daemon(ctx):
    queue = ctx.Queue()
    process = ctx.Process(target=say_who, args=(queue,), name="worker é", daemon=True)
    assert (process.name, process.pid, process.ident, process.daemon) == (
        "worker é",
        None,
        None,
        True,
    )
    process.start()
    pid = process.pid
    assert isinstance(pid, int)
    assert process.ident == pid
    assert queue.get(timeout=GUARD) == ("worker é", pid, pid, pid, os.getpid(), True)
    finish(process)
    assert process.pid == pid


@pytest.mark.parametrize("method", METHODS)
def test_default_names(method):
    program = """
        import procession as mp

        def child(queue):
            queue.put(mp.current_process().name)
            grandchild = mp.Process(target=grandchild_, args=(queue,))
            grandchild.start()
            grandchild.join()

        def grandchild_(queue):
            queue.put(mp.current_process().name)

        if __name__ == "__main__":
            import sys
            mp.set_start_method(sys.argv[1])
            queue = mp.Queue()
            print(mp.current_process().name)
            one, two = (mp.Process(target=child, args=(queue,)) for _ in range(2))
            print(one.name, two.name)
            for process in one, two:
                process.start()
                print(queue.get(), queue.get())
                process.join()

            class Worker(mp.Process):
                pass

            print(Worker().name)
    """
    assert run_program(program, method).lines == [
        "MainProcess",
        "Process-1 Process-2",
        "Process-1 Process-1:1",
        "Process-2 Process-2:1",
        "Worker-3",
    ]


def test_name_can_be_set_and_must_be_text(ctx):
    process = ctx.Process(target=nothing)
    process.name = "other"
    assert process.name == "other"
    with pytest.raises(AssertionError):
        process.name = 3


def test_daemon_is_inherited_and_fixed_at_start(ctx):
    event = ctx.Event()
    process = ctx.Process(target=wait_for, args=(event,))
    assert process.daemon is mp.current_process().daemon is False
    process.daemon = True
    assert process.daemon is True
    process.start()
    with pytest.raises(AssertionError):
        process.daemon = False
    event.set()
    finish(process)


def test_current_process_of_the_root():
    process = mp.current_process()
    assert process.name == "MainProcess"
    assert process.pid == process.ident == os.getpid()
    assert process.is_alive()
    assert mp.parent_process() is None


def say_parent(queue, event):
    parent = mp.parent_process()
    standard = multiprocessing.current_process()
    queue.put(
        (parent.name, parent.pid, parent.is_alive(), mp.current_process().name, standard.name)
    )
    event.wait()


def test_parent_process_and_the_state_of_the_standard_library(ctx):
    queue, event = ctx.Queue(), ctx.Event()
    process = start(ctx, say_parent, queue, event, name="child")
    assert queue.get(timeout=GUARD) == ("MainProcess", os.getpid(), True, "child", "child")
    event.set()
    finish(process)


def test_active_children(ctx):
    event = ctx.Event()
    before = mp.active_children()
    first, second = (start(ctx, wait_for, event) for _ in range(2))
    assert set(mp.active_children()) - set(before) == {first, second}
    event.set()
    first.join(GUARD)
    second.join(GUARD)
    assert not {first, second} & set(mp.active_children())


def test_active_children_reaps(ctx):
    process = start(ctx, nothing)
    eventually(lambda: process not in mp.active_children())
    eventually(lambda: not os.path.exists(f"/proc/{process.pid}"), what="no zombie is left")
    assert process.exitcode == 0


def test_repr(ctx):
    event = ctx.Event()
    process = ctx.Process(target=wait_for, args=(event,), name="shown", daemon=True)
    assert "name='shown'" in repr(process)
    assert f"parent={os.getpid()}" in repr(process)
    assert "initial" in repr(process)
    assert "daemon" in repr(process)
    process.start()
    assert "started" in repr(process)
    assert f"pid={process.pid}" in repr(process)
    event.set()
    process.join(GUARD)
    assert "stopped" in repr(process)
    assert "exitcode=0" in repr(process)
    process.close()
    assert "closed" in repr(process)
    event.clear()
    killed = start(ctx, wait_for, event)
    killed.kill()
    killed.join(GUARD)
    assert "exitcode=-SIGKILL" in repr(killed)
