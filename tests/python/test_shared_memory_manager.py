"""SharedMemoryManager: what is made by it lives as long as the manager, and no longer."""

import os
import signal
from multiprocessing import managers as standard
from pathlib import Path

import pytest
from deadline import GUARD, eventually
from processes import finish, gone, start
from program import Program, run_program
from under_test import METHODS, NAME, mp

managers = __import__(f"{NAME}.managers", fromlist=["*"])
shared_memory = __import__(f"{NAME}.shared_memory", fromlist=["*"])
SharedMemoryManager = managers.SharedMemoryManager


def exists(memory):
    return Path("/dev/shm", getattr(memory, "name", memory)).exists()


@pytest.fixture
def manager(ctx):
    """A manager that is started."""
    with SharedMemoryManager(ctx=ctx) as made:
        yield made


def test_all_is_gone_after_the_block(ctx):
    with SharedMemoryManager(ctx=ctx) as manager:
        memory, numbers = manager.SharedMemory(100), manager.ShareableList([1, 2])
        assert exists(memory)
        assert exists(numbers.shm)
        memory.buf[:4] = b"here"
        numbers[0] = 7
    assert not exists(memory)
    assert not exists(numbers.shm)
    # Who has it open keeps it.
    assert bytes(memory.buf[:4]) == b"here"
    assert list(numbers) == [7, 2]


def test_all_is_gone_after_shutdown(ctx):
    manager = SharedMemoryManager(ctx=ctx)
    manager.start()
    made = [manager.SharedMemory(size) for size in (1, 5000)]
    assert [memory.size for memory in made] == [1, 5000]
    manager.shutdown()
    assert not any(map(exists, made))
    for make in lambda: manager.SharedMemory(1), lambda: manager.ShareableList([1]):
        with pytest.raises(FileNotFoundError):
            make()
    manager.shutdown()


def test_all_is_gone_when_an_error_leaves_the_block(ctx):
    made = []
    with pytest.raises(LookupError), SharedMemoryManager(ctx=ctx) as manager:
        made.append(manager.SharedMemory(10))
        raise LookupError
    assert not exists(made[0])


def test_what_is_closed_or_unlinked_before(manager):
    closed, unlinked = manager.SharedMemory(10), manager.SharedMemory(10)
    closed.close()
    assert exists(closed)
    unlinked.unlink()
    manager.shutdown()
    assert not exists(closed)


def test_types_are_those_of_shared_memory(manager):
    assert type(manager.SharedMemory(1)) is shared_memory.SharedMemory
    assert type(manager.ShareableList([])) is shared_memory.ShareableList
    assert isinstance(manager, standard.SharedMemoryManager)


def test_wrong_calls(manager):
    for size, error in [(0, ValueError), (-1, ValueError), ("1", TypeError), (1.5, TypeError)]:
        with pytest.raises(error):
            manager.SharedMemory(size)
    for items, error in [(5, TypeError), ([[]], KeyError), ([1 << 63], Exception)]:
        with pytest.raises(error):
            manager.ShareableList(items)
    assert len(manager.ShareableList(None)) == 0
    with pytest.raises(ValueError):  # noqa: PT011 - a manager that is not started has no address
        SharedMemoryManager().SharedMemory(5)


def fill(memory, numbers, text):
    memory.buf[: len(text)] = text
    numbers[0] += len(text)
    numbers[1] = text


def test_children_write_and_their_end_takes_nothing_along(ctx, manager):
    memory, numbers = manager.SharedMemory(10), manager.ShareableList([1, b"        ", "end"])
    finish(start(ctx, fill, memory, numbers, b"abc"))
    assert bytes(memory.buf[:4]) == b"abc\0"
    assert list(numbers) == [4, b"abc", "end"]
    finish(start(ctx, fill, memory, numbers, b"abcd"))
    assert list(numbers) == [8, b"abcd", "end"]
    assert exists(memory)


def make(address, key, queue):
    other = SharedMemoryManager(address, key)
    other.connect()
    memory, numbers = other.SharedMemory(10), other.ShareableList(["made", 1])
    memory.buf[0] = 5
    queue.put((memory.name, numbers.shm.name))
    if mp.parent_process() is not None:
        signal.pause()


def test_a_client_is_killed_and_what_it_made_stays(ctx):
    with SharedMemoryManager(authkey=b"key", ctx=ctx) as manager:
        queue = ctx.Queue()
        child = start(ctx, make, manager.address, b"key", queue)
        name, listed = queue.get(timeout=GUARD)
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        memory = shared_memory.SharedMemory(name)
        assert memory.buf[0] == 5
        assert list(shared_memory.ShareableList(name=listed)) == ["made", 1]
    assert not exists(name)
    assert not exists(listed)


def test_two_managers(ctx, manager):
    with SharedMemoryManager(ctx=ctx) as other:
        mine, its = manager.SharedMemory(10), other.SharedMemory(10)
        assert mine.name != its.name
        assert other.address != manager.address
    assert not exists(its)
    assert exists(mine)
    mine.buf[0] = 1


def test_two_managers_at_an_address_one_after_the_other(ctx, tmp_path):
    for _ in range(2):
        with SharedMemoryManager(str(tmp_path / "server"), b"key", ctx=ctx) as manager:
            memory = manager.SharedMemory(10)
            assert exists(memory)
        assert not exists(memory)


class WithWords(SharedMemoryManager):
    """Has a type of its own, too."""


WithWords.register("words", dict, managers.DictProxy)


def test_types_of_ones_own(ctx):
    with WithWords(ctx=ctx) as manager:
        words, memory = manager.words(a=1), manager.SharedMemory(10)
        words["memory"] = memory
        opened = words["memory"]
        opened.buf[0] = 9
        assert memory.buf[0] == 9
        # A client that has opened it takes nothing along.
        assert exists(memory)
    assert not exists(memory)


# The program's end.

SOURCE = """
    import os, signal, sys
    import procession as mp
    from procession.managers import SharedMemoryManager

    def make(address, key, queue):
        manager = SharedMemoryManager(address, key)
        manager.connect()
        queue.put([manager.SharedMemory(10).name])

    if __name__ == "__main__":
        method, how = sys.argv[1:]
        ctx = mp.get_context(method)
        manager = SharedMemoryManager(authkey=b"key", ctx=ctx)
        manager.start()
        memory, numbers = manager.SharedMemory(10), manager.ShareableList([1, 2])
        queue = ctx.Queue()
        child = ctx.Process(target=make, args=(manager.address, b"key", queue))
        child.start()
        names = [memory.name, numbers.shm.name, *queue.get()]
        child.join()
        print(*names, manager._process.pid, flush=True)
        if how == "waits":
            signal.pause()
        if how == "fails":
            raise SystemExit(3)
"""


@pytest.mark.skipif(NAME == "multiprocessing", reason="procession's promise")
@pytest.mark.parametrize("last", ["root", "server", "all"])
@pytest.mark.parametrize("method", METHODS)
def test_all_is_gone_after_the_root_is_killed(method, last):
    with Program(SOURCE, method, "waits") as program:
        *names, pid = program.line().split()
        assert all(map(exists, names))
        if last == "server":
            os.kill(int(pid), signal.SIGKILL)
            eventually(lambda: gone(int(pid)))
        if last == "all":
            program.kill_tree()
        else:
            program.kill_root()
        eventually(lambda: not any(map(exists, names)), what="names unlinked")
        eventually(lambda: gone(int(pid)), what="the manager has ended")


@pytest.mark.parametrize(("how", "code"), [("returns", 0), ("fails", 3)])
@pytest.mark.parametrize("method", METHODS)
def test_a_root_that_does_not_shut_down(method, how, code):
    ended = run_program(SOURCE, method, how, code=code)
    *names, pid = ended.lines[0].split()
    assert ended.stderr == ""
    assert not any(map(exists, names))
    assert gone(int(pid))
