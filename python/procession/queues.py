"""The kinds of queues, by the name of the standard library's module."""

from queue import Empty, Full

from ._procession import JoinableQueue, Queue, SimpleQueue

__all__ = ["Empty", "Full", "JoinableQueue", "Queue", "SimpleQueue"]
