"""Ctrl-C, and the interpreter's end, while a call waits."""

import signal
import time

import pytest
from blocking_calls import BLOCKING_CALLS
from deadline import eventually
from processes import marked, wait_asleep
from program import Program, run_program
from seed import SEED
from under_test import METHODS

# A child waits too, and gets the signal as the root does: it stays silent, as the report is the
# root's.
INTERRUPTED = """
    import sys
    from blocking_calls import BlockingCalls

    if __name__ == "__main__":
        calls = BlockingCalls(sys.argv[1])
        call = getattr(calls, sys.argv[2])()
        calls.start_child()
        print(calls.child.pid, flush=True)
        call()
        print("it returned")
"""


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("call", BLOCKING_CALLS)
def test_ctrl_c_ends_the_program(call, method):
    with Program(INTERRUPTED, method, call) as program:
        child = int(program.line())
        wait_asleep(child)
        wait_asleep(program.pid)
        began = time.monotonic()
        program.interrupt()
        code = program.popen.wait(30)
        seconds = time.monotonic() - began
        # "No orphans", within the second that is promised.
        eventually(lambda: not marked(program.mark), max(0.1, 1.0 - seconds), what="no orphans")
        assert code == -signal.SIGINT, program.report()
        assert seconds < 1.0
        assert program.stderr.count("Traceback (most recent call last)") == 1, program.stderr
        assert program.stderr.rstrip().endswith("KeyboardInterrupt")


def test_ctrl_c_can_be_caught(method):
    source = """
        import sys
        import procession as mp

        if __name__ == "__main__":
            ctx = mp.get_context(sys.argv[1])
            queue, lock = ctx.Queue(), ctx.Lock()
            lock.acquire()
            for wait in queue.get, lock.acquire, ctx.Event().wait:
                try:
                    print("waits", flush=True)
                    wait()
                except KeyboardInterrupt:
                    print("caught", flush=True)
            lock.release()
            queue.put("all goes on")
            with lock:
                print(queue.get(), flush=True)
    """
    with Program(source, method) as program:
        for _ in range(3):
            assert program.line() == "waits"
            wait_asleep(program.pid)
            program.interrupt()
            assert program.line() == "caught"
        assert program.line() == "all goes on"
        assert program.wait() == 0
        assert program.stderr == ""


AT_RANDOM_INSTANTS = """
    import random
    import signal
    import sys
    import time
    from blocking_calls import BlockingCalls

    class Enough(Exception):
        pass

    def handler(*_):
        raise Enough

    if __name__ == "__main__":
        name, seed = sys.argv[1], int(sys.argv[2])
        generator, longest = random.Random(seed), 0.0
        calls = BlockingCalls("fork")
        calls.child.daemon = True  # it ends with the program
        calls.start_child()
        signal.signal(signal.SIGALRM, handler)
        for _ in range(200):
            call = getattr(calls, name)()
            began = time.monotonic()
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-6 + generator.random() * 2e-4)
                call()
            except Enough:
                longest = max(longest, time.monotonic() - began)
            else:
                sys.exit("it returned")
        print(longest)
"""


@pytest.mark.parametrize("call", BLOCKING_CALLS)
def test_a_signal_as_the_wait_begins_is_not_missed(call):
    # Between the call's beginning and its sleep there is nothing for the kernel to interrupt.
    ended = run_program(AT_RANDOM_INSTANTS, call, SEED)
    assert float(ended.lines[0]) < 1.0, f"seed {SEED}"  # the second that is promised
    assert ended.stderr == ""


AT_EXIT = """
    import sys
    import threading
    from blocking_calls import BlockingCalls
    from processes import wait_asleep

    if __name__ == "__main__":
        calls = BlockingCalls(sys.argv[1])
        call = getattr(calls, sys.argv[2])()
        if sys.argv[2].startswith("join"):
            calls.child.daemon = True  # it ends with the program
            calls.start_child()
        thread = threading.Thread(target=call, daemon=True)
        thread.start()
        wait_asleep("self", thread.native_id)
        print("main ends", flush=True)
"""


@pytest.mark.parametrize("call", BLOCKING_CALLS)
def test_a_daemon_thread_waits_at_exit(call):
    with Program(AT_EXIT, "spawn", call) as program:
        assert program.wait() == 0, program.report()
        assert program.stdout == "main ends\n"
        assert program.stderr == ""


AMID_PYTHON_CODE = """
    import sys
    import threading
    import procession as mp

    def spin():
        for _ in range(1000):
            pass

    def slow_numbers():
        for number in range(10):
            spin()
            yield number

    class SlowToPickle:
        def __reduce__(self):
            spin()
            return SlowToUnpickle, ()

    class SlowToUnpickle:
        def __init__(self):
            spin()

        def __reduce__(self):
            return SlowToUnpickle, ()

    class Work:
        def __init__(self):
            self.queue = mp.Queue(100)
            self.condition = mp.Condition()
            self.barrier = mp.Barrier(1, spin)

        def empty(self):
            while not self.queue.empty():
                self.queue.get()

        def put(self):
            self.queue.put([SlowToPickle()] * 10)
            self.empty()

        def put_many(self):
            self.queue.put_many(slow_numbers())
            self.empty()

        def get(self):
            self.queue.put([SlowToUnpickle() for _ in range(10)])
            self.queue.get()

        def wait_for(self):
            with self.condition:
                self.condition.wait_for(spin, timeout=0)

        def action(self):
            self.barrier.wait()

    def run(work, begun):
        while True:
            work()
            begun.set()

    if __name__ == "__main__":
        mp.set_start_method("fork")
        work, begun = getattr(Work(), sys.argv[1]), threading.Event()
        for _ in range(2):
            threading.Thread(target=run, args=(work, begun), daemon=True).start()
        begun.wait()
"""


@pytest.mark.parametrize("work", ["put", "put_many", "get", "wait_for", "action"])
def test_daemon_threads_are_amid_python_code_at_exit(work):
    for _ in range(5):
        ended = run_program(AMID_PYTHON_CODE, work)
        assert ended.stderr == ""


def test_many_daemon_threads_wait_at_exit():
    source = """
        import sys
        import threading
        from blocking_calls import BLOCKING_CALLS, BlockingCalls
        from processes import wait_asleep

        if __name__ == "__main__":
            calls = [BlockingCalls("fork") for _ in BLOCKING_CALLS]
            threads = [
                threading.Thread(target=getattr(call, name)(), daemon=True)
                for call, name in zip(calls, BLOCKING_CALLS)
                if not name.startswith("join")
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                wait_asleep("self", thread.native_id)
    """
    for _ in range(3):
        with Program(source) as program:
            assert program.wait() == 0, program.report()
            assert program.stderr == ""
