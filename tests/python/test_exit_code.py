"""Exit codes: how a process ends, by itself or by another."""

import os
import signal

import pytest
from deadline import GUARD
from processes import finish, start
from program import run_program
from targets import fail, leave, leave_hard, nothing, tell_then_wait, wait_for, wait_then_exit
from under_test import METHODS, mp


@pytest.mark.parametrize(
    ("target", "args", "code"),
    [
        (nothing, (), 0),
        (leave, (0,), 0),
        (leave, (None,), 0),
        (leave, (7,), 7),
        (leave, (255,), 255),
        (leave, (-1,), 255),
        (leave, (300,), 44),
        (leave, (True,), 1),
        (leave_hard, (9,), 9),
        (fail, (), 1),
        (os.kill, ("self", signal.SIGTERM), -signal.SIGTERM),
        (os.kill, ("self", signal.SIGUSR1), -signal.SIGUSR1),
    ],
    ids=lambda value: getattr(value, "__name__", None) or str(value),
)
def test_exit_codes(ctx, target, args, code):
    if target is os.kill:
        target, args = kill_self, args[1:]
    process = ctx.Process(target=target, args=args)
    assert process.exitcode is None
    process.start()
    process.join(GUARD)
    assert process.exitcode == code


def kill_self(number):
    os.kill(os.getpid(), number)
    signal.pause()


def test_exit_code_is_none_while_it_runs(ctx):
    event = ctx.Event()
    process = start(ctx, wait_then_exit, event, 5)
    assert process.exitcode is None
    event.set()
    finish(process, codes=[5])


@pytest.mark.parametrize("method", METHODS)
def test_uncaught_exception_is_reported(method):
    program = """
        import sys
        import procession as mp

        def fail():
            raise LookupError("no such thing")

        if __name__ == "__main__":
            process = mp.get_context(sys.argv[1]).Process(target=fail, name="unlucky")
            process.start()
            process.join()
            print(process.exitcode)
    """
    ended = run_program(program, method)
    assert ended.lines == ["1"]
    assert "Process unlucky:" in ended.stderr
    assert ended.stderr.count("Traceback (most recent call last)") == 1
    assert "LookupError: no such thing" in ended.stderr
    assert 'raise LookupError("no such thing")' in ended.stderr


@pytest.mark.parametrize("method", METHODS)
def test_sys_exit_with_a_message(method):
    program = """
        import sys
        import procession as mp

        if __name__ == "__main__":
            process = mp.get_context(sys.argv[1]).Process(target=sys.exit, args=("too late",))
            process.start()
            process.join()
            print(process.exitcode)
    """
    ended = run_program(program, method)
    assert ended.lines == ["1"]
    assert ended.stderr == "too late\n"


def test_terminate(ctx):
    ready, event = ctx.Event(), ctx.Event()
    process = start(ctx, tell_then_wait, ready, event)
    assert ready.wait(GUARD)
    process.terminate()
    finish(process, codes=[-signal.SIGTERM])
    process.terminate()  # harmless after its end
    process.kill()
    assert process.exitcode == -signal.SIGTERM


def test_kill(ctx):
    ready, event = ctx.Event(), ctx.Event()
    process = start(ctx, tell_then_wait, ready, event)
    assert ready.wait(GUARD)
    process.kill()
    finish(process, codes=[-signal.SIGKILL])


def test_kill_at_once(ctx):
    event = ctx.Event()
    process = start(ctx, wait_for, event)
    process.kill()
    finish(process, codes=[-signal.SIGKILL])


def test_close(ctx):
    event = ctx.Event()
    process = start(ctx, wait_for, event)
    with pytest.raises(ValueError, match="still running"):
        process.close()
    event.set()
    process.join(GUARD)
    process.close()
    process.close()
    for use in (
        process.start,
        process.join,
        process.is_alive,
        process.terminate,
        process.kill,
        lambda: process.exitcode,
        lambda: process.pid,
        lambda: process.ident,
        lambda: process.sentinel,
    ):
        with pytest.raises(ValueError, match="closed"):
            use()


def test_close_before_start(ctx):
    process = ctx.Process(target=nothing)
    process.close()
    with pytest.raises(ValueError, match="closed"):
        process.start()


@pytest.mark.parametrize("method", METHODS)
def test_the_program_waits_for_its_children_but_not_for_daemons(method):
    program = """
        import signal
        import sys
        import procession as mp

        def child(queue):
            print("child", queue.get(), flush=True)

        def daemon(ready):
            ready.set()
            signal.pause()

        if __name__ == "__main__":
            ctx = mp.get_context(sys.argv[1])
            queue, ready = ctx.Queue(), ctx.Event()
            ctx.Process(target=daemon, args=(ready,), daemon=True).start()
            ctx.Process(target=child, args=(queue,)).start()
            ready.wait()
            print("main ends", flush=True)
            queue.put("ends")
    """
    ended = run_program(program, method)  # waits for the end of each process that holds stdout
    assert ended.lines == ["main ends", "child ends"]
    assert ended.stderr == ""


def try_to_have_a_child(method, queue):
    try:
        mp.get_context(method).Process(target=nothing).start()
    except AssertionError as error:
        queue.put(str(error))
    else:
        queue.put("started")


def test_a_daemon_may_not_have_children(ctx, method):
    queue = ctx.Queue()
    process = start(ctx, try_to_have_a_child, method, queue, daemon=True)
    assert "daemonic" in queue.get(timeout=GUARD)
    finish(process)


AT_EXIT = """
    import atexit
    import sys
    import procession as mp

    def child(kind):
        atexit.register(print, "the", kind + "'s", flush=True)

    if __name__ == "__main__":
        atexit.register(print, "the root's", flush=True)
        ctx = mp.get_context(sys.argv[1])
        process = ctx.Process(target=child, args=("child",))
        process.start()
        process.join()
        with ctx.Pool(1) as pool:
            pool.apply(child, ("worker",))
            pool.close()
            pool.join()
"""


def test_exit_callbacks_are_run_where_they_were_registered(method):
    ended = run_program(AT_EXIT, method)
    assert ended.lines == ["the child's", "the worker's", "the root's"]
    assert ended.stderr == ""
