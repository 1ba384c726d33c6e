"""The tour's pool: the same tasks, handed to workers by a call instead of by queues."""

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import procession as mp

from .files import File
from .similarity import Pair
from .work import Finding, SketchFiles, Task, carry_out

Fact = Callable[[Sequence[Pair], dict[str, int]], str]


def quiet() -> None:
    """What each worker does first: Ctrl-C is for the one who leads."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def do_one(root: str, task: Task) -> Finding:
    """One run: a worker does one task."""
    return carry_out(task, root, f"pool-{os.getpid()}")


class Team:
    """A pool that does the tour's tasks; when its `with` block is left, no worker is left."""

    def __init__(self, root: str, workers: int, method: str) -> None:
        self._do_one = partial(do_one, root)
        self.pool = mp.get_context(method).Pool(workers, initializer=quiet)

    def __enter__(self) -> "Team":
        return self

    def __exit__(self, *error: object) -> None:
        self.pool.terminate()
        self.pool.join()

    def do(self, tasks: Sequence[Task]) -> Iterator[Finding]:
        """Have these tasks done: those that sketch by `map`, which waits for all; the others by
        `imap`, which gives each result as soon as it and those before it are there."""
        if tasks and isinstance(tasks[0], SketchFiles):
            yield from self.pool.map(self._do_one, tasks, chunksize=1)
        else:
            yield from self.pool.imap(self._do_one, tasks)

    def ask(self, files: Sequence[File], pairs: Sequence[Pair], say: Callable[[str], None]) -> None:
        """Have each fact found out by a call of its own; whichever is done first is said first."""
        sizes = {file.path: file.size for file in files}
        for fact in FACTS:
            self.pool.apply_async(fact, args=(pairs, sizes), callback=say)

    def dismiss(self) -> None:
        """No more tasks: wait for the workers, and for the callbacks."""
        self.pool.close()
        self.pool.join()


def copies(pairs: Sequence[Pair], _: dict[str, int]) -> str:
    """How many are exactly the same."""
    return f"{sum(pair.similarity == 1 for pair in pairs)} pairs share all their runs of words"


def most_often(pairs: Sequence[Pair], _: dict[str, int]) -> str:
    """Which file has the most near duplicates."""
    times = Counter(path for pair in pairs for path in (pair.first, pair.second))
    if not times:
        return "no file has a near duplicate"
    path, count = min(times.items(), key=lambda item: (-item[1], item[0]))
    return f"{path} is like {count} others, more than any other file"


def largest(pairs: Sequence[Pair], sizes: dict[str, int]) -> str:
    """Which pair has the most bytes."""
    if not pairs:
        return "no two files are alike"
    pair = max(pairs, key=lambda pair: (sizes[pair.first] + sizes[pair.second], pair))
    return f"{pair.first} and {pair.second} are the largest pair"


FACTS: tuple[Fact, ...] = (copies, most_often, largest)
