"""Listeners of the tests, and who connects to them."""

import socket
import threading

from deadline import GUARD
from under_test import NAME

connection = __import__(f"{NAME}.connection", fromlist=["*"])
Listener, Client = connection.Listener, connection.Client

FAMILIES = ["AF_UNIX", "AF_INET"]
KEY = b"the right key"


class Thread(threading.Thread):
    """A call in another thread; `result()` gives what it returned, or raises what it raised."""

    def __init__(self, call, *args, **options):
        super().__init__(daemon=True)
        self.call = lambda: call(*args, **options)
        self.start()

    def run(self):
        try:
            self.returned, self.raised = self.call(), None
        except BaseException as error:
            self.raised = error

    def result(self):
        self.join(GUARD)
        assert not self.is_alive(), "it still runs"
        if self.raised is not None:
            raise self.raised
        return self.returned


def served(listener, key=KEY):
    """Accept the client of another thread; both ends."""
    client = Thread(Client, listener.address, authkey=key)
    return listener.accept(), client.result()


def connect_silently(listener):
    family = socket.AF_UNIX if isinstance(listener.address, str) else socket.AF_INET
    silent = socket.socket(family)
    silent.settimeout(GUARD)
    silent.connect(listener.address)
    return silent
