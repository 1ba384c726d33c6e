"""Exceptions that cross between processes: of tasks, and of pools."""

import contextlib
import pickle
import signal
import traceback
from multiprocessing.context import ProcessError
from typing import Any, NamedTuple, Optional

from .pickling import dumps


class WorkerDied(ProcessError):
    """The worker that ran a task died before it was done.

    `task` says which task, `pid` is the worker's process id, `exitcode` as Process.exitcode:
    positive what it exited with, negative the signal that killed it, None if it is not known.
    """

    def __init__(self, task: str, pid: int, exitcode: Optional[int] = None) -> None:
        super().__init__(task, pid, exitcode)
        self.task = task
        self.pid = pid
        self.exitcode = exitcode

    @property
    def signal(self) -> Optional[int]:
        """The signal that killed the worker, if one did."""
        return None if self.exitcode is None or self.exitcode >= 0 else -self.exitcode

    def __str__(self) -> str:
        if self.exitcode is None:
            how = "died"
        elif self.signal is None:
            how = f"ended with exit code {self.exitcode}"
        else:
            how = f"was killed by signal {_signal_name(self.signal)}"
        return f"worker {self.pid} {how} while it ran {self.task}"


class PoolTerminated(ProcessError):
    """The pool was terminated before the task was done."""


class RemoteError(Exception):
    """Stands for an exception whose class can't come back: its name, text and attributes."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(name, text)
        self.name = name

    def __str__(self) -> str:
        name, text = self.args
        return f"{name}: {text}"


class _Packed(NamedTuple):
    """An exception on its way, in as many forms as could be made."""

    whole: Optional[bytes]
    kind: Optional[bytes]
    arguments: Optional[bytes]
    attributes: Optional[bytes]
    name: str
    text: str
    traceback: str
    cause: Optional["_Packed"]


def pack(error: BaseException) -> bytes:
    """An exception as bytes, with its traceback, cause and attributes. Never fails."""
    return pickle.dumps(_pack(error, set()))


def encoding_error(error: BaseException, result: object) -> bytes:
    """The exception of a task whose result does not pickle."""
    from multiprocessing.pool import MaybeEncodingError  # type: ignore[attr-defined]

    wrapped = MaybeEncodingError(error, None)
    wrapped.value = _text(result, repr)
    wrapped.args = (wrapped.exc, wrapped.value)
    wrapped.__cause__ = error
    return pack(wrapped)


def _pack(error: BaseException, seen: set[int]) -> _Packed:
    seen.add(id(error))
    cause = error.__cause__
    kind = type(error)
    lines = traceback.format_exception(kind, error, error.__traceback__)
    return _Packed(
        whole=_whole(error),
        kind=_dumped(kind),
        arguments=_dumped(tuple(_or_text(argument) for argument in error.args)),
        attributes=_dumped({name: value for name, value in vars(error).items() if _pickles(value)}),
        name=kind.__qualname__ if kind.__module__ == "builtins" else _full_name(kind),
        text=_text(error, str),
        traceback="".join(lines),
        cause=None if cause is None or id(cause) in seen else _pack(cause, seen),
    )


def _whole(error: BaseException) -> Optional[bytes]:
    """The exception pickled as its class wants it, if that brings it back."""
    try:
        packed = dumps(error)
        return packed if type(pickle.loads(packed)) is type(error) else None
    except Exception:
        return None


def _dumped(value: object) -> Optional[bytes]:
    try:
        return dumps(value)
    except Exception:
        return None


def _pickles(value: object) -> bool:
    try:
        pickle.loads(dumps(value))
    except Exception:
        return False
    return True


def _or_text(value: object) -> object:
    return value if _pickles(value) else _text(value, repr)


def _text(value: object, how: Any) -> str:
    try:
        return str(how(value))
    except Exception as failure:
        return f"<{type(value).__name__} that fails to show itself: {type(failure).__name__}>"


def unpack(packed: bytes) -> BaseException:
    """The exception that `pack` packed. Its `__cause__` has the traceback as text, and as its own
    cause the exception's."""
    return _unpack(pickle.loads(packed))


def _unpack(packed: _Packed) -> BaseException:
    from multiprocessing.pool import RemoteTraceback  # type: ignore[attr-defined]

    error = _rebuilt(packed)
    text: BaseException = RemoteTraceback(f'\n"""\n{packed.traceback}"""')
    if packed.cause is not None:
        text.__cause__ = _unpack(packed.cause)
    error.__cause__ = text
    return error


def _rebuilt(packed: _Packed) -> BaseException:
    if packed.whole is not None:
        try:
            error = pickle.loads(packed.whole)
        except Exception:
            error = None
        if isinstance(error, BaseException):
            return error
    try:
        # Made anew without its `__init__`.
        kind, arguments = _loaded(packed.kind), _loaded(packed.arguments)
        error = kind.__new__(kind, *arguments)
        error.args = arguments
    except Exception:
        error = None
    if not isinstance(error, BaseException):
        error = RemoteError(packed.name, packed.text)
    with contextlib.suppress(Exception):
        vars(error).update(_loaded(packed.attributes))
    rebuilt: BaseException = error
    return rebuilt


def _loaded(packed: Optional[bytes]) -> Any:
    return None if packed is None else pickle.loads(packed)


def _full_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
