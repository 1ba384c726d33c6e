"""SharedMemory and ShareableList: names that others open, views that last, and who unlinks."""

import contextlib
import gc
import os
import pickle
import signal
import stat
from multiprocessing import shared_memory as standard
from pathlib import Path

import pytest
from deadline import GUARD, eventually
from processes import finish, gone, start
from procession import shared_memory
from procession.shared_memory import ShareableList, SharedMemory
from program import Program, run_program
from seed import SEED
from under_test import METHODS


def exists(name):
    return Path("/dev/shm", name).exists()


@pytest.fixture
def memory():
    made = SharedMemory(create=True, size=100)
    yield made
    if exists(made.name):
        made.unlink()


def fill(memory):
    memory.buf[:4] = b"fine"
    memory.close()


def fill_by_name(name):
    fill(SharedMemory(name))


def test_as_an_argument_and_by_name(ctx, memory):
    finish(start(ctx, fill, memory))
    assert bytes(memory.buf[:4]) == b"fine"
    memory.buf[:4] = bytes(4)
    finish(start(ctx, fill_by_name, memory.name))
    assert bytes(memory.buf[:4]) == b"fine"
    assert exists(memory.name)


def make(queue):
    made = SharedMemory(create=True, size=10)
    made.buf[:2] = b"ok"
    queue.put(made)
    queue.put(os.getpid())
    signal.pause()


def test_the_creator_is_killed_and_the_name_stays(ctx):
    queue = ctx.Queue()
    child = start(ctx, make, queue)
    memory, pid = queue.get(timeout=GUARD), queue.get(timeout=GUARD)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: gone(pid))
    child.join()
    again = SharedMemory(memory.name)
    assert bytes(again.buf[:2]) == b"ok"
    memory.unlink()
    assert not exists(memory.name)


@pytest.mark.parametrize(
    ("makes", "opens"),
    [(SharedMemory, standard.SharedMemory), (standard.SharedMemory, SharedMemory)],
)
def test_the_standard_library_and_we_open_each_others(makes, opens):
    made = makes(create=True, size=5000)
    opened = opens(made.name)
    made.buf[:3] = b"abc"
    assert bytes(opened.buf[:3]) == b"abc"
    assert opened.size in (5000, 8192)
    opened.close()
    made.close()
    made.unlink()
    assert not exists(made.name)


def test_the_file_is_its_users_alone_and_whole_at_once(memory):
    found = Path("/dev/shm", memory.name).stat()
    assert stat.S_IMODE(found.st_mode) == 0o600
    assert found.st_size == memory.size == len(memory.buf) == 100
    assert bytes(memory.buf) == bytes(100)
    assert repr(memory) == f"SharedMemory({memory.name!r}, size=100)"


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def drop_memory_with_views():
    SharedMemory(create=True, size=10).unlink()
    gc.collect()  # of what was inherited
    before = descriptors()
    views = []
    for number in range(50):
        memory = SharedMemory(create=True, size=5000)
        memory.unlink()
        memory.buf[0] = number
        views.append(memory.buf[:1])
        del memory
    gc.collect()
    assert descriptors() == before
    assert [view[0] for view in views] == list(range(50))


def test_a_view_keeps_the_memory_and_there_is_no_descriptor(ctx, capfd):
    finish(start(ctx, drop_memory_with_views))
    assert capfd.readouterr().err == ""


def test_close_with_a_view_is_an_error_and_can_be_done_again(memory):
    view = memory.buf[10:]
    with pytest.raises(BufferError, match="cannot close exported pointers exist"):
        memory.close()
    view[0] = 1
    view.release()
    memory.close()
    assert memory.buf is None
    memory.close()


def test_wrong_calls(memory):
    for error, call in [
        (ValueError, SharedMemory),
        (ValueError, lambda: SharedMemory(create=True)),
        (ValueError, lambda: SharedMemory(create=True, size=-1)),
        (FileNotFoundError, lambda: SharedMemory("no-such-memory")),
        (FileExistsError, lambda: SharedMemory(memory.name, create=True, size=10)),
        (ValueError, lambda: SharedMemory("a\0b", create=True, size=10)),
        (OSError, lambda: SharedMemory("a/b", create=True, size=10)),
        (OSError, lambda: SharedMemory("n" * 256, create=True, size=10)),
        (TypeError, lambda: SharedMemory(None, True, 10, False)),
    ]:
        with pytest.raises(error):
            call()
    with pytest.raises(FileNotFoundError) as raised:
        SharedMemory("no-such-memory")
    assert raised.value.filename == "/no-such-memory"
    memory.unlink()
    with pytest.raises(FileNotFoundError):
        memory.unlink()


def test_a_name_that_is_taken_is_chosen_anew(monkeypatch, memory):
    names = iter([memory._name, "/" + memory.name, f"/other-{os.getpid()}"])
    monkeypatch.setattr(shared_memory, "_make_filename", lambda: next(names))
    other = SharedMemory(create=True, size=1)
    assert other.name == f"other-{os.getpid()}"
    other.unlink()


# The program's end.

MAKES = """
    import os, signal, sys
    import procession as mp
    from procession.shared_memory import SharedMemory

    def make(queue, how):
        memory = SharedMemory(create=True, size=10)
        queue.put(memory.name)
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)

    if __name__ == "__main__":
        method, how = sys.argv[1:]
        ctx = mp.get_context(method)
        mine = SharedMemory(create=True, size=10)
        kept = SharedMemory(create=True, size=10, track=False)
        queue = ctx.Queue()
        names = [mine.name]
        for how_child in "ends", "killed":
            child = ctx.Process(target=make, args=(queue, how_child))
            child.start()
            names.append(queue.get())
            child.join()
        print(kept.name, *names, flush=True)
        if how == "waits":
            signal.pause()
        if how == "unlinks":
            for name in names:
                SharedMemory(name).unlink()
"""


def names_made(program):
    kept, *names = program.line().split()
    assert all(exists(name) for name in (kept, *names))
    SharedMemory(kept).unlink()
    return names


def all_gone(names):
    return not any(exists(name) for name in names)


@pytest.mark.parametrize("method", METHODS)
def test_the_root_is_killed_and_the_names_are_gone(method):
    with Program(MAKES, method, "waits") as program:
        names = names_made(program)
        program.kill_root()
        eventually(lambda: all_gone(names), what="names unlinked")
        eventually(lambda: "3 leaked shared_memory objects" in program.stderr, what="it says so")


@pytest.mark.parametrize("method", METHODS)
def test_the_root_ends_and_the_names_are_gone(method):
    with Program(MAKES, method, "ends") as program:
        names = names_made(program)
        assert program.wait() == 0
        eventually(lambda: all_gone(names), what="names unlinked")


@pytest.mark.parametrize("method", METHODS)
def test_who_unlinks_himself_hears_nothing(method):
    with Program(MAKES, method, "unlinks") as program:
        names = program.line().split()
        assert program.wait() == 0
        eventually(lambda: not janitors(program), what="the janitors have ended")
        assert program.stderr == ""
        assert all_gone(names[1:])
        SharedMemory(names[0]).unlink()


def janitors(program):
    """The janitors of a program: processes of its environment in a session of their own."""
    from processes import marked

    def is_one(pid):
        try:
            return b"serve_as_janitor" in Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return False

    return [pid for pid in marked(program.mark) if is_one(pid)]


def two_janitors(program):
    return eventually(lambda: (found := janitors(program)) and len(found) == 2 and found)


@pytest.mark.parametrize("which", ["first", "second", "one after the other"])
@pytest.mark.parametrize("method", METHODS)
def test_the_janitor_is_killed_then_the_root(method, which):
    with Program(MAKES, method, "waits") as program:
        names = names_made(program)
        first, second = sorted(two_janitors(program), key=starter_is_one_of_them(program))
        if which != "second":
            os.kill(first, signal.SIGKILL)
            eventually(lambda: gone(first))
        if which == "one after the other":
            eventually(lambda: set(two_janitors(program)) != {first, second})
        if which != "first":
            os.kill(second, signal.SIGKILL)
            eventually(lambda: gone(second))
        program.kill_root()
        eventually(lambda: all_gone(names), what="names unlinked")


def starter_is_one_of_them(program):
    found = janitors(program)

    def key(pid):
        parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
        return int(parent) in found

    return key


def test_both_janitors_are_killed_and_the_next_name_starts_others():
    source = """
        import signal
        from procession.shared_memory import SharedMemory

        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        one = SharedMemory(create=True, size=1)
        print(one.name, flush=True)
        signal.sigwait({signal.SIGUSR1})
        two = SharedMemory(create=True, size=1)
        print(two.name, flush=True)
        signal.sigwait({signal.SIGUSR1})
    """
    with Program(source) as program:
        names = [program.line()]
        # While they are stopped, neither starts another.
        found = two_janitors(program)
        for number in signal.SIGSTOP, signal.SIGKILL:
            for pid in found:
                os.kill(pid, number)
        eventually(lambda: not janitors(program), what="both are gone")
        os.kill(program.pid, signal.SIGUSR1)
        names += [program.line()]
        program.kill_root()
        eventually(lambda: all_gone(names), what="names unlinked")


@pytest.mark.parametrize("method", METHODS)
def test_makers_and_root_killed_at_any_instant_leave_no_name(method):
    source = """
        import itertools, os, random, signal, sys
        import procession as mp
        from procession.shared_memory import SharedMemory

        def make_for_ever(prefix, queue):
            queue.put(os.getpid())
            for number in itertools.count():
                memory = SharedMemory(f"{prefix}-{os.getpid()}-{number}", create=True, size=10)
                if number % 2:
                    memory.unlink()

        if __name__ == "__main__":
            method, prefix, seed = sys.argv[1:]
            ctx = mp.get_context(method)
            queue, instants = ctx.Queue(), random.Random(seed)
            children = [ctx.Process(target=make_for_ever, args=(prefix, queue)) for _ in range(6)]
            for child in children:
                child.start()
                queue.get()
            never = ctx.Event()
            for child in children[:4]:
                never.wait(instants.random() / 50)
                child.kill()
            print("killed", flush=True)
            signal.pause()
    """
    prefix = f"instant-{os.getpid()}"
    with Program(source, method, prefix, SEED) as program:
        assert program.line() == "killed"
        program.kill_root()
        left = Path("/dev/shm").glob
        eventually(lambda: "leaked" in program.stderr, what="the janitor has come")
        eventually(lambda: not [*left(f"{prefix}-*")], what="names unlinked")


def test_a_name_that_leads_to_another_file_by_now_is_left_alone():
    source = """
        import os
        from procession.shared_memory import SharedMemory

        memory = SharedMemory(create=True, size=1)
        os.unlink("/dev/shm/" + memory.name)
        open("/dev/shm/" + memory.name, "x").close()
        print(memory.name)
    """
    with Program(source) as program:
        name = program.line()
        assert program.wait() == 0
        eventually(lambda: not janitors(program), what="the janitors have ended")
        assert exists(name)
        os.unlink(f"/dev/shm/{name}")
        assert program.stderr == ""


def test_a_reader_that_is_another_program_ends_and_takes_nothing_along(memory):
    source = """
        import sys
        from procession.shared_memory import SharedMemory

        print(bytes(SharedMemory(sys.argv[1]).buf[:2]))
    """
    memory.buf[:2] = b"ok"
    ended = run_program(source, memory.name)
    assert (ended.lines, ended.stderr) == (["b'ok'"], "")
    assert exists(memory.name)


@pytest.mark.parametrize("method", METHODS)
def test_unregister_stays_harmless(method, memory):
    source = """
        import sys
        from multiprocessing import resource_tracker
        import procession as mp
        from procession.shared_memory import SharedMemory

        def read(name):
            memory = SharedMemory(name)
            resource_tracker.unregister(memory._name, "shared_memory")

        if __name__ == "__main__":
            tracked = SharedMemory(create=True, size=1)
            for name in sys.argv[2], tracked.name:
                reader = mp.get_context(sys.argv[1]).Process(target=read, args=(name,))
                reader.start()
                reader.join()
            made = SharedMemory(create=True, size=1)
            resource_tracker.unregister(made._name, "shared_memory")
            print(made.name, tracked.name)
    """
    with Program(source, method, memory.name) as program:
        name, tracked = program.line().split()
        assert program.wait() == 0
        eventually(lambda: not janitors(program), what="the janitors have ended")
        [line] = program.stderr.splitlines()
        assert "1 leaked shared_memory objects" in line
        assert not exists(tracked), "who reads it says nothing for who made it"
    assert exists(memory.name)
    # Who made it has said that nobody shall unlink it.
    SharedMemory(name).unlink()


def test_unlink_takes_back_what_was_registered_by_hand():
    source = """
        from multiprocessing import resource_tracker
        from procession.shared_memory import SharedMemory

        memory = SharedMemory(create=True, size=1)
        resource_tracker.register(memory._name, "shared_memory")
        memory.close()
        memory.unlink()
    """
    assert run_program(source).stderr == ""


# ShareableList.

VALUES = [1, -(1 << 63), 2.5, True, False, None, "", "three", "ä€😀", b"", b"12345678", "x" * 100]
ZEROS = [
    "\0",
    "a\0",
    "1234567\0",
    b"\0",
    b"four\0\0",
    b"1234567\0",
    b"\0" * 8,
    "ü\0\0",
    b"z" * 999 + b"\0",
]


@pytest.fixture
def listed():
    made = []

    def make(*args, **kwargs):
        made.append(ShareableList(*args, **kwargs))
        return made[-1]

    yield make
    for each in made:
        each.shm.unlink()


def change(shared):
    for position, value in enumerate(shared):
        shared[position] = [value][0]
    shared[0] = "changed"


def test_a_list_is_read_exactly_as_it_was_written(ctx, listed):
    values = ["12345678", *VALUES, *ZEROS]
    shared = listed(values)
    assert list(shared) == values
    assert [type(value) for value in shared] == [type(value) for value in values]
    finish(start(ctx, change, shared))
    assert list(shared) == ["changed", *values[1:]]


def test_the_standard_library_reads_ours(listed):
    values = [*VALUES, *[value for value in ZEROS if isinstance(value, bytes)]]
    shared = listed(values)
    theirs = standard.ShareableList(name=shared.shm.name)
    assert list(theirs) == values
    theirs[7] = "seven"
    theirs[-1] = b"y" * 1000
    assert (shared[7], shared[-1]) == ("seven", b"y" * 1000)
    assert theirs.format == shared.format
    theirs.shm.close()


def test_we_read_the_standard_librarys():
    theirs = standard.ShareableList([*VALUES[:8], b"bytes"])
    try:
        ours = ShareableList(name=theirs.shm.name)
        assert list(ours) == list(theirs)
        ours[7] = "vier\0"
        ours[8] = b"five\0"
        assert (ours[7], ours[8]) == ("vier\0", b"five\0")
        # Text loses its zeros there, as all does that was put there.
        assert (theirs[7], theirs[8]) == ("vier", b"five\0")
        theirs[7], theirs[8] = "fuenf..", b"sixsix."
        assert (ours[7], ours[8]) == ("fuenf..", b"sixsix.")
    finally:
        theirs.shm.close()
        theirs.shm.unlink()


def test_a_list_of_lists_words(listed):
    shared = listed(["pi", 3.14, b"x", None, 3.14])
    assert (len(shared), shared.count(3.14), shared.index(None)) == (5, 2, 3)
    assert shared[-1] == 3.14
    assert shared.format == "8sd8sxxxxxx?xd"
    assert repr(shared) == f"ShareableList({list(shared)}, name={shared.shm.name!r})"
    again = pickle.loads(pickle.dumps(shared))
    again[1] = "any"
    assert shared[1] == "any"
    assert len(listed()) == 0


def test_what_a_list_refuses(listed):
    shared = listed(["12345678", 1])
    for error, act in [
        (IndexError, lambda: shared[2]),
        (IndexError, lambda: shared[-3]),
        (IndexError, lambda: shared.__setitem__(2, 1)),
        (ValueError, lambda: shared.__setitem__(0, "x" * 17)),
        (ValueError, lambda: shared.__setitem__(1, "ninechars")),
        (KeyError, lambda: shared.__setitem__(0, [])),
        (ValueError, lambda: shared.index(7)),
        (KeyError, lambda: ShareableList([object()])),
        (FileNotFoundError, lambda: ShareableList(name="no-such-list")),
    ]:
        with pytest.raises(error):
            act()
    with pytest.raises(Exception, match=r"64|format|range"):
        shared[1] = 1 << 63
    assert list(shared) == ["12345678", 1]


WRONG = {
    "a list": lambda m: m.ShareableList([[1]]),
    "a complex number": lambda m: m.ShareableList([1j]),
    "a class": lambda m: m.ShareableList([int]),
    "a bytearray": lambda m: m.ShareableList([bytearray(b"x")]),
    "a kind of int": lambda m: m.ShareableList([signal.SIGTERM]),
    "a number too large": lambda m: m.ShareableList([1 << 63]),
    "text that is none": lambda m: m.ShareableList(["\ud800"]),
    "no sequence": lambda m: m.ShareableList(5),
    "no such name": lambda m: m.ShareableList(name="no-such-list"),
    "a name that is none": lambda m: m.ShareableList(name=5),
    "a name by its place": lambda m: m.ShareableList([1], "name"),
    "set to a list": lambda m: set_item(m, 0, []),
    "set to a bytearray": lambda m: set_item(m, 0, bytearray(b"x")),
    "set to a number too large": lambda m: set_item(m, 0, 1 << 63),
    "set to text too long": lambda m: set_item(m, 1, "longer than it was"),
    "set beyond": lambda m: set_item(m, 2, 1),
    "set at text": lambda m: set_item(m, "0", 1),
    "set at a slice": lambda m: set_item(m, slice(0, 1), [1]),
    "set at a fraction": lambda m: set_item(m, 0.0, 1),
    "got beyond": lambda m: with_list(m, lambda made: made[2]),
    "got at text": lambda m: with_list(m, lambda made: made["0"]),
    "got at a slice": lambda m: with_list(m, lambda made: made[:1]),
    "appended": lambda m: with_list(m, lambda made: made.append(1)),
    "deleted": lambda m: with_list(m, lambda made: made.__delitem__(0)),
    "its index": lambda m: with_list(m, lambda made: made.index("nowhere")),
    "its index from": lambda m: with_list(m, lambda made: made.index(1, 0)),
    "closed, then got": lambda m: with_list(m, lambda made: (made.shm.close(), made[0])),
    "closed, then set": lambda m: with_list(
        m, lambda made: (made.shm.close(), made.__setitem__(0, 1))
    ),
    "no name": lambda m: m.SharedMemory(),
    "size 0": lambda m: m.SharedMemory(create=True),
    "size below 0": lambda m: m.SharedMemory("no-such-memory", size=-1),
    "size of text": lambda m: m.SharedMemory(create=True, size="10"),
    "size beyond all": lambda m: m.SharedMemory(create=True, size=1 << 64),
    "name of bytes": lambda m: m.SharedMemory(b"name"),
    "name of a number": lambda m: m.SharedMemory(5, create=True, size=5),
    "empty name": lambda m: m.SharedMemory("", create=True, size=5),
    "name with a slash": lambda m: m.SharedMemory("a/b", create=True, size=5),
    "name too long": lambda m: m.SharedMemory("n" * 256, create=True, size=5),
    "no such memory": lambda m: m.SharedMemory("no-such-memory"),
    "unlinked twice": lambda m: with_memory(m, lambda made: (made.unlink(), made.unlink())),
    "closed, then used": lambda m: with_memory(m, lambda made: (made.close(), made.buf[0])),
    "closed while used": lambda m: with_memory(m, lambda made: (made.buf[1:], made.close())[1]),
    "beyond its end": lambda m: with_memory(m, lambda made: made.buf[10**6]),
    "no byte": lambda m: with_memory(m, lambda made: made.buf.__setitem__(0, 256)),
    "another buf": lambda m: with_memory(m, lambda made: setattr(made, "buf", b"")),
    "another size": lambda m: with_memory(m, lambda made: setattr(made, "size", 1)),
}


def with_list(m, use):
    made = m.ShareableList([1, "text"])
    try:
        use(made)
    finally:
        made.shm.close()
        made.shm.unlink()


def set_item(m, place, value):
    with_list(m, lambda made: made.__setitem__(place, value))


def with_memory(m, use):
    made = m.SharedMemory(create=True, size=10)
    try:
        use(made)
    finally:
        with contextlib.suppress(FileNotFoundError):
            made.unlink()
        with contextlib.suppress(BufferError):
            made.close()


@pytest.mark.parametrize("call", WRONG)
# What the standard library leaves open after an error is not ours to judge.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_wrong_calls_raise_what_they_raise_in_the_standard_library(call):
    raised = []
    for module in standard, shared_memory:
        with pytest.raises(Exception) as caught:  # noqa: PT011
            WRONG[call](module)
        raised.append(caught.type)
    assert raised[0] is raised[1]


@pytest.mark.parametrize("values", [[], [1], [None, True, 2.5], ["text"], [b"12345678"]])
def test_a_list_has_the_size_that_it_has_in_the_standard_library(listed, values):
    theirs = standard.ShareableList(values)
    try:
        assert listed(values).shm.size == theirs.shm.size
    finally:
        theirs.shm.close()
        theirs.shm.unlink()
