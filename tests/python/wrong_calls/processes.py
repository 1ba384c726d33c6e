"""Wrong calls: processes."""

import contextlib
import pickle

from .table import nothing, unpicklable, wrong


@contextlib.contextmanager
def started(m):
    process = m.Process(target=nothing)
    process.start()
    try:
        yield process
    finally:
        process.join()


@wrong(AssertionError)
def start_twice(m):
    with started(m) as process:
        process.start()


@wrong(AssertionError)
def join_before_start(m):
    m.Process(target=nothing).join()


@wrong(AssertionError)
def process_with_a_group(m):
    m.Process(group="group", target=nothing)


@wrong(AssertionError)
def name_that_is_no_string(m):
    m.Process(target=nothing).name = 5


@wrong(AssertionError)
def daemon_after_start(m):
    with started(m) as process:
        process.daemon = True


@wrong(AssertionError)
def start_of_a_started_copy(m):
    with started(m) as process:
        process.join()
        process.start()


@wrong(ValueError)
def is_alive_after_close(m):
    with started(m) as process:
        pass
    process.close()
    process.is_alive()


@wrong(ValueError)
def join_after_close(m):
    with started(m) as process:
        pass
    process.close()
    process.join()


@wrong(ValueError)
def exitcode_after_close(m):
    with started(m) as process:
        pass
    process.close()
    process.exitcode


@wrong(ValueError)
def sentinel_before_start(m):
    m.Process(target=nothing).sentinel


@wrong(ValueError)
def close_while_it_runs(m):
    event = m.Event()
    process = m.Process(target=event.wait)
    process.start()
    try:
        process.close()
    finally:
        event.set()
        process.join()


@wrong(AttributeError)
def terminate_before_start(m):
    m.Process(target=nothing).terminate()


@wrong(AttributeError)
def kill_before_start(m):
    m.Process(target=nothing).kill()


@wrong(TypeError)
def pickled_process_outside_of_a_start(m):
    with started(m) as process:
        pickle.dumps(process)


@wrong(TypeError)
def authkey_that_is_a_string(m):
    m.Process(target=nothing).authkey = "secret"


@wrong(TypeError)
def args_that_are_no_sequence(m):
    m.Process(target=nothing, args=5)


@wrong(TypeError)
def keyword_that_is_none_of_process(m):
    m.Process(target=nothing, priority=3)


@wrong((AttributeError, pickle.PicklingError))
def target_that_does_not_pickle_under_spawn(m):
    m.get_context("spawn").Process(target=unpicklable).start()


@wrong(TypeError)
def join_with_a_string(m):
    with started(m) as process:
        process.join("soon")
