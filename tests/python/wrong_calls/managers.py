"""Wrong calls: managers."""

import multiprocessing
import queue

from .table import submodule, wrong


@wrong((AssertionError, multiprocessing.ProcessError))
def manager_started_twice(m):
    with submodule(m, "managers").BaseManager() as manager:
        manager.start()


@wrong((AssertionError, multiprocessing.ProcessError))
def server_of_a_started_manager(m):
    with submodule(m, "managers").BaseManager() as manager:
        manager.get_server()


@wrong(AttributeError)
def manager_of_no_such_kind(m):
    with m.Manager() as manager:
        manager.unicorn()


@wrong(AttributeError)
def method_that_is_not_exposed(m):
    with m.Manager() as manager:
        manager.list()._grow()


@wrong(IndexError)
def what_a_managed_object_raises(m):
    with m.Manager() as manager:
        manager.list()[5]


@wrong(queue.Empty)
def managed_queue_that_is_empty(m):
    with m.Manager() as manager:
        manager.Queue().get_nowait()


@wrong(TypeError)
def initializer_of_a_manager_that_can_not_be_called(m):
    submodule(m, "managers").BaseManager().start(5)


@wrong(AttributeError)
def shutdown_of_a_manager_before_its_start(m):
    submodule(m, "managers").BaseManager().shutdown()
