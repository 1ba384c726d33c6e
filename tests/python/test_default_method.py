"""The start method that nobody chose: fork, but not from a program with threads."""

import pytest
from program import run_program
from under_test import METHODS

# Another thread holds a lock that the child needs, and lets it go only after the child's end.
PROGRAM = """
    import sys
    import threading
    import procession as mp

    lock = threading.Lock()
    held, done = threading.Event(), threading.Event()

    def hold():
        with lock:
            held.set()
            done.wait()

    def use(number):
        assert lock.acquire(timeout=20), "held by a thread that is not here"
        lock.release()
        return number * 2

    def put(queue):
        queue.put(use(21))

    if __name__ == "__main__":
        threading.Thread(target=hold, daemon=True).start()
        held.wait()
        {body}
        done.set()
"""


def test_a_process_of_a_program_with_threads_needs_none_of_their_locks():
    body = """
        queue = mp.Queue()
        process = mp.Process(target=put, args=(queue,))
        process.start()
        process.join()
        print(process.exitcode, queue.get(timeout=0), mp.get_start_method())
    """
    assert run_program(PROGRAM.format(body=body.strip())).stdout.split() == ["0", "42", "fork"]


def test_a_pool_of_a_program_with_threads_needs_none_of_their_locks():
    body = """
        with mp.Pool(2) as pool:
            print(pool.map(use, range(4)))
    """
    assert run_program(PROGRAM.format(body=body.strip())).stdout.strip() == "[0, 2, 4, 6]"


COUNTS_IMPORTS = """
    import sys
    import threading
    import procession as mp

    {first}

    def put(queue, value):
        queue.put((value, __name__))

    if __name__ == "__main__":
        {second}
        {choice}
        queue = mp.Queue()
        {start}
        process.start()
        print(*queue.get(timeout=20))
        process.join()
        print(process.exitcode)
"""
THREAD = "threading.Thread(target=threading.Event().wait, daemon=True).start()"
PLAIN = "process = mp.Process(target=put, args=(queue, 5))"
CLOSURE = "process = mp.Process(target=lambda: put(queue, 5))"


def names(**parts):
    """The main module's name in the child: under fork it stays what it is."""
    filled = {"first": "", "second": "", "choice": "", "start": PLAIN, **parts}
    value, name, code = run_program(COUNTS_IMPORTS.format(**filled)).stdout.split()
    assert (value, code) == ("5", "0")
    return name


def test_without_threads_it_is_fork():
    assert names() == "__main__"


def test_with_threads_main_is_imported():
    assert names(second=THREAD) == "__mp_main__"


def test_what_does_not_pickle_is_forked():
    assert names(second=THREAD, start=CLOSURE) == "__main__"


def test_who_chose_fork_gets_it():
    assert names(second=THREAD, choice="mp.set_start_method('fork')") == "__main__"
    context = "process = mp.get_context('fork').Process(target=put, args=(queue, 5))"
    assert names(second=THREAD, start=context) == "__main__"


@pytest.mark.parametrize("method", [None, *METHODS])
def test_main_that_starts_a_thread_at_import(method):
    choice = "" if method is None else f"mp.set_start_method({method!r})"
    assert names(first=THREAD, choice=choice).endswith("main__")


# The thread answers; who has main without it waits in vain.
HELPER = """
    import queue
    import sys
    import threading
    import procession as mp

    asked, answered = queue.Queue(), queue.Queue()

    def serve():
        for number in iter(asked.get, None):
            answered.put(number * 2)

    threading.Thread(target=serve, name="helper", daemon=True).start()

    def ask(number):
        asked.put(number)
        return answered.get(timeout=20)

    def die(_):
        import os
        os.abort()

    if __name__ == "__main__":
        method = sys.argv[1]
        ctx = mp if method == "default" else mp.get_context(method)
        with ctx.Pool(2) as pool:
            print(pool.map(ask, range(4), 1))
            try:
                pool.map(die, [1])
            except mp.WorkerDied as error:
                print(error.signal == 6)
            print(pool.map(ask, range(4), 1))
            pool.close()
            pool.join()
"""


@pytest.mark.parametrize("method", ["default", "spawn", "forkserver"])
def test_a_pool_of_a_main_that_starts_a_thread_at_import(method):
    ended = run_program(HELPER, method, interpreter=["-W", "error"])
    assert ended.lines == ["[0, 2, 4, 6]", "True", "[0, 2, 4, 6]"]
    assert ended.stderr == ""


SOCKET = """
    import os
    import socket
    import sys
    import procession as mp

    kept = socket.socket()

    def inode(barrier):
        barrier.wait(20)
        return os.fstat(kept.fileno()).st_ino

    if __name__ == "__main__":
        ctx = mp.get_context(sys.argv[1])
        with ctx.Pool(3) as pool:
            print(len(set(pool.map(inode, [ctx.Barrier(3)] * 3, 1))))
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_pool_of_a_main_that_opens_a_socket_at_import(method):
    # Workers that shared one connection would take each other's answers.
    assert run_program(SOCKET, method).lines == ["3"]


def test_main_that_can_not_be_imported_is_forked():
    source = """
import threading
import procession as mp
threading.Thread(target=threading.Event().wait, daemon=True).start()
queue = mp.Queue()
process = mp.Process(target=queue.put, args=(__name__,))
process.start()
print(queue.get(timeout=20))
"""
    ended = run_program("pass", interpreter=["-c", source])
    assert ended.stdout.strip() == "__main__"
