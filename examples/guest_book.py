"""A manager holds a guest book for all: a class of its own, a generator, nested containers."""

import argparse

import procession as mp
from procession.managers import BaseProxy, SyncManager


class GuestBook:
    """Lives in the manager's process; others call its methods."""

    def __init__(self, house):
        self.house = house
        self._entries = []

    def sign(self, name):
        """Write a line; returns how many there are."""
        if not name:
            raise ValueError("a guest needs a name")
        self._entries.append(name)
        return len(self._entries)

    def entries(self):
        """All lines, in alphabetical order."""
        return sorted(self._entries)

    def _burn(self):
        self._entries.clear()


def page_numbers():
    """Numbers for the pages: a generator whose proxy is an iterator."""
    yield from range(100, 105)


class NumbersProxy(BaseProxy):
    """Steps through a generator in the manager."""

    _exposed_ = ("__next__",)

    def __iter__(self):
        return self

    def __next__(self):
        return self._callmethod("__next__")


class House(SyncManager):
    """A manager that knows guest books."""


House.register("GuestBook", GuestBook)
House.register("StrictBook", GuestBook, exposed=("sign", "entries", "_burn"))
House.register("page_numbers", page_numbers, proxytype=NumbersProxy)


def visit(book, name, rooms, lock):
    """A guest."""
    book.sign(name)
    with lock:
        rooms["taken"] = rooms["taken"] + 1
    rooms["guests"].append(name)


def main():
    """Have guests come, and read the book."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--method", choices=mp.get_all_start_methods(), default="fork")
    ctx = mp.get_context(parser.parse_args().method)

    with House(ctx=ctx) as house:
        book, lock = house.GuestBook("Seaview"), house.Lock()
        rooms = house.dict(taken=0)
        rooms["guests"] = house.list()
        names = ["Noether", "Euler", "Gauss"]
        guests = [ctx.Process(target=visit, args=(book, name, rooms, lock)) for name in names]
        for guest in guests:
            guest.start()
        for guest in guests:
            guest.join()
        print("in the book:", book.entries())
        print("rooms taken:", rooms["taken"], "by", sorted(rooms["guests"]))
        print("pages:", list(house.page_numbers()))
        try:
            book.sign("")
        except ValueError as error:
            print("what a method raises comes back:", error)
        print("private methods are not exposed:", not hasattr(book, "_burn"))
        strict = house.StrictBook("Seaview")
        strict.sign("Riemann")
        strict._burn()
        print("unless they are named:", strict.entries())
        space = house.Namespace(motto="come in")
        space.floors = 3
        print("namespace:", space.motto, space.floors)


if __name__ == "__main__":
    main()
