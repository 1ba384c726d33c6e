"""The template: imports the main module once, then forks the processes that are asked for."""

import gc
import os
import pickle
import signal
import sys
import warnings
from importlib import import_module
from multiprocessing import process, resource_tracker, util
from typing import Any, NoReturn, Optional

from . import (
    _procession,
    keeper,  # noqa: F401  what a pool's processes run: imported once
)
from .fitness import culprit, importing
from .popen import own_exit
from .popen_forkserver import PRELOAD_FAILED
from .popen_spawn import prepare

# The descriptors that came with this process's own request, as DupFd finds them.
received: list[int] = []


def template_main(
    arena: int,
    root: int,
    record: int,
    generation: int,
    mail: int,
    send: int,
    receive: int,
    standing: int,
) -> NoReturn:
    """Serves as the template. All arguments are what only a starter of ours can give."""
    try:
        _procession.attach(arena, root, record, generation)
        _procession.adopt_ends(send, receive, standing)
        with os.fdopen(mail, "rb") as file:
            preparation, preload, on_error = pickle.load(file)
        with importing():
            why = _import(preparation) or _preload(preload, on_error)
        why = why or culprit()
        template = _procession.Template()
    except Exception:
        # Whoever needs a template starts another.
        os._exit(1)
    if why is not None:
        template.unfit(why)
        _leave(0)
    _detach()
    # What was imported lives on: no collection in a child shall touch it, and so copy its pages.
    gc.collect()
    gc.freeze()
    template.ready()
    # A library's handler or none at all would keep the ends of children from being seen.
    on_child = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with warnings.catch_warnings():
        # Threads that end around a fork have been looked at.
        warnings.simplefilter("ignore")
        while template.wait():
            try:
                taken = template.fork()
            except BaseException:
                _leave(1)
            if taken is not None:
                break
        else:
            _leave(0)
    _run(template, taken, on_child)


def _leave(code: int) -> NoReturn:
    _procession.end_process(code)
    os._exit(code)


def _import(preparation: dict[str, Any]) -> Optional[str]:
    """Imports main; says why it can't be, if so."""
    current = process.current_process()
    current._inheriting = True  # type: ignore[attr-defined]
    try:
        prepare(preparation)
    except BaseException as error:  # a child that runs main itself reports it
        return f"the main module could not be imported: {type(error).__name__}: {error}"
    finally:
        del current._inheriting  # type: ignore[attr-defined]
    return None


def _preload(names: list[str], on_error: str) -> Optional[str]:
    """Imports what else is wanted; says which module can't be, if that shall be known."""
    for name in names:
        try:
            import_module(name)
        except Exception as error:
            why = f"{name}: {type(error).__name__}: {error}"
            if on_error == "fail":
                sys.excepthook(*sys.exc_info())
                return PRELOAD_FAILED + why
            if on_error == "warn":
                warnings.warn(PRELOAD_FAILED + why, ImportWarning, stacklevel=1)
    return None


def _detach() -> None:
    """Holds on to nothing of its starter's: streams and directory come with each request."""
    util._flush_std_streams()  # type: ignore[attr-defined]
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    os.close(null)
    os.chdir("/")


def _run(template: "_procession.Template", taken: "_procession.Taken", on_child: Any) -> NoReturn:
    """What was a spare runs the process that was asked for, and never returns."""
    code = 1
    try:
        for number in template.descriptors():
            os.close(number)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL if on_child is None else on_child)
        with own_exit():
            code = _serve(taken)
    except SystemExit as error:  # main was imported here, and left
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        _procession.end_process(code)
        os._exit(code & 0xFF)


def _serve(taken: "_procession.Taken") -> int:
    mail, parent = taken.mail()
    current = process.current_process()
    with os.fdopen(mail, "rb") as file:
        surroundings, handles, has_tracker = pickle.load(file)
        environ, ignored, rest = taken.enter(surroundings)
        _take_over(dict(environ), ignored)
        if has_tracker:
            tracker: Any = resource_tracker._resource_tracker
            tracker._fd, tracker._pid = rest.pop(0), None
        received[:] = rest
        current._inheriting = True  # type: ignore[attr-defined]
        try:
            preparation = pickle.load(file)
            preparation.pop("dir", None)  # it is there already
            prepare(preparation)
            child = pickle.load(file)
        finally:
            del current._inheriting  # type: ignore[attr-defined]
    _procession.arrived(handles)
    received.clear()
    if "numpy.random" in sys.modules:
        # Python's own generator is seeded anew by the fork.
        sys.modules["numpy.random"].seed()
    code: int = child._bootstrap(parent)
    return code


def _take_over(environ: dict[bytes, bytes], ignored: list[int]) -> None:
    """Tells the interpreter what has changed around it."""
    for name in set(os.environb) - set(environ):
        del os.environb[name]
    for name, value in environ.items():
        if os.environb.get(name) != value:
            os.environb[name] = value
    usual = signal.SIG_DFL, signal.default_int_handler
    for number in ignored:
        if signal.getsignal(number) in usual:
            signal.signal(number, signal.SIG_IGN)
    for stream in sys.__stdout__, sys.__stderr__:
        # Their buffers were chosen for the streams of the template.
        if stream is not None and hasattr(stream, "reconfigure"):
            at_once = stream is sys.__stderr__ or os.isatty(stream.fileno())
            stream.reconfigure(line_buffering=at_once)
