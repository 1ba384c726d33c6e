"""A large array got from a queue, then os.fork(): each side has its own, either may die."""

import pytest
from deadline import GUARD
from program import Program, run_program
from under_test import METHODS

pytestmark = pytest.mark.timeout(90)

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
