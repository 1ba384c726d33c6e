"""A large array got from a queue, then os.fork(): each side has its own, either may die."""

import pytest
from deadline import GUARD
from program import Program, run_program
from under_test import METHODS

LARGE = """
    import os
    import signal
    import sys
    import numpy as np
    import procession as mp

    SIZE = 2_000_000

    def child(queue):
        queue.put(np.arange(SIZE))

    def got():
        ctx = mp.get_context(sys.argv[1])
        queue = ctx.Queue()
        process = ctx.Process(target=child, args=(queue,))
        process.start()
        array = queue.get()
        process.join()
        return array, ctx, queue

    def whole(array, first=0):
        return int(array[0]) == first and np.array_equal(array[1:], np.arange(1, SIZE))

    def pipe_and_fork():
        reader, writer = os.pipe()
        return os.fork(), reader, writer
"""


def large(rest, method):
    pytest.importorskip("numpy")
    return run_program(LARGE + rest, method)


@pytest.mark.parametrize("method", METHODS)
def test_writes_on_either_side_of_a_fork_stay_there(method):
    rest = """
    if __name__ == "__main__":
        array, ctx, queue = got()
        array[0] = 1
        (to_child, go), (from_child, done) = os.pipe(), os.pipe()
        pid = os.fork()
        if not pid:
            assert whole(array, 1)
            array[0] = 2
            os.write(done, b"x")
            os.read(to_child, 1)
            assert whole(array, 2), "the parent's write is seen in the child"
            array[:] = 0
            os._exit(3)
        os.read(from_child, 1)
        assert whole(array, 1), "the child's write is seen in the parent"
        array[0] = 4
        os.write(go, b"x")
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), whole(array, 4))
        queue.put(array)
        print(whole(queue.get(), 4))
    """
    assert large(rest, method).lines == ["3 True", "True"]


@pytest.mark.parametrize("method", METHODS)
def test_a_forked_child_dies_with_a_large_array(method):
    rest = """
    if __name__ == "__main__":
        array, ctx, queue = got()
        for _ in range(5):
            pid = os.fork()
            if not pid:
                array[0] = 9
                os.kill(os.getpid(), signal.SIGKILL)
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), whole(array))
        for number in range(50):  # if its memory were free, these would come to lie there
            queue.put(np.full(SIZE // 20, number))
            queue.get()
        print(whole(array))
    """
    assert large(rest, method).lines == ["-9 True"] * 5 + ["True"]


@pytest.mark.parametrize("how", ["os._exit(0)", "os.kill(os.getpid(), signal.SIGKILL)"])
@pytest.mark.parametrize("method", METHODS)
def test_the_parent_dies_and_its_fork_keeps_a_large_array(method, how):
    # A foreign fork: nobody started it through us, so it does not end with the root.
    rest = """
    if __name__ == "__main__":
        array, ctx, queue = got()
        reader, writer = os.pipe()
        root = os.getpid()
        pid = os.fork()
        if pid:
            array[0] = 5
            {how}
        os.close(writer)
        os.read(reader, 1)  # ends when the parent has ended
        array[1] = 1
        print(whole(array), flush=True)
        os._exit(0)
    """
    pytest.importorskip("numpy")
    with Program(LARGE + rest.replace("{how}", how), method) as program:
        assert program.line() == "True"
        program.popen.wait(GUARD)


@pytest.mark.parametrize("method", METHODS)
def test_a_child_of_ours_and_a_large_array_of_its_parent(method):
    rest = """
    def look(queue):
        if sys.argv[1] == "fork":
            assert whole(array)
            array[:] = 7
        queue.put("looked")
        signal.pause()

    if __name__ == "__main__":
        array, ctx, queue = got()
        processes = [ctx.Process(target=look, args=(queue,)) for _ in range(2)]
        for process in processes:
            process.start()
            print(queue.get(), whole(array))
        for process in processes:
            process.kill()
            process.join()
            print(process.exitcode, whole(array))
    """
    assert large(rest, method).lines == ["looked True"] * 2 + ["-9 True"] * 2


MEMORY = """
    import os
    import subprocess
    import sys
    import procession as mp

    PART = 2 << 20
    ROUNDS = 40

    def held():
        \"\"\"The memory of the program's shared objects, in parts.\"\"\"
        for name in os.listdir("/proc/self/fd"):
            try:
                if "memfd:procession" in os.readlink(f"/proc/self/fd/{name}"):
                    return os.stat(f"/proc/self/fd/{name}").st_blocks * 512 // PART
            except OSError:
                pass

    def made():
        array = ctx.RawArray("c", PART)
        memoryview(array).cast("B")[:] = bytes([1]) * PART
        return array

    def other_program(seconds):
        \"\"\"A process that is forked, and then another program, for so long.\"\"\"
        return subprocess.Popen(["sleep", str(seconds)], preexec_fn=int)

    def nothing(*_):
        pass

    ctx = mp.get_context(sys.argv[1])
"""


@pytest.mark.parametrize("how", ["ends", "is killed", "lives as another program"])
@pytest.mark.parametrize("method", METHODS)
def test_what_a_fork_had_is_free_when_it_needs_it_no_more(method, how):
    rest = f"""
    HOW = {how!r}

    def fork():
        if HOW == "lives as another program":
            return other_program(1000)
        pid = os.fork()
        if not pid:
            os.kill(os.getpid(), 9) if HOW == "is killed" else os._exit(0)
        os.waitpid(pid, 0)

    if __name__ == "__main__":
        others = []
        for _ in range(ROUNDS):
            array = made()
            others.append(fork())
            del array
        print(held() < ROUNDS // 2)
        for process in filter(None, others):
            process.kill()
            process.wait()
    """
    assert run_program(MEMORY + rest, method).lines == ["True"]


@pytest.mark.parametrize("method", METHODS)
def test_a_fork_that_lives_keeps_what_it_had(method):
    rest = """
    if __name__ == "__main__":
        array, (reader, writer) = made(), os.pipe()
        pid = os.fork()
        if not pid:
            os.read(reader, 1)
            os._exit(3 if bytes(array) == bytes([1]) * PART else 4)
        del array
        for _ in range(10):  # each looks who is gone, and what it had would be used again
            last = made()
            other_program(0).wait()
            memoryview(last).cast("B")[:] = bytes([2]) * PART
        os.write(writer, b"x")
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    """
    assert run_program(MEMORY + rest, method).lines == ["3"]


def test_what_started_processes_had_before_their_exec_is_free():
    # Whoever starts them may fork them past us, as the standard library does under Python 3.9.
    rest = """
    import multiprocessing.util

    def forked(path, words, fds):
        return subprocess.Popen(words, executable=path, pass_fds=fds, preexec_fn=int).pid

    def wait(told, event):
        told.put(None)
        event.wait()

    if __name__ == "__main__":
        multiprocessing.util.spawnv_passfds = forked
        told, event, processes = ctx.Queue(), ctx.Event(), []
        for _ in range(3):
            array = made()
            process = ctx.Process(target=wait, args=(told, event))
            process.start()
            processes.append(process)
            told.get()
            del array
        before = held()
        arrays = [made() for _ in range(3)]
        print(held() - before <= 2)
        event.set()
        for process in processes:
            process.join()
            print(process.exitcode)
    """
    assert run_program(MEMORY + rest, "spawn").lines == ["True", "0", "0", "0"]


def test_a_started_process_keeps_nothing_of_a_starter_that_was_killed():
    rest = """
    import multiprocessing.util
    import signal

    def forked(path, words, fds):
        return subprocess.Popen(words, executable=path, pass_fds=fds, preexec_fn=int).pid

    def wait(told):
        told.put(os.getpid())
        signal.pause()

    def start(told):
        arrays = [made() for _ in range(3)]
        multiprocessing.util.spawnv_passfds = forked
        ctx.Process(target=wait, args=(told,)).start()
        signal.pause()

    if __name__ == "__main__":
        told = ctx.Queue()
        starter = ctx.Process(target=start, args=(told,))
        starter.start()
        started = told.get()
        starter.kill()
        starter.join()
        before = held()
        arrays = [made() for _ in range(3)]
        print(held() - before <= 1)
        os.kill(started, signal.SIGKILL)
    """
    assert run_program(MEMORY + rest, "spawn").lines == ["True"]
