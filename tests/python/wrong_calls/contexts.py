"""Wrong calls: contexts and start methods."""

from .table import wrong


@wrong(ValueError)
def unknown_context(m):
    m.get_context("teleport")


@wrong(ValueError)
def unknown_start_method(m):
    m.set_start_method("teleport", force=True)


@wrong(RuntimeError)
def start_method_set_twice(m):
    m.get_start_method()
    m.set_start_method("fork")


@wrong(ValueError)
def start_method_of_a_concrete_context(m):
    m.get_context("fork").set_start_method("spawn")


@wrong(TypeError, since=(3, 11))
def preload_of_what_is_no_list_of_names(m):
    m.set_forkserver_preload([1, 2])
