"""The start method that nobody chose: fork, but not from a program with threads."""

import pytest
from program import run_program
from under_test import METHODS

pytestmark = pytest.mark.timeout(60)

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
