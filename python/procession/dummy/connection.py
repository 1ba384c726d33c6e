"""Connections between threads of this process: the standard library's
`multiprocessing.dummy.connection`."""

from multiprocessing.dummy.connection import Client, Connection, Listener, Pipe

__all__ = ["Client", "Connection", "Listener", "Pipe"]

families = [None]
