"""Pipe: two connections; bytes and objects, and what happens at either end's close."""

import array
import multiprocessing.connection
import os
import socket
import time

import pytest
from deadline import GUARD
from processes import finish, start, wait_asleep
from program import run_program
from under_test import METHODS, mp


@pytest.fixture
def pipe(ctx):
    """Both ends of a duplex pipe."""
    one, other = ctx.Pipe()
    yield one, other
    one.close()
    other.close()


@pytest.fixture
def one_way(ctx):
    """The reader and the writer of a pipe that goes one way."""
    reader, writer = ctx.Pipe(duplex=False)
    yield reader, writer
    reader.close()
    writer.close()


def test_duplex(pipe):
    one, other = pipe
    one.send({"a": [1, 2]})
    assert other.recv() == {"a": [1, 2]}
    other.send(None)
    assert one.recv() is None
    assert one.readable
    assert one.writable


def test_one_way(one_way):
    reader, writer = one_way
    writer.send("there")
    assert reader.recv() == "there"
    assert (reader.readable, reader.writable) == (True, False)
    assert (writer.readable, writer.writable) == (False, True)
    with pytest.raises(OSError, match="read-only"):
        reader.send("back")
    with pytest.raises(OSError, match="write-only"):
        writer.recv()
    with pytest.raises(OSError, match="write-only"):
        writer.poll()


def test_positional_duplex(ctx):
    reader, writer = ctx.Pipe(False)
    with reader, writer:
        writer.send(1)
        assert reader.recv() == 1
        assert not reader.writable


def test_order(pipe):
    one, other = pipe
    for i in range(100):
        one.send(i)
    assert [other.recv() for _ in range(100)] == list(range(100))


def test_bytes(pipe):
    one, other = pipe
    one.send_bytes(b"")
    one.send_bytes(b"abc \0")
    one.send_bytes(bytearray(b"0123456789"), 3)
    one.send_bytes(memoryview(b"0123456789"), 3, 4)
    one.send_bytes(array.array("H", [1, 2, 3]))
    assert other.recv_bytes() == b""
    assert other.recv_bytes() == b"abc \0"
    assert other.recv_bytes() == b"3456789"
    assert other.recv_bytes() == b"3456"
    assert array.array("H", other.recv_bytes()).tolist() == [1, 2, 3]


@pytest.mark.parametrize("bounds", [(-1,), (4,), (0, -1), (0, 4), (2, 2)])
def test_wrong_bounds(pipe, bounds):
    one, other = pipe
    with pytest.raises(ValueError):  # noqa: PT011 - there is one text for each
        one.send_bytes(b"abc", *bounds)
    one.send_bytes(b"in order")
    assert other.recv_bytes() == b"in order"


def test_recv_bytes_into(pipe):
    one, other = pipe
    buffer = bytearray(b"." * 8)
    one.send_bytes(b"abc")
    assert other.recv_bytes_into(buffer) == 3
    one.send_bytes(b"xy")
    assert other.recv_bytes_into(buffer, 5) == 2
    assert buffer == b"abc..xy."
    numbers = array.array("i", [0] * 4)
    one.send_bytes(array.array("i", [7, 8]))
    assert other.recv_bytes_into(numbers, numbers.itemsize) == 2 * numbers.itemsize
    assert numbers.tolist() == [0, 7, 8, 0]
    for offset in -1, 9:
        with pytest.raises(ValueError):  # noqa: PT011 - there is one text for each
            other.recv_bytes_into(buffer, offset)


def test_buffer_too_short(pipe):
    one, other = pipe
    one.send_bytes(b"too long for it")
    with pytest.raises(mp.BufferTooShort) as caught:
        other.recv_bytes_into(bytearray(4))
    assert caught.value.args == (b"too long for it",)
    assert issubclass(mp.BufferTooShort, mp.ProcessError)
    one.send_bytes(b"next")
    assert other.recv_bytes() == b"next"


def test_maxlength(pipe):
    one, other = pipe
    one.send_bytes(b"abc")
    assert other.recv_bytes(3) == b"abc"
    with pytest.raises(ValueError):  # noqa: PT011
        other.recv_bytes(-1)
    one.send_bytes(b"abcd")
    with pytest.raises(OSError):  # noqa: PT011 - the standard library's has no text
        other.recv_bytes(3)


def test_poll(pipe):
    one, other = pipe
    assert other.poll() is False
    assert other.poll(0.05) is False
    one.send(1)
    assert other.poll() is True
    assert other.poll(0) is True
    assert other.poll(None) is True
    assert other.recv() == 1
    assert other.poll() is False


def test_end_of_file(pipe):
    one, other = pipe
    one.send("last")
    one.close()
    assert other.poll(GUARD)
    assert other.recv() == "last"
    assert other.poll(GUARD)  # the end can be read, too
    with pytest.raises(EOFError):
        other.recv()
    with pytest.raises(EOFError):
        other.recv_bytes()
    with pytest.raises(BrokenPipeError):
        other.send("nobody reads")


def test_closed(pipe):
    one, _ = pipe
    assert isinstance(one.fileno(), int)
    assert not one.closed
    one.close()
    one.close()
    assert one.closed
    for use in (
        one.fileno,
        one.recv,
        one.recv_bytes,
        one.poll,
        lambda: one.send(1),
        lambda: one.send_bytes(b""),
    ):
        with pytest.raises(OSError, match="closed"):
            use()


def test_with(ctx):
    one, other = ctx.Pipe()
    with one as entered, other:
        assert entered is one
    assert one.closed
    assert other.closed


def test_unpicklable(pipe):
    one, other = pipe
    with pytest.raises(Exception, match="lambda"):
        one.send(lambda: None)
    one.send("in order")
    assert other.recv() == "in order"


def test_wrong_arguments(pipe):
    one, _ = pipe
    with pytest.raises(TypeError):
        one.send_bytes("text")
    with pytest.raises(TypeError):
        one.send()
    with pytest.raises(TypeError):
        one.poll("1")


def echo(connection):
    """Give everything back, until "stop" comes."""
    while (item := connection.recv()) != "stop":
        connection.send(item)


def test_to_a_child_and_back(ctx, pipe):
    one, other = pipe
    process = start(ctx, echo, other)
    other.close()
    for item in "text", None, [1, {"two": 2}], b"x" * 3_000_000, 2**100:
        one.send(item)
        assert one.recv() == item
    one.send("stop")
    finish(process)


def send_and_leave(connection):
    connection.send("last words")


def test_end_of_file_when_the_child_ends(ctx, one_way):
    reader, writer = one_way
    process = start(ctx, send_and_leave, writer)
    writer.close()
    assert reader.recv() == "last words"
    with pytest.raises(EOFError):
        reader.recv()
    finish(process)


def test_recv_and_poll_wait(ctx, pipe):
    one, other = pipe
    process = start(ctx, echo, other)
    other.close()
    wait_asleep(process.pid)
    one.send(1)
    assert one.poll(GUARD) is True
    assert one.recv() == 1
    one.send("stop")
    finish(process)


def test_connection_wait(ctx):
    pipes = [ctx.Pipe(duplex=False) for _ in range(3)]
    readers = [reader for reader, _ in pipes]
    assert multiprocessing.connection.wait(readers, timeout=0) == []
    pipes[1][1].send("here")
    assert multiprocessing.connection.wait(readers, timeout=GUARD) == [readers[1]]
    assert readers[1].recv() == "here"
    pipes[0][1].close()
    assert multiprocessing.connection.wait(readers) == [readers[0]]
    processes = [start(ctx, send_and_leave, writer) for _, writer in pipes[1:]]
    for _, writer in pipes[1:]:
        writer.close()
    readers[0].close()
    left, ends = set(readers[1:]), 0
    while left:
        for reader in multiprocessing.connection.wait(left, timeout=GUARD):
            try:
                assert reader.recv() == "last words"
            except EOFError:
                ends += 1
                left.remove(reader)
                reader.close()
    assert ends == 2
    finish(*processes)


@pytest.mark.parametrize("method", METHODS)
def test_a_connection_through_a_connection(method):
    # In a program of its own: the standard library's way of passing descriptors starts a thread.
    program = """
        import sys
        import procession as mp

        def child(connection):
            with connection.recv() as other:
                other.send("by another way")

        if __name__ == "__main__":
            ctx = mp.get_context(sys.argv[1])
            (mine, childs), (reader, writer) = ctx.Pipe(), ctx.Pipe(duplex=False)
            process = ctx.Process(target=child, args=(childs,))
            process.start()
            mine.send(writer)
            print(reader.recv())
            process.join()
            print(process.exitcode)
    """
    assert run_program(program, method).lines == ["by another way", "0"]


@pytest.mark.parametrize("steps", [2, -1])
@pytest.mark.parametrize("size", [4, 100_000])
def test_bytes_that_do_not_lie_side_by_side(pipe, steps, size):
    one, other = pipe
    with pytest.raises((TypeError, BufferError)):
        one.send_bytes(memoryview(bytes(size))[::steps])
    if size == 4:  # else the standard library has sent the length already
        one.send_bytes(b"goes on")
        assert other.recv_bytes() == b"goes on"


def send_late(end):
    time.sleep(0.1)  # longer than the default
    end.send(123)


def test_the_default_timeout_of_sockets_is_not_its_own(ctx):
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(0.05)
    try:
        one, other = ctx.Pipe()
    finally:
        socket.setdefaulttimeout(before)
    with one, other:
        process = start(ctx, send_late, other)
        assert one.recv() == 123
        finish(process)
        assert os.get_blocking(one.fileno())
        assert os.get_blocking(other.fileno())


def test_a_descriptor_that_does_not_block(ctx):
    reader, writer = ctx.Pipe(duplex=False)
    with reader, writer:
        for end in reader, writer:
            os.set_blocking(end.fileno(), False)
        with pytest.raises(BlockingIOError):
            reader.recv()
        sent = 0
        with pytest.raises(BlockingIOError):
            while True:
                writer.send_bytes(bytes(1020))
                sent += 1
        assert sent == 64
        for _ in range(sent):
            assert reader.recv_bytes() == bytes(1020)
