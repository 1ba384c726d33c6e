"""`Pipe` and its ends: the standard library's Connection, reading and writing in Rust."""

import io
import os
import socket
from multiprocessing import connection, reduction
from multiprocessing.connection import wait
from typing import Any, Optional

from . import _procession

__all__ = ["Connection", "Pipe", "wait"]


class Connection(connection.Connection):
    """One end of a pipe; the other may be one of the standard library's."""

    _handle: int

    def _send_bytes(self, buf: Any) -> None:
        _procession.write_message(self._handle, buf)

    def _recv_bytes(self, maxsize: Optional[int] = None) -> Optional[io.BytesIO]:
        data = _procession.read_message(self._handle, maxsize)
        if data is None:
            return None
        buffer = io.BytesIO(data)
        buffer.seek(len(data))
        return buffer

    def _poll(self, timeout: Optional[float]) -> bool:
        return _procession.poll(self._handle, timeout)


def Pipe(duplex: bool = True) -> tuple[Connection, Connection]:
    """Two connected ends; unless `duplex` the first only receives and the second only sends."""
    if duplex:
        one, other = socket.socketpair()
        return Connection(one.detach()), Connection(other.detach())
    reader, writer = os.pipe()
    return Connection(reader, writable=False), Connection(writer, readable=False)


def _rebuild(fd: Any, readable: bool, writable: bool) -> Connection:
    return Connection(fd.detach(), readable, writable)


def _reduce(end: Connection) -> tuple[Any, ...]:
    return _rebuild, (reduction.DupFd(end.fileno()), end.readable, end.writable)


reduction.register(Connection, _reduce)
