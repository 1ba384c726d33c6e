"""Pieces of shared memory, by the names of multiprocessing.heap: each is the arena's by itself."""

import contextlib
import weakref
from multiprocessing import reduction
from typing import Any

from ._procession import Memory

__all__ = ["Arena", "BufferWrapper", "Heap"]


class Arena:
    """`size` bytes of shared memory; `buffer` is a writable view of them.

    The processes that have it see the same bytes. It travels through queues, pipes and as an
    argument.

    >>> arena = Arena(4096)
    >>> arena.buffer[:2] = b"ok"
    """

    def __init__(self, size: int) -> None:
        self._take(Memory(size))

    def _take(self, memory: Memory) -> None:
        self.size = len(memory)
        self.memory = memory
        self.buffer = memoryview(memory)

    def __getstate__(self) -> Memory:
        return self.memory

    def __setstate__(self, memory: Memory) -> None:
        self._take(memory)


class Heap:
    """Says what BufferWrappers there are, as tests of multiprocessing.heap ask: each is an arena of
    one block, which is gone when the wrapper is."""

    # There is nothing to lock, to join, or to free later.
    _lock = contextlib.nullcontext()
    _pending_free_blocks: tuple[()] = ()

    def __init__(self) -> None:
        self._wrappers: weakref.WeakSet[BufferWrapper] = weakref.WeakSet()
        self._len_to_seq: dict[int, Any] = {}
        self._n_mallocs = 0

    def _note(self, wrapper: "BufferWrapper") -> None:
        self._n_mallocs += 1
        self._wrappers.add(wrapper)

    @property
    def _n_frees(self) -> int:
        return self._n_mallocs - len(self._wrappers)

    @property
    def _arenas(self) -> "list[BufferWrapper]":
        return list(self._wrappers)

    @property
    def _allocated_blocks(self) -> "dict[BufferWrapper, set[tuple[int, int]]]":
        return {wrapper: {(0, wrapper.size)} for wrapper in self._wrappers}


class BufferWrapper:
    """`size` bytes of shared memory for one value.

    ValueError for a negative size. It travels as what stands in it does. A pickler that is not
    procession's finds it in a ctypes object that it takes for one of its own process: RuntimeError.
    """

    _heap = Heap()

    def __init__(self, size: int) -> None:
        if size < 0:
            raise ValueError(f"Size {size} out of range: it must be 0 or more")
        self._take(Memory(size))

    def _take(self, memory: Memory) -> None:
        self.memory = memory
        self.size = len(memory)
        self._heap._note(self)

    @classmethod
    def of(cls, memory: Memory) -> "BufferWrapper":
        """The wrapper of memory that is there already."""
        wrapper = cls.__new__(cls)
        wrapper._take(memory)
        return wrapper

    def create_memoryview(self) -> memoryview:
        """A writable view of the bytes, which keeps them."""
        return memoryview(self.memory)

    def __reduce__(self) -> Any:
        raise RuntimeError(
            "a shared value that is pickled without procession's pickler would arrive as a private "
            "copy; hand it to a Process, a Pool, a Queue or a Connection of procession"
        )


def _rebuild(memory: Memory) -> BufferWrapper:
    return BufferWrapper.of(memory)


def _reduce(wrapper: BufferWrapper) -> tuple[Any, ...]:
    return _rebuild, (wrapper.memory,)


reduction.register(BufferWrapper, _reduce)
