"""What the Popen classes of all start methods share: a child, seen from its starter."""

import atexit
import contextlib
import os
import signal
from collections.abc import Iterator
from multiprocessing import context, util
from typing import Any, Optional

from . import _procession


class Popen:
    """A started child, as BaseProcess wants it."""

    method: str
    pid: int
    sentinel: int
    _child: "_procession.Child"

    def _started(self, child: "_procession.Child") -> None:
        self._child = child
        self.pid = child.pid
        self.sentinel = child.fileno()

    @property
    def returncode(self) -> Optional[int]:
        """The exit code if the child has ended."""
        return self._child.poll()

    def poll(self, flag: int = os.WNOHANG) -> Optional[int]:
        """The exit code if the child has ended; waits for it unless `flag` is WNOHANG."""
        return self._child.poll() if flag == os.WNOHANG else self._child.wait()

    def wait(self, timeout: Optional[float] = None) -> Optional[int]:
        """Waits for the end, for `timeout` seconds at most."""
        return self._child.wait(timeout)

    def interrupt(self) -> None:
        """Sends SIGINT."""
        self._child.signal(signal.SIGINT)

    def terminate(self) -> None:
        """Sends SIGTERM."""
        self._child.signal(signal.SIGTERM)

    def kill(self) -> None:
        """Sends SIGKILL."""
        self._child.signal(signal.SIGKILL)

    def close(self) -> None:
        """Lets the child's descriptor go."""
        del self._child


def watch_parent(pid: int) -> int:
    """A descriptor that becomes readable when the process ends that started this one."""
    if os.getppid() == pid:
        descriptor: Any = os.pidfd_open(pid)
        if os.getppid() == pid:
            return int(descriptor)
        os.close(descriptor)
    # It has ended: a pipe without a writer says so.
    reader, writer = os.pipe()
    os.close(writer)
    return reader


@contextlib.contextmanager
def own_exit() -> Iterator[None]:
    """In a child that was forked: what was registered for the exit of the process that it is a copy
    of is that one's; what is registered within runs at the end."""
    atexit._clear()
    # Finalizers and the child's own children: from Python 3.13 on that is no part of _bootstrap; a
    # second call does nothing.
    atexit.register(util._exit_function)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        atexit._run_exitfuncs()
        util._flush_std_streams()  # type: ignore[attr-defined]


@contextlib.contextmanager
def spawning(popen: Popen) -> Iterator[None]:
    """While a child's request is pickled: the standard library's own objects among the arguments,
    and the authentication key, ask whether a child is starting."""
    context.set_spawning_popen(popen)  # type: ignore[arg-type]
    try:
        yield
    finally:
        context.set_spawning_popen(None)


def mail_of(*parts: bytes) -> int:
    """A descriptor of an unnamed file with a request, to be read from its start: however long it
    is, no reader is awaited."""
    mail = os.memfd_create("procession-mail", os.MFD_CLOEXEC)
    try:
        with open(mail, "wb", closefd=False) as file:
            file.writelines(parts)
        os.lseek(mail, 0, os.SEEK_SET)
    except BaseException:
        os.close(mail)
        raise
    return mail
