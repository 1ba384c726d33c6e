"""Wrong calls: shared memory."""

import contextlib

from .table import submodule, wrong


@wrong(ValueError)
def shared_memory_of_no_size(m):
    submodule(m, "shared_memory").SharedMemory(create=True, size=0)


@wrong(ValueError)
def shared_memory_of_a_negative_size(m):
    submodule(m, "shared_memory").SharedMemory(create=True, size=-5)


@wrong(FileNotFoundError)
def shared_memory_that_is_not_there(m):
    submodule(m, "shared_memory").SharedMemory("procession-no-such-name")


@wrong(ValueError)
def shared_memory_without_a_name(m):
    submodule(m, "shared_memory").SharedMemory()


@wrong(FileExistsError)
def shared_memory_made_twice(m):
    SharedMemory = submodule(m, "shared_memory").SharedMemory
    first = SharedMemory(create=True, size=8)
    try:
        SharedMemory(first.name, create=True, size=8)
    finally:
        first.close()
        first.unlink()


@contextlib.contextmanager
def shareable_list(m, items):
    made = submodule(m, "shared_memory").ShareableList(items)
    try:
        yield made
    finally:
        made.shm.close()
        made.shm.unlink()


@wrong(IndexError)
def index_beyond_a_shareable_list(m):
    with shareable_list(m, [1, 2]) as made:
        made[2]


@wrong(ValueError)
def text_longer_than_its_place_in_a_shareable_list(m):
    with shareable_list(m, ["ab"]) as made:
        made[0] = "much longer than eight characters"


@wrong(ValueError)
def index_of_what_a_shareable_list_has_not(m):
    with shareable_list(m, [1, 2]) as made:
        made.index(3)
