"""Values and arrays in shared memory: ctypes objects in the arena, with a lock or without.

What they hold is the same memory in every process that has them: inherited by fork, handed over as
an argument, or sent through a queue, a pipe or a pool. A process that dies leaves them as it had
written them; if it held the lock, whoever acquires that next gets BrokenLockError, until
`get_lock().reset()`.
"""

import ctypes
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing.reduction import ForkingPickler
from typing import TYPE_CHECKING, Any, Callable, Generic, Optional, TypeVar, Union, overload

from .context import default_context
from .heap import BufferWrapper

if TYPE_CHECKING:
    from types import TracebackType

    from ._procession import Memory

__all__ = ["Array", "RawArray", "RawValue", "Value", "copy", "synchronized"]

T = TypeVar("T")
Type = Union[str, type]
"""A typecode of the module `array` (and "c"), or a type of ctypes."""

typecode_to_type: dict[str, type] = {
    "c": ctypes.c_char,
    "u": ctypes.c_wchar,
    "b": ctypes.c_byte,
    "B": ctypes.c_ubyte,
    "h": ctypes.c_short,
    "H": ctypes.c_ushort,
    "i": ctypes.c_int,
    "I": ctypes.c_uint,
    "l": ctypes.c_long,
    "L": ctypes.c_ulong,
    "q": ctypes.c_longlong,
    "Q": ctypes.c_ulonglong,
    "f": ctypes.c_float,
    "d": ctypes.c_double,
}


def RawValue(typecode_or_type: Type, *args: Any) -> Any:
    """A ctypes object in shared memory, zero or made with `args`; without a lock.

    TypeError if the type is no typecode and no type of ctypes.

    >>> number = RawValue("i", 7)
    >>> number.value
    7
    """
    value = _new(_type_of(typecode_or_type))
    value.__init__(*args)
    return value


def RawArray(typecode_or_type: Type, size_or_initializer: Union[int, Sequence[Any]]) -> Any:
    """A ctypes array in shared memory, of so many zeros or of these elements; without a lock.

    ValueError if the size is negative, TypeError if the type is no typecode and no type of ctypes.

    >>> list(RawArray("i", [1, 2, 3]))
    [1, 2, 3]
    """
    element: Any = _type_of(typecode_or_type)
    if isinstance(size_or_initializer, int):
        return _new(element * size_or_initializer)
    elements: Any = size_or_initializer
    array = _new(element * len(elements))
    array.__init__(*elements)
    return array


def Value(typecode_or_type: Type, *args: Any, lock: Any = True, ctx: Any = None) -> Any:
    """A ctypes object in shared memory, with a lock around it.

    `lock` is True for an RLock of its own, a lock to use, or False for none: then this is RawValue.
    AttributeError if it is something else.

    >>> number = Value("i", 7)
    >>> with number.get_lock():
    ...     number.value += 1
    >>> number.value
    8
    """
    return _locked(RawValue(typecode_or_type, *args), lock, ctx)


def Array(
    typecode_or_type: Type,
    size_or_initializer: Union[int, Sequence[Any]],
    *,
    lock: Any = True,
    ctx: Any = None,
) -> Any:
    """A ctypes array in shared memory, with a lock around it; `lock` as for Value.

    >>> Array("i", 3)[:]
    [0, 0, 0]
    """
    return _locked(RawArray(typecode_or_type, size_or_initializer), lock, ctx)


def _locked(shared: Any, lock: Any, ctx: Any) -> Any:
    if lock is False:
        return shared
    if lock is True or lock is None:
        lock = (ctx or default_context()).RLock()
    elif not hasattr(lock, "acquire"):
        raise AttributeError(
            f"lock must be True, False or a lock: {lock!r} has no method 'acquire'"
        )
    return synchronized(shared, lock, ctx=ctx)


def copy(obj: Any) -> Any:
    """A copy of a ctypes object, in shared memory."""
    shared = _new(type(obj))
    ctypes.pointer(shared)[0] = obj
    return shared


def synchronized(obj: Any, lock: Any = None, ctx: Any = None) -> "SynchronizedBase[Any]":
    """A wrapper of a ctypes object that holds a lock for each access: `lock`, or one of its own."""
    if isinstance(obj, SynchronizedBase):
        raise AssertionError("object already synchronized: use it as it is, or its get_obj()")
    ctx = ctx or default_context()
    if isinstance(obj, ctypes._SimpleCData):
        return Synchronized(obj, lock, ctx)
    if isinstance(obj, ctypes.Array):
        if obj._type_ is ctypes.c_char:
            return SynchronizedString(obj, lock, ctx)
        return SynchronizedArray(obj, lock, ctx)
    return _wrapper_of(type(obj))(obj, lock, ctx)


def _type_of(typecode_or_type: Type) -> type:
    if isinstance(typecode_or_type, str):
        try:
            return typecode_to_type[typecode_or_type]
        except KeyError:
            known = " ".join(typecode_to_type)
            raise TypeError(
                f"bad typecode {typecode_or_type!r}: expected one of {known}, or a type of ctypes"
            ) from None
    try:
        ctypes.sizeof(typecode_or_type)
    except TypeError:
        raise TypeError(
            f"expected a typecode or a type of ctypes, not {typecode_or_type!r}"
        ) from None
    return typecode_or_type


def _new(kind: Any) -> Any:
    """An object of this type, all zero."""
    return rebuild_ctype(kind, BufferWrapper(ctypes.sizeof(kind)), None)


def rebuild_ctype(kind: Any, wrapper: Any, length: Optional[int]) -> Any:
    """The object of this type, or the array of so many, that stands in some memory."""
    if length is not None:
        kind = kind * length
    ForkingPickler.register(kind, reduce_ctype)
    shared = kind.from_buffer(wrapper.create_memoryview())
    shared._wrapper = wrapper
    return shared


def _rebuild(kind: Any, memory: "Memory", length: Optional[int]) -> Any:
    return rebuild_ctype(kind, BufferWrapper.of(memory), length)


def reduce_ctype(obj: Any) -> Any:
    """How a ctypes object is pickled: by its memory if that is shared, else by its bytes."""
    wrapper = getattr(obj, "_wrapper", None)
    if wrapper is None:
        return obj.__reduce__()
    if isinstance(obj, ctypes.Array):
        return _rebuild, (obj._type_, wrapper.memory, obj._length_)
    return _rebuild, (type(obj), wrapper.memory, None)


class SynchronizedBase(Generic[T]):
    """A ctypes object, `get_obj()`, with a lock, `get_lock()`, which `with` holds."""

    def __init__(self, obj: Any, lock: Any = None, ctx: Any = None) -> None:
        self._obj = obj
        self._lock = lock or (ctx or default_context()).RLock()
        self.acquire = self._lock.acquire
        self.release = self._lock.release

    def __enter__(self) -> bool:
        held: bool = self._lock.__enter__()
        return held

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: "Optional[TracebackType]",
    ) -> None:
        self._lock.__exit__(kind, error, trace)

    def __reduce__(self) -> Any:
        return _resynchronized, (*reduce_ctype(self._obj), self._lock)

    def get_obj(self) -> Any:
        """The ctypes object, which is accessed without the lock."""
        return self._obj

    def get_lock(self) -> Any:
        """The lock."""
        return self._lock

    def __repr__(self) -> str:
        return f"<{type(self).__name__} wrapper for {self._obj}>"


def _resynchronized(rebuild: Callable[..., Any], arguments: Any, lock: Any) -> Any:
    return synchronized(rebuild(*arguments), lock)


def _property(name: str) -> property:
    """The object's attribute of this name, read and written while the lock is held."""

    def get(self: "SynchronizedBase[Any]") -> Any:
        with self._lock:
            return getattr(self._obj, name)

    def set(self: "SynchronizedBase[Any]", value: Any) -> None:
        with self._lock:
            setattr(self._obj, name, value)

    return property(get, set, doc=f"`{name}` of the object, with the lock held for each access.")


class Synchronized(SynchronizedBase[T]):
    """A number with a lock, which is held to read or write `value`; hold it yourself for `+=`."""

    if TYPE_CHECKING:
        value: T
    else:
        value = _property("value")


class SynchronizedArray(SynchronizedBase[T]):
    """An array with a lock, which is held for each access to an element or a slice."""

    def __len__(self) -> int:
        return len(self._obj)

    @overload
    def __getitem__(self, i: int) -> T: ...
    @overload
    def __getitem__(self, i: slice) -> list[T]: ...
    def __getitem__(self, i: Union[int, slice]) -> Any:
        with self._lock:
            return self._obj[i]

    @overload
    def __setitem__(self, i: int, value: T) -> None: ...
    @overload
    def __setitem__(self, i: slice, value: Iterable[T]) -> None: ...
    def __setitem__(self, i: Union[int, slice], value: Any) -> None:
        with self._lock:
            self._obj[i] = value

    def __getslice__(self, start: int, stop: int) -> list[T]:
        return self[start:stop]

    def __setslice__(self, start: int, stop: int, values: Iterable[T]) -> None:
        self[start:stop] = values

    if TYPE_CHECKING:

        def __iter__(self) -> Iterator[T]: ...


class SynchronizedString(SynchronizedArray[bytes]):
    """An array of characters with a lock: `value` up to the first zero, `raw` all of it."""

    if TYPE_CHECKING:
        value: bytes
        raw: bytes
    else:
        value = _property("value")
        raw = _property("raw")


_WRAPPERS: dict[type, type[SynchronizedBase[Any]]] = {}


def _wrapper_of(kind: Any) -> type[SynchronizedBase[Any]]:
    """The wrapper class of a structure: a property for each field."""
    if kind not in _WRAPPERS:
        fields = {name: _property(name) for name, *_ in _fields(kind)}
        _WRAPPERS[kind] = type(f"Synchronized{kind.__name__}", (SynchronizedBase,), fields)
    return _WRAPPERS[kind]


def _fields(kind: Any) -> Iterator[Any]:
    if not issubclass(kind, (ctypes.Structure, ctypes.Union)):
        raise AttributeError(
            f"a number, an array, a structure or a union of ctypes is synchronized, not {kind!r}"
        )
    for base in reversed(kind.__mro__):
        yield from base.__dict__.get("_fields_", ())
