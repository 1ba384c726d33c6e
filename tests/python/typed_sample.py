"""How the package is used with types. mypy checks it; nobody runs it."""

from typing import TYPE_CHECKING

import procession as mp

if TYPE_CHECKING:
    from typing_extensions import assert_type


def square(numbers: "mp.Queue[int]", squares: "mp.Queue[int]", done: mp.Event) -> None:
    """The child."""
    for number in iter(numbers.get, 0):
        assert_type(number, int)
        squares.put(number * number)
    done.set()


def main() -> None:
    """The parent."""
    numbers: mp.Queue[int] = mp.Queue()
    squares = mp.Queue[int](maxsize=8)
    done = mp.Event()
    process = mp.Process(target=square, args=(numbers, squares, done), affinity={0})
    process.start()
    assert_type(numbers.put_many(range(1, 4)), int)
    numbers.put(0, timeout=1.0)
    numbers.put("one")  # type: ignore[arg-type]
    assert_type(squares.get(timeout=1), int)
    assert_type(squares.get_many(8), list[int])
    assert_type(done.wait(0.5), bool)
    process.join(1.0)
    if process.exitcode is not None:
        assert_type(process.exitcode, int)


def critical(lock: mp.Lock) -> None:
    """Work under a lock whose holder may be killed."""
    try:
        with lock:
            pass
        if lock.acquire(timeout=0.5):
            lock.release()
        lock.acquire(timeout="soon")  # type: ignore[arg-type]
    except mp.BrokenLockError as error:
        assert_type(error.pid, "int | None")
        assert_type(lock.reset(), bool)


def contexts() -> None:
    """The same words of one start method."""
    context = mp.get_context("spawn")
    assert_type(context.Lock(), mp.Lock)
    assert_type(context.Process(target=print, daemon=True), mp.Process)
    with mp.Condition(mp.Lock()) as acquired:
        assert_type(acquired, bool)
    reader, _writer = mp.Pipe(duplex=False)
    assert_type(reader, mp.Connection)
    named = Named(ctx=context)
    assert_type(named.is_set(), bool)


class Named(mp.Event):
    """The classes may be subclassed, and take a context as those of multiprocessing do."""

    name = "ready"


def work(orders: "mp.JoinableQueue[str]", answers: "mp.SimpleQueue[int]") -> None:
    """A worker of queues that count."""
    assert_type(orders.get(), str)
    answers.put(1)
    answers.put("one")  # type: ignore[arg-type]
    assert_type(answers.get(), int)
    assert_type(mp.JoinableQueue[str](3), "mp.JoinableQueue[str]")
    orders.task_done()
    orders.join()


def length(word: str) -> int:
    """A task."""
    return len(word)


def pool() -> None:
    """The calls of a pool know what the function takes and returns."""
    with mp.Pool(2) as workers:
        assert_type(workers.map(length, ["a", "b"]), list[int])
        assert_type(workers.apply(length, ("a",)), int)
        assert_type(workers.apply_async(length, ("a",)).get(), int)
        assert_type(next(workers.imap(length, ["a"])), int)
        workers.map(length, [1, 2])  # type: ignore[arg-type]
