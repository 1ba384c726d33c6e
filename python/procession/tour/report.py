"""The report: one file to which all workers append, each while it holds the lock."""

from collections.abc import Iterable
from contextlib import AbstractContextManager

from .similarity import Pair


def line(pair: Pair) -> str:
    """A pair as the report shows it."""
    return f"{pair.similarity:7.1%}  {pair.first}  {pair.second}"


def begin(path: str) -> None:
    """Make the report, without a line yet."""
    with open(path, "w", encoding="utf-8"):
        pass


def append(path: str, lock: AbstractContextManager[object], pairs: Iterable[Pair]) -> None:
    """Add a line for each pair. Without the lock two workers' lines could mix."""
    text = "".join(f"{line(pair)}\n" for pair in pairs)
    if text:
        with lock, open(path, "a", encoding="utf-8") as file:
            file.write(text)


def holds(path: str, pairs: Iterable[Pair]) -> bool:
    """Whether the report has one whole line for each pair, in any order, and no other."""
    with open(path, encoding="utf-8") as file:
        return sorted(file.read().splitlines()) == sorted(map(line, pairs))
