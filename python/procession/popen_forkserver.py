"""Starting a process by asking the template for it."""

import os
import pickle
from collections.abc import Iterable
from multiprocessing import resource_tracker, spawn, util
from typing import TYPE_CHECKING, Any

from . import _procession
from .pickling import dumps
from .popen import Popen as _Popen
from .popen import mail_of, spawning
from .popen_spawn import Popen as SpawnPopen
from .popen_spawn import command_line, preparation_of

if TYPE_CHECKING:
    from .process import Process

PRELOAD_FAILED = "a module of set_forkserver_preload could not be imported: "
_preload = ["__main__"]
_on_error = "ignore"


def set_forkserver_preload(module_names: Iterable[str], *, on_error: str = "ignore") -> None:
    """Sets the names of the modules that the template imports; `__main__` is the program's main
    module, and the only one unless others are set. Before the first start under `forkserver`."""
    global _preload, _on_error
    names = list(module_names)
    if not all(type(name) is str for name in names):
        raise TypeError("module_names must be a list of strings")
    if on_error not in ("ignore", "warn", "fail"):
        raise ValueError(f"on_error must be 'ignore', 'warn' or 'fail', not {on_error!r}")
    _preload, _on_error = names, on_error


def ensure_running() -> None:
    """Starts the template now, rather than with the first process that is wanted from it."""
    from .process import ForkServerProcess

    process = ForkServerProcess(name="Template check")
    process.start()
    process.join()
    process.close()


class _DupFd:
    """A descriptor that goes to the child with its request."""

    def __init__(self, index: int) -> None:
        self.index = index

    def detach(self) -> int:
        """The descriptor, now the caller's."""
        from .template import received

        return received[self.index]


class Popen(_Popen):
    """A child that is a copy of the template."""

    method = "forkserver"
    DupFd = _DupFd

    def __init__(self, process_obj: "Process") -> None:
        self._fds: list[int] = []
        preparation = preparation_of(process_obj)
        record = _procession.reserve()
        try:
            request = self._request(record, preparation, process_obj)
        except BaseException:
            _procession.unreserve(record)
            raise
        try:
            while True:
                answer = request.wait()
                if not isinstance(answer, int):
                    break
                self._start_template(answer)
        except BaseException:
            request.withdraw()
            raise
        if isinstance(answer, _procession.Child):
            self._started(answer)
            return
        _procession.unreserve(record)
        why, first = answer
        if why.startswith(PRELOAD_FAILED):
            raise ConnectionError(why)
        if first:
            util.sub_warning(
                "processes are started by running the program again, not from a template: %s", why
            )
        self._started(SpawnPopen(process_obj)._child)

    def duplicate_for_child(self, fd: int) -> int:
        """Hands a descriptor on; the child knows it by its place in the request."""
        self._fds.append(fd)
        return len(self._fds) - 1

    def _request(
        self, record: int, preparation: dict[str, Any], process_obj: "Process"
    ) -> "_procession.Request":
        with spawning(self):
            body, handles = _procession.request(record, lambda: dumps(process_obj))
            head = dumps(preparation)
        tracker = getattr(resource_tracker._resource_tracker, "_fd", None)
        around = _procession.surroundings()
        # What is put in place first is read first.
        first = pickle.dumps((around.to_bytes(), handles, tracker is not None))
        mail = mail_of(first, head, body)
        try:
            rest = [*([] if tracker is None else [tracker]), *self._fds]
            return _procession.Request(record, mail, around, rest)
        finally:
            os.close(mail)

    def _start_template(self, record: int) -> None:
        """Starts the template, under a record that was reserved for it."""
        try:
            preparation = preparation_of(None)
            if "__main__" not in _preload:
                preparation.pop("init_main_from_name", None)
                preparation.pop("init_main_from_path", None)
            modules = [name for name in _preload if name != "__main__"]
            with spawning(self):
                told = dumps((preparation, modules, _on_error))
            mail = mail_of(told)
            try:
                arena, root = _procession.spawn_descriptors()
                ends = _procession.template_ends()
                assert ends is not None, "the request made them"
                send, receive, standing = ends
                words = command_line(
                    "from procession.template import template_main as spawn_main",
                    arena=arena,
                    root=root,
                    record=record,
                    generation=_procession.generation(record),
                    mail=mail,
                    send=send,
                    receive=receive,
                    standing=standing,
                )
                _procession.start_template(
                    record,
                    os.fsencode(spawn.get_executable()),
                    [os.fsencode(word) for word in words],
                    [arena, root, mail, send, receive, *_procession.hand_on(record)],
                )
            finally:
                os.close(mail)
        except BaseException:
            _procession.unreserve(record)
            raise
