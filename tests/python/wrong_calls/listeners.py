"""Wrong calls: listeners and clients."""

import contextlib
import multiprocessing
import threading

from .table import submodule, wrong


@wrong(TypeError)
def key_of_a_listener_that_is_a_string(m):
    submodule(m, "connection").Listener(authkey="secret")


@wrong(ValueError)
def listener_of_an_unknown_family(m):
    submodule(m, "connection").Listener(family="AF_CARRIER_PIGEON")


@wrong(TypeError)
def client_of_an_address_of_no_kind(m):
    submodule(m, "connection").Client(5)


@wrong(TypeError)
def key_of_a_client_that_is_a_string(m):
    connection = submodule(m, "connection")
    with connection.Listener() as listener:
        connection.Client(listener.address, authkey="secret")


@wrong(FileNotFoundError)
def client_of_an_address_where_nobody_listens(m):
    submodule(m, "connection").Client("/procession-no-such-socket")


@wrong(OSError)
def accept_on_a_closed_listener(m):
    listener = submodule(m, "connection").Listener()
    listener.close()
    listener.accept()


@wrong(multiprocessing.AuthenticationError)
def client_with_another_key(m):
    connection = submodule(m, "connection")
    with connection.Listener(authkey=b"one") as listener:
        accepts = threading.Thread(target=swallow, args=(listener.accept,))
        accepts.start()
        try:
            connection.Client(listener.address, authkey=b"another")
        finally:
            accepts.join()


def swallow(call):
    with contextlib.suppress(Exception):
        call()
