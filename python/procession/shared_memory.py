"""Memory with a name: `SharedMemory`, and `ShareableList`, a list of plain values in it.

The names are files in /dev/shm, the same as those of multiprocessing.shared_memory, so that either
opens what the other has made. Whoever opens memory never takes its name along when he ends: a name
goes by `unlink()`, or, unless it was made with `track=False`, when the program is over whose
process has made it, however it ends.
"""

import os
import secrets
import struct
import sys
import weakref
from collections.abc import Iterable, Iterator
from functools import partial
from multiprocessing import resource_tracker, spawn
from types import GenericAlias
from typing import TYPE_CHECKING, Any, Generic, Optional, TypeVar, Union

from . import _procession

__all__ = ["ShareableList", "SharedMemory"]

_T = TypeVar("_T")
_SHM_NAME_PREFIX = "/psm_"
# No longer than names may be on other systems, so that what runs here runs there.
_NAME_BYTES = 4
_USE_POSIX = True

# Runs the extension module alone: the janitor needs nothing else of the package.
_JANITOR = """
import sys
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from importlib.util import module_from_spec
name, path, *numbers = sys.argv[1:]
loader = ExtensionFileLoader(name, path)
module = module_from_spec(ModuleSpec(name, loader, origin=path))
loader.exec_module(module)
module.serve_as_janitor([int(number) for number in numbers])
"""


def _janitor() -> Optional[tuple[bytes, list[bytes]]]:
    """The command line of the process that unlinks what is left when the program is over."""
    executable: Any = spawn.get_executable()  # str or bytes
    if not executable or getattr(sys, "frozen", False):
        # There is none, or it is the program itself, which would run once more.
        return None
    words = [executable, "-I", "-S", "-c", _JANITOR, _procession.__name__, _procession.__file__]
    return os.fsencode(executable), [os.fsencode(word) for word in words]


def _make_filename() -> str:
    """A name that nobody has, as a rule."""
    return _SHM_NAME_PREFIX + secrets.token_hex(_NAME_BYTES)


class SharedMemory:
    """Memory that every process of the machine's same user can open by its name.

    With `create` new memory is made, `size` bytes of zeros, under `name` or one of its own choice;
    else the one that has this name is opened. FileExistsError if the name is taken,
    FileNotFoundError if there is none, ValueError for a size that is not positive or a name that is
    missing.

    `track=False` leaves the name there when the program is over, until somebody calls `unlink()`.
    Tracked names of a program that is over are unlinked by a small process of ours, and a line on
    the standard error stream says so; a SIGKILL of that process and all others at once leaves them
    there. Whoever opened memory tracks nothing.

    >>> memory = SharedMemory(create=True, size=10)
    >>> memory.buf[:5] = b"hello"
    >>> same = SharedMemory(memory.name)
    >>> bytes(same.buf[:5])
    b'hello'
    >>> same.close(), memory.close(), memory.unlink()
    (None, None, None)
    """

    _name: str
    _buf: Optional[memoryview]
    _memory: Optional["_procession.NamedMemory"]
    # What programs that look beneath find: there is no descriptor once it is mapped.
    _fd = -1
    _flags = os.O_RDWR
    _mode = 0o600
    _prepend_leading_slash = True

    def __init__(
        self,
        name: Optional[str] = None,
        create: bool = False,
        size: int = 0,
        *,
        track: bool = True,
    ) -> None:
        if not size >= 0:
            raise ValueError(f"'size' must be a positive integer, not {size!r}")
        if create and size == 0:
            raise ValueError("'size' must be a positive number different from zero")
        if name is None and not create:
            raise ValueError("'name' can only be None if create=True")
        self._track = track
        # A fork has this object too, but has not made the memory.
        self._maker = os.getpid() if create else 0
        if not create:
            assert name is not None
            self._take("/" + name, _procession.NamedMemory.open(_plain(name)))
        elif name is not None:
            self._take("/" + name, self._made(name, size))
        else:
            while True:
                filename = _make_filename()
                try:
                    self._take(filename, self._made(filename, size))
                    break
                except FileExistsError:
                    continue

    def _made(self, name: str, size: int) -> "_procession.NamedMemory":
        return _procession.NamedMemory.create(
            _plain(name), size, _janitor() if self._track else None
        )

    def _take(self, name: str, memory: "_procession.NamedMemory") -> None:
        self._name = name
        self._memory = self._mmap = memory
        self._size = len(memory)
        self._buf = memoryview(memory)
        if self._maker or name not in _KNOWN:
            _KNOWN[name] = self

    def __reduce__(self) -> Any:
        return type(self), (self.name, False, self.size)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, size={self.size})"

    @property
    def buf(self) -> Any:
        """The bytes, to read and to write; None once it is closed."""
        return self._buf

    @property
    def name(self) -> str:
        """The name by which others open it."""
        return self._name[1:] if self._name.startswith("/") else self._name

    @property
    def size(self) -> int:
        """The number of bytes."""
        return self._size

    def close(self) -> None:
        """Lets go of the memory: `buf` is None from now on, and others keep theirs.

        BufferError if something else shows the memory still, a view of `buf` or an array on it.
        Without a call the memory goes with the last of these.
        """
        if self._buf is not None:
            self._buf.release()
            self._buf = None
        if self._memory is not None:
            self._memory.close()

    def unlink(self) -> None:
        """Takes the name away; who has the memory open keeps it.

        FileNotFoundError if nothing has the name any more.
        """
        if "\0" in self._name:
            raise ValueError("embedded null character in the name of shared memory")
        assert self._memory is not None
        self._memory.unlink()
        if (self._name, "shared_memory") in _THEIRS:
            _unregister_ours(self._name, "shared_memory")


# The memory that this process has made or opened, by the name of its file.
_KNOWN: "weakref.WeakValueDictionary[str, SharedMemory]" = weakref.WeakValueDictionary()
# The names that somebody has given to the standard library's tracker, which is another process.
_THEIRS: set[tuple[str, str]] = set()
_register, _unregister = resource_tracker.register, resource_tracker.unregister


def _register_theirs(name: str, rtype: str) -> None:
    """The standard library's `register`: what it is given by name it also takes back."""
    _THEIRS.add((name, rtype))
    _register(name, rtype)


def _unregister_ours(name: str, rtype: str) -> None:
    """The standard library's `unregister`, which programs call for what they opened: its tracker
    does not know our names, and would complain. Who made the memory means it."""
    memory = _KNOWN.get(name) if rtype == "shared_memory" else None
    if memory is None or (name, rtype) in _THEIRS:
        _THEIRS.discard((name, rtype))
        _unregister(name, rtype)
    elif memory._maker == os.getpid() and memory._memory is not None:
        memory._memory.untrack()


resource_tracker.register = _register_theirs  # type: ignore[assignment]
resource_tracker.unregister = _unregister_ours  # type: ignore[assignment]


def _plain(name: str) -> str:
    """The name as the file has it."""
    return name[1:] if name.startswith("/") else name


class _Padded:
    """How text and bytes stand in a list: their format, and what is read by it.

    A format that ends with "s" has room for the whole slot, and the zeros at its end are padding:
    multiprocessing knows no other. One that ends with "x" has the exact length, for values that end
    with zeros themselves. With the code of a number multiprocessing too gives such bytes as they
    are.
    """

    @staticmethod
    def format(value: bytes, room: int) -> str:
        if not value.endswith(b"\0"):
            return f"{room}s"
        exact = f"{len(value)}s" + ("x" if len(value) < room else "0x")
        if len(exact) > _FORMAT:
            raise ValueError(
                f"a value of {len(value)} bytes with a zero at its end is too long for a list"
            )
        return exact

    @staticmethod
    def value(found: bytes, form: str) -> bytes:
        return found if form.endswith("x") else found.rstrip(b"\0")


# Bytes of a slot's unit, and of a format.
_UNIT = 8
_FORMAT = 8
# What a slot's code says.
_AS_IT_IS, _STR, _BYTES, _NONE = range(4)
_FORMATS: dict[type, str] = {int: "q", float: "d", bool: "xxxxxxx?", type(None): "xxxxxx?x"}


class ShareableList(Generic[_T]):
    """A list of int, float, bool, str, bytes and None in shared memory, of fixed length.

    Made of a sequence, or opened by the `name` of its memory, `shm`. A slot takes any value of
    these types later, as long as it has room: text and bytes up to the length of what first stood
    there, rounded up to 8. KeyError for other types, ValueError for values that have no room,
    IndexError outside of the list.

    Each value is read exactly as it was written. The layout is the one of multiprocessing, and
    either reads the other's; there text loses zeros at its end.

    >>> numbers = ShareableList([1, 2.5, "three", b"four\\0", None, True])
    >>> same = ShareableList(name=numbers.shm.name)
    >>> same[2] = "drei"
    >>> list(numbers)
    [1, 2.5, 'drei', b'four\\x00', None, True]
    >>> numbers.shm.unlink()
    """

    # In the memory: the number of slots n, n + 1 offsets of their data, the data, n formats of 8
    # bytes, n codes of 1.

    def __init__(self, sequence: Optional[Iterable[_T]] = None, *, name: Optional[str] = None):
        self._list_len: int
        self._allocated_offsets: list[int]
        if sequence is None and name is not None:
            self.shm = SharedMemory(name)
            (self._list_len,) = struct.unpack_from("q", self.shm.buf)
            self._allocated_offsets = list(
                struct.unpack_from(f"{self._list_len + 1}q", self.shm.buf, 8)
            )
            return
        values: list[Any] = list(sequence or ())
        self._list_len = len(values)
        self._allocated_offsets = [0]
        for value in values:
            units = 1
            if isinstance(value, (str, bytes)):
                # Of text multiprocessing counts the characters.
                units = max(len(value) // _UNIT + 1, -(-len(_encoded(value)) // _UNIT))
            elif type(value) not in _FORMATS:
                raise _wrong(value)
            self._allocated_offsets.append(self._allocated_offsets[-1] + units * _UNIT)
        self.shm = SharedMemory(
            name, create=True, size=self._offset_back_transform_codes + self._list_len
        )
        try:
            struct.pack_into(
                f"{self._list_len + 2}q",
                self.shm.buf,
                0,
                self._list_len,
                *self._allocated_offsets,
            )
            for position, value in enumerate(values):
                self._write(position, value)
        except BaseException:
            self.shm.unlink()
            raise

    @property
    def _offset_data_start(self) -> int:
        return (self._list_len + 2) * 8

    @property
    def _offset_packing_formats(self) -> int:
        return self._offset_data_start + self._allocated_offsets[-1]

    @property
    def _offset_back_transform_codes(self) -> int:
        return self._offset_packing_formats + self._list_len * _FORMAT

    def _checked(self, position: int, what: str) -> int:
        found = position + self._list_len if position < 0 else position
        if not 0 <= found < self._list_len:
            raise IndexError(f"{what} out of range")
        return found

    def _get_packing_format(self, position: int) -> str:
        at = self._offset_packing_formats + position * _FORMAT
        return bytes(self.shm.buf[at : at + _FORMAT]).rstrip(b"\0").decode()

    def _write(self, position: int, value: Any) -> None:
        start, end = self._allocated_offsets[position : position + 2]
        code, packed = _AS_IT_IS, value
        if isinstance(value, (str, bytes)):
            packed = _encoded(value)
            if len(packed) > end - start:
                raise ValueError(
                    f"bytes/str item exceeds available storage: it has {len(packed)} bytes, "
                    f"its slot {end - start}"
                )
            form = _Padded.format(packed, end - start)
            if isinstance(value, str):
                code = _STR
            elif form.endswith("s"):
                code = _BYTES
        elif type(value) in _FORMATS:
            form = _FORMATS[type(value)]
            code = _NONE if value is None else _AS_IT_IS
        else:
            raise _wrong(value)
        # First what may fail: a number may be too large.
        data = struct.pack(form, packed)
        at = self._offset_data_start + start
        self.shm.buf[at : at + len(data)] = data
        at = self._offset_packing_formats + position * _FORMAT
        struct.pack_into(f"{_FORMAT}s", self.shm.buf, at, form.encode())
        struct.pack_into("b", self.shm.buf, self._offset_back_transform_codes + position, code)

    def __getitem__(self, position: int) -> _T:
        position = self._checked(position, "index")
        form = self._get_packing_format(position)
        at = self._offset_data_start + self._allocated_offsets[position]
        (found,) = struct.unpack_from(form, self.shm.buf, at)
        (code,) = struct.unpack_from(
            "b", self.shm.buf, self._offset_back_transform_codes + position
        )
        value: Any = found
        if code == _NONE:
            value = None
        elif code == _BYTES:
            value = _Padded.value(found, form)
        elif code == _STR:
            value = _Padded.value(found, form).decode()
        result: _T = value
        return result

    def __setitem__(self, position: int, value: _T) -> None:
        self._write(self._checked(position, "assignment index"), value)

    def __len__(self) -> int:
        return self._list_len

    def __iter__(self) -> Iterator[_T]:
        return (self[position] for position in range(self._list_len))

    def __reduce__(self) -> Any:
        return partial(type(self), name=self.shm.name), ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self)}, name={self.shm.name!r})"

    @property
    def format(self) -> str:
        """The formats of all slots, as the module `struct` has them."""
        return "".join(self._get_packing_format(i) for i in range(self._list_len))

    def count(self, value: Any) -> int:
        """How often a value stands in the list."""
        return sum(value == found for found in self)

    def index(self, value: Any) -> int:
        """Where a value stands first; ValueError if nowhere."""
        for position, found in enumerate(self):
            if value == found:
                return position
        raise ValueError(f"{value!r} not in this container")

    if not TYPE_CHECKING:
        __class_getitem__ = classmethod(GenericAlias)


def _encoded(value: Union[str, bytes]) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _wrong(value: Any) -> KeyError:
    kind = type(value).__name__
    return KeyError(
        f"a ShareableList holds int, float, bool, str, bytes and None, not {kind}: {value!r}"
    )
