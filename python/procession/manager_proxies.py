"""The proxies of `SyncManager`'s types."""

import time
from types import GenericAlias
from typing import Any, Callable, Optional

from .manager_proxy import BaseProxy, MakeProxyType


class IteratorProxy(BaseProxy):
    """A proxy of an iterator or generator."""

    _exposed_ = ("__next__", "send", "throw", "close")

    def __iter__(self) -> "IteratorProxy":
        return self

    def __next__(self, *args: Any) -> Any:
        return self._callmethod("__next__", args)

    def send(self, *args: Any) -> Any:
        """Calls send of the generator."""
        return self._callmethod("send", args)

    def throw(self, *args: Any) -> Any:
        """Calls throw of the generator."""
        return self._callmethod("throw", args)

    def close(self, *args: Any) -> Any:
        """Calls close of the generator."""
        return self._callmethod("close", args)


class AcquirerProxy(BaseProxy):
    """A proxy of a lock or semaphore."""

    _exposed_: tuple[str, ...] = ("acquire", "release", "locked")

    def acquire(self, blocking: bool = True, timeout: Optional[float] = None) -> bool:
        """Waits until it is free, for `timeout` seconds at most; says whether it is got."""
        args = (blocking,) if timeout is None else (blocking, timeout)
        return bool(self._callmethod("acquire", args))

    def release(self) -> None:
        """Lets it go."""
        self._callmethod("release")

    def locked(self) -> bool:
        """Whether nobody could acquire it at this moment."""
        return bool(self._callmethod("locked"))

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *error: object) -> None:
        self.release()


class ConditionProxy(AcquirerProxy):
    """A proxy of a condition."""

    _exposed_ = ("acquire", "release", "locked", "wait", "notify", "notify_all")

    def wait(self, timeout: Optional[float] = None) -> bool:
        """Waits for a notification, for `timeout` seconds at most; says whether there was one."""
        return bool(self._callmethod("wait", (timeout,)))

    def notify(self, n: int = 1) -> None:
        """Wakes `n` of those who wait."""
        self._callmethod("notify", (n,))

    def notify_all(self) -> None:
        """Wakes all who wait."""
        self._callmethod("notify_all")

    def wait_for(self, predicate: Callable[[], Any], timeout: Optional[float] = None) -> Any:
        """Waits until `predicate()`, called in this process, gives something true; its last
        result."""
        until = None if timeout is None else time.monotonic() + timeout
        result = predicate()
        while not result:
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                break
            self.wait(left)
            result = predicate()
        return result


class EventProxy(BaseProxy):
    """A proxy of an event."""

    _exposed_ = ("is_set", "set", "clear", "wait")

    def is_set(self) -> bool:
        """Whether it is set."""
        return bool(self._callmethod("is_set"))

    def set(self) -> None:
        """Sets it and wakes all who wait."""
        self._callmethod("set")

    def clear(self) -> None:
        """Clears it."""
        self._callmethod("clear")

    def wait(self, timeout: Optional[float] = None) -> bool:
        """Waits until it is set, for `timeout` seconds at most; says whether it was."""
        return bool(self._callmethod("wait", (timeout,)))


class BarrierProxy(BaseProxy):
    """A proxy of a barrier."""

    _exposed_ = ("__getattribute__", "wait", "abort", "reset")

    def wait(self, timeout: Optional[float] = None) -> int:
        """Waits until all parties have come, for `timeout` seconds at most; a number for each."""
        return int(self._callmethod("wait", (timeout,)))

    def abort(self) -> None:
        """Breaks it."""
        self._callmethod("abort")

    def reset(self) -> None:
        """Makes it whole again; who waits gets BrokenBarrierError."""
        self._callmethod("reset")

    @property
    def parties(self) -> int:
        """How many have to come."""
        return int(self._callmethod("__getattribute__", ("parties",)))

    @property
    def n_waiting(self) -> int:
        """How many have come."""
        return int(self._callmethod("__getattribute__", ("n_waiting",)))

    @property
    def broken(self) -> bool:
        """Whether it is broken."""
        return bool(self._callmethod("__getattribute__", ("broken",)))


class NamespaceProxy(BaseProxy):
    """A proxy of a namespace: its attributes are the namespace's, but for those that begin with an
    underscore."""

    _exposed_ = ("__getattribute__", "__setattr__", "__delattr__")

    def __getattr__(self, key: str) -> Any:
        if key[0] == "_":
            return object.__getattribute__(self, key)
        call = object.__getattribute__(self, "_callmethod")
        return call("__getattribute__", (key,))

    def __setattr__(self, key: str, value: Any) -> None:
        if key[0] == "_":
            object.__setattr__(self, key, value)
            return
        self._callmethod("__setattr__", (key, value))

    def __delattr__(self, key: str) -> None:
        if key[0] == "_":
            object.__delattr__(self, key)
            return
        self._callmethod("__delattr__", (key,))


class ValueProxy(BaseProxy):
    """A proxy of a value."""

    _exposed_ = ("get", "set")
    __class_getitem__: Any = classmethod(GenericAlias)

    def get(self) -> Any:
        """The value."""
        return self._callmethod("get")

    def set(self, value: Any) -> None:
        """Sets the value."""
        self._callmethod("set", (value,))

    @property
    def value(self) -> Any:
        """The value."""
        return self.get()

    @value.setter
    def value(self, value: Any) -> None:
        self.set(value)


BaseListProxy: Any = MakeProxyType(
    "BaseListProxy",
    (
        "__add__",
        "__contains__",
        "__delitem__",
        "__getitem__",
        "__imul__",
        "__len__",
        "__mul__",
        "__reversed__",
        "__rmul__",
        "__setitem__",
        "append",
        "clear",
        "copy",
        "count",
        "extend",
        "index",
        "insert",
        "pop",
        "remove",
        "reverse",
        "sort",
    ),
)


class ListProxy(BaseListProxy):  # type: ignore[misc]
    """A proxy of a list."""

    __class_getitem__: Any = classmethod(GenericAlias)

    def __iadd__(self, value: Any) -> "ListProxy":
        self._callmethod("extend", (value,))
        return self

    def __imul__(self, value: Any) -> "ListProxy":
        self._callmethod("__imul__", (value,))
        return self


_BaseDictProxy: Any = MakeProxyType(
    "_BaseDictProxy",
    (
        "__contains__",
        "__delitem__",
        "__getitem__",
        "__ior__",
        "__iter__",
        "__len__",
        "__or__",
        "__reversed__",
        "__ror__",
        "__setitem__",
        "clear",
        "copy",
        "fromkeys",
        "get",
        "items",
        "keys",
        "pop",
        "popitem",
        "setdefault",
        "update",
        "values",
    ),
)
_BaseDictProxy._method_to_typeid_ = {"__iter__": "Iterator"}


class DictProxy(_BaseDictProxy):  # type: ignore[misc]
    """A proxy of a dictionary."""

    __class_getitem__: Any = classmethod(GenericAlias)

    def __ior__(self, value: Any) -> "DictProxy":
        self._callmethod("__ior__", (value,))
        return self


_BaseSetProxy: Any = MakeProxyType(
    "_BaseSetProxy",
    (
        "__and__",
        "__contains__",
        "__ge__",
        "__gt__",
        "__iand__",
        "__ior__",
        "__isub__",
        "__iter__",
        "__ixor__",
        "__le__",
        "__len__",
        "__lt__",
        "__or__",
        "__rand__",
        "__ror__",
        "__rsub__",
        "__rxor__",
        "__sub__",
        "__xor__",
        "add",
        "clear",
        "copy",
        "difference",
        "difference_update",
        "discard",
        "intersection",
        "intersection_update",
        "isdisjoint",
        "issubset",
        "issuperset",
        "pop",
        "remove",
        "symmetric_difference",
        "symmetric_difference_update",
        "union",
        "update",
    ),
)
_BaseSetProxy._method_to_typeid_ = {"__iter__": "Iterator"}


class SetProxy(_BaseSetProxy):  # type: ignore[misc]
    """A proxy of a set."""

    __class_getitem__: Any = classmethod(GenericAlias)

    def _update(self, name: str, value: Any) -> "SetProxy":
        self._callmethod(name, (value,))
        return self

    def __ior__(self, value: Any) -> "SetProxy":
        return self._update("__ior__", value)

    def __iand__(self, value: Any) -> "SetProxy":
        return self._update("__iand__", value)

    def __ixor__(self, value: Any) -> "SetProxy":
        return self._update("__ixor__", value)

    def __isub__(self, value: Any) -> "SetProxy":
        return self._update("__isub__", value)


_BaseArrayProxy: Any = MakeProxyType("_BaseArrayProxy", ("__len__", "__getitem__", "__setitem__"))


class ArrayProxy(_BaseArrayProxy):  # type: ignore[misc]
    """A proxy of an array."""


BasePoolProxy: Any = MakeProxyType(
    "BasePoolProxy",
    (
        "apply",
        "apply_async",
        "close",
        "imap",
        "imap_unordered",
        "join",
        "map",
        "map_async",
        "starmap",
        "starmap_async",
        "terminate",
    ),
)
BasePoolProxy._method_to_typeid_ = {
    "apply_async": "AsyncResult",
    "map_async": "AsyncResult",
    "starmap_async": "AsyncResult",
    "imap": "Iterator",
    "imap_unordered": "Iterator",
}


class PoolProxy(BasePoolProxy):  # type: ignore[misc]
    """A proxy of a pool; its workers belong to the manager."""

    def __enter__(self) -> "PoolProxy":
        return self

    def __exit__(self, *error: object) -> None:
        self.terminate()
