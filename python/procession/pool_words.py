"""The words of a pool that are the same for processes and for threads."""

from collections.abc import Iterable, Iterator, Mapping
from multiprocessing import pool as standard
from typing import TYPE_CHECKING, Any, Callable, Optional, TypeVar

# How the function takes its argument: see PoolCore.submit.
ONE, STAR, CALL = 0, 1, 2
_P = TypeVar("_P", bound="PoolWords")
_S = TypeVar("_S")
_T = TypeVar("_T")

if TYPE_CHECKING:

    class ResultIterator(standard.IMapIterator[_T]):
        """An iterator over results, as they are done or in the order of the input."""

else:
    # Not generic when it runs.
    class ResultIterator(standard.IMapIterator):
        """An iterator over results, as they are done or in the order of the input."""

        def __class_getitem__(cls, _):
            return cls


class PoolWords(standard.Pool):
    """A pool: what it asks of its kind are `_check_running`, `apply_async`, `_map_async` and
    `_imap`, and the words of its state."""

    _processes: int

    def _check_running(self) -> None:
        raise NotImplementedError

    def _map_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Any],
        mode: int,
        chunksize: Optional[int] = None,
        callback: Optional[Callable[[Any], object]] = None,
        error_callback: Optional[Callable[[BaseException], object]] = None,
    ) -> standard.MapResult[Any]:
        raise NotImplementedError

    def _imap(
        self,
        ordered: bool,
        func: Callable[..., Any],
        items: Iterator[Any],
        chunk: int,
        buffersize: Optional[int],
    ) -> ResultIterator[Any]:
        raise NotImplementedError

    def __enter__(self: _P) -> _P:
        self._check_running()
        return self

    def __repr__(self) -> str:
        kind = type(self)
        return (
            f"<{kind.__module__}.{kind.__qualname__} state={self._state} "  # type: ignore[attr-defined]
            f"pool_size={self._processes}>"
        )

    def apply(
        self,
        func: Callable[..., _T],
        args: Iterable[Any] = (),
        kwds: Optional[Mapping[str, Any]] = None,
    ) -> _T:
        """The result of func(*args, **kwds), called by a worker."""
        return self.apply_async(func, args, kwds or {}).get()

    def map(
        self, func: Callable[[_S], _T], iterable: Iterable[_S], chunksize: Optional[int] = None
    ) -> list[_T]:
        """[func(x) for x in iterable], by the workers. If some raise, raises what the first of
        them in this order raised."""
        return self._map_async(func, iterable, ONE, chunksize).get()

    def starmap(
        self,
        func: Callable[..., _T],
        iterable: Iterable[Iterable[Any]],
        chunksize: Optional[int] = None,
    ) -> list[_T]:
        """[func(*x) for x in iterable], by the workers."""
        return self._map_async(func, iterable, STAR, chunksize).get()

    def map_async(
        self,
        func: Callable[[_S], _T],
        iterable: Iterable[_S],
        chunksize: Optional[int] = None,
        callback: Optional[Callable[[list[_T]], object]] = None,
        error_callback: Optional[Callable[[BaseException], object]] = None,
    ) -> standard.MapResult[_T]:
        """As map, without waiting."""
        return self._map_async(func, iterable, ONE, chunksize, callback, error_callback)

    def starmap_async(
        self,
        func: Callable[..., _T],
        iterable: Iterable[Iterable[Any]],
        chunksize: Optional[int] = None,
        callback: Optional[Callable[[list[_T]], object]] = None,
        error_callback: Optional[Callable[[BaseException], object]] = None,
    ) -> standard.MapResult[_T]:
        """As starmap, without waiting."""
        return self._map_async(func, iterable, STAR, chunksize, callback, error_callback)

    def imap(
        self,
        func: Callable[[_S], _T],
        iterable: Iterable[_S],
        chunksize: Optional[int] = 1,
        *,
        buffersize: Optional[int] = None,
    ) -> ResultIterator[_T]:
        """An iterator over func(x) for x in iterable, in this order. The input is read as far as
        workers need, and not more than `buffersize` results ahead of the iterator."""
        chunk = self._check_sizes(chunksize, buffersize)
        return self._imap(True, func, iter(iterable), chunk, buffersize)

    def imap_unordered(
        self,
        func: Callable[[_S], _T],
        iterable: Iterable[_S],
        chunksize: Optional[int] = 1,
        *,
        buffersize: Optional[int] = None,
    ) -> ResultIterator[_T]:
        """As imap, in the order in which they are done."""
        chunk = self._check_sizes(chunksize, buffersize)
        return self._imap(False, func, iter(iterable), chunk, buffersize)

    def _check_sizes(self, chunksize: Optional[int], buffersize: Optional[int]) -> int:
        self._check_running()
        chunk = 1 if chunksize is None else chunksize
        if chunk < 1:
            raise ValueError(f"Chunksize must be 1+, not {chunk:n}")
        if buffersize is not None and buffersize < 1:
            raise ValueError(f"buffersize must be 1 or more, or None; got {buffersize}")
        return chunk

    def _chunk_for(self, count: int, chunksize: Optional[int]) -> int:
        """How many of so many elements are one task."""
        if chunksize is None:
            chunksize = -(-count // (self._processes * 4))
        return max(1, chunksize)
