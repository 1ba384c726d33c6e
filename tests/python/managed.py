"""Managers of the tests, and what their clients do: importable from a child of any start method."""

import os
import signal

from under_test import NAME, mp

managers = __import__(f"{NAME}.managers", fromlist=["*"])


class Counter:
    """What a manager keeps for the tests."""

    def __init__(self, start=0):
        self.count = start

    def add(self, number=1):
        self.count += number
        return self.count

    def pid(self):
        return os.getpid()

    def fail(self, *args):
        raise Odd(*args)

    def leave(self):
        raise SystemExit(3)

    def unpicklable(self):
        return lambda: None

    def child(self):
        return Counter(self.count)

    def numbers(self, end):
        yield from range(end)

    def _hidden(self):
        return "hidden"


class Odd(Exception):
    """An exception that does not unpickle by itself."""

    def __init__(self, one, other):
        super().__init__(f"{one} and {other}")


KEPT = Counter(100)


def the_kept_one():
    return KEPT


class Twice(managers.BaseProxy):
    """A proxy that does more than its object."""

    _exposed_ = ("add",)

    def add_twice(self, number):
        self._callmethod("add", (number,))
        return self._callmethod("add", (number,))


class Manager(managers.BaseManager):
    """Knows the types of the tests."""


Manager.register(
    "Counter",
    Counter,
    method_to_typeid={"child": "Child", "numbers": "Numbers"},
)
Manager.register("Child", create_method=False)
Manager.register("Numbers", proxytype=managers.IteratorProxy, create_method=False)
Manager.register("Twice", Counter, Twice)
Manager.register("Hidden", Counter, exposed=("add", "_hidden"))
Manager.register("kept", the_kept_one)
Manager.register("secret", Counter, create_method=False)
Manager.register("bytes", bytes)


# What clients do


def use_all(things):
    """Changes each of the things that a manager made."""
    things["list"].append("child")
    things["dict"]["child"] = 1
    things["set"].add("child")
    things["namespace"].child = "here"
    things["value"].value += 1
    things["array"][1] = 7
    things["queue"].put("child")
    with things["lock"], things["rlock"], things["rlock"], things["semaphore"]:
        things["event"].set()
    with things["condition"]:
        things["condition"].notify_all()
    things["barrier"].wait(30)


def put_new(queue, manager_address, key, how_many=1):
    """Puts proxies that this process makes, and ends."""
    manager = managers.SyncManager(manager_address, key)
    manager.connect()
    for number in range(how_many):
        queue.put(manager.list([number]))


def new_list(address, key, *values):
    manager = managers.SyncManager(address, key)
    manager.connect()
    return manager.list(values)


def append_all(proxy, *values):
    for value in values:
        proxy.append(value)


def append_received(connection, value):
    connection.recv().append(value)


def append_got(queue, value):
    queue.get().append(value)


def length(proxy):
    return len(proxy)


def forward(proxy, method, depth):
    """Hands a proxy to a child's child."""
    if depth:
        process = mp.get_context(method).Process(target=forward, args=(proxy, method, depth - 1))
        process.start()
        process.join()
        raise SystemExit(process.exitcode)
    proxy.append("from afar")


def get_and_put(source, target):
    while True:
        target.put(source.get())


def hold_and_wait(proxy, ready, event):
    assert len(proxy) >= 0
    ready.set()
    event.wait()


def acquire_and_wait(lock, ready):
    lock.acquire()
    ready.set()
    signal.pause()


def make_and_wait(address, key, ready):
    kept = [new_list(address, key, number) for number in range(10)]
    ready.put(len(kept))
    signal.pause()


def call_until_gone(proxy, said):
    """Calls until the server is gone; says how the call ended."""
    try:
        while True:
            len(proxy)
            said.put("called")
    except (EOFError, ConnectionError) as error:
        said.put(f"ended by {type(error).__name__}")


def get_until_gone(proxy, said):
    said.put("gets")
    try:
        proxy.get()
    except (EOFError, ConnectionError) as error:
        said.put(f"ended by {type(error).__name__}")


def exit_hard():
    os._exit(7)
