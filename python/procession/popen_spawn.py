"""Starting a process by running the program again."""

import os
import sys
from multiprocessing import resource_tracker, spawn, util
from typing import TYPE_CHECKING, Any, Optional

from . import _procession
from .pickling import dumps
from .popen import Popen as _Popen
from .popen import mail_of, spawning

if TYPE_CHECKING:
    from .process import Process


_FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class _DupFd:
    """A descriptor that the child inherits."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def detach(self) -> int:
        """The descriptor, now the caller's."""
        return self.fd


class Popen(_Popen):
    """A child that runs the program again, up to where its process was asked for."""

    method = "spawn"
    DupFd = _DupFd

    def __init__(self, process_obj: "Process") -> None:
        self._fds: list[int] = []
        preparation = preparation_of(process_obj)
        record = _procession.reserve()
        try:
            mail = self._write(record, preparation, process_obj)
            try:
                pid = self._exec(record, mail)
            finally:
                os.close(mail)
        except BaseException:
            _procession.unreserve(record)
            raise
        self._started(_procession.child_started(pid, record))

    def duplicate_for_child(self, fd: int) -> int:
        """Hands a descriptor on; the child knows it by the same number."""
        self._fds.append(fd)
        return fd

    def _write(self, record: int, preparation: dict[str, Any], process_obj: "Process") -> int:
        with spawning(self):
            body, handles = _procession.request(record, lambda: dumps(process_obj))
            head = dumps((preparation, handles))
        return mail_of(head, body)

    def _exec(self, record: int, mail: int) -> int:
        arena, root = _procession.spawn_descriptors()
        tracker = getattr(resource_tracker._resource_tracker, "_fd", None)
        descriptors = [arena, root, mail, *_procession.hand_on(record), *self._fds]
        if tracker is not None:
            descriptors.append(tracker)
        send, receive, standing = _procession.template_ends() or (None, None, None)
        descriptors += [end for end in (send, receive) if end is not None]
        command = command_line(
            "from procession.spawn import spawn_main",
            arena=arena,
            root=root,
            record=record,
            generation=_procession.generation(record),
            mail=mail,
            parent=os.getpid(),
            tracker=tracker,
            send=send,
            receive=receive,
            standing=standing,
        )
        executable: Any = spawn.get_executable()  # str or bytes
        return util.spawnv_passfds(executable, command, descriptors)


def preparation_of(process_obj: Optional["Process"]) -> dict[str, Any]:
    """What the child needs before it can unpickle anything: the main module, paths, names. The
    template, which is no process of the user's, needs the same."""
    from .context import get_start_method, is_chosen
    from .install import is_installed

    main = sys.modules["__main__"]
    if not hasattr(main, "__spec__"):
        # A debugger has emptied it.
        main.__spec__ = None
    data = spawn.get_preparation_data(process_obj.name if process_obj else "Template")
    if not os.path.exists(data.get("init_main_from_path", os.curdir)):
        # Read from standard input: there is nothing to run again.
        del data["init_main_from_path"]
    data["procession_start_method"] = get_start_method() if is_chosen() else None
    data["procession_installed"] = is_installed()
    return data


def prepare(preparation: dict[str, Any]) -> None:
    """Puts what `preparation_of` gave in place, in a child."""
    method = preparation.pop("procession_start_method")
    if preparation.pop("procession_installed"):
        from .install import install

        install()
    spawn.prepare(preparation)
    if method is not None:
        from .context import set_start_method

        set_start_method(method, force=True)


def command_line(ours: str, **arguments: Any) -> list[Any]:
    """The standard library's command line, which others hook, for a main function of our own:
    `ours` imports it by the name `spawn_main`."""
    theirs = "from multiprocessing.spawn import spawn_main"
    # Flags that it is started with may hide the folder where this package is. It is the last to be
    # looked at, until the child has the path of its starter.
    ours = f"import sys; sys.path.append({_FOLDER!r}); {ours}"
    words: list[Any] = spawn.get_command_line(**arguments)
    return [word.replace(theirs, ours) if isinstance(word, str) else word for word in words]
