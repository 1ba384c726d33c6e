"""Wrong calls: pipes."""

import multiprocessing
import pickle

from .table import unpicklable, wrong


@wrong(OSError)
def send_on_a_closed_connection(m):
    one, _other = m.Pipe()
    one.close()
    one.send(1)


@wrong(OSError)
def fileno_of_a_closed_connection(m):
    one, _other = m.Pipe()
    one.close()
    one.fileno()


@wrong(OSError)
def poll_on_a_closed_connection(m):
    one, _other = m.Pipe()
    one.close()
    one.poll()


@wrong(EOFError)
def recv_when_the_other_end_is_closed(m):
    one, other = m.Pipe()
    other.close()
    one.recv()


@wrong(BrokenPipeError)
def send_when_the_other_end_is_closed(m):
    one, other = m.Pipe()
    other.close()
    one.send(1)


@wrong(OSError)
def send_on_the_reading_end(m):
    reader, _writer = m.Pipe(duplex=False)
    reader.send(1)


@wrong(OSError)
def recv_on_the_writing_end(m):
    _reader, writer = m.Pipe(duplex=False)
    writer.recv()


@wrong(TypeError)
def send_bytes_of_a_string(m):
    one, _other = m.Pipe()
    one.send_bytes("text")


@wrong(ValueError)
def send_bytes_from_a_negative_offset(m):
    one, _other = m.Pipe()
    one.send_bytes(b"abc", -1)


@wrong(ValueError)
def send_bytes_beyond_the_end(m):
    one, _other = m.Pipe()
    one.send_bytes(b"abc", 4)


@wrong(ValueError)
def send_bytes_of_a_negative_size(m):
    one, _other = m.Pipe()
    one.send_bytes(b"abc", 0, -1)


@wrong(ValueError)
def recv_bytes_of_a_negative_length(m):
    one, _other = m.Pipe()
    one.recv_bytes(-1)


@wrong(OSError)
def recv_bytes_of_more_than_allowed(m):
    one, other = m.Pipe()
    other.send_bytes(b"0123456789")
    one.recv_bytes(3)


@wrong(multiprocessing.BufferTooShort)
def recv_bytes_into_too_little(m):
    one, other = m.Pipe()
    other.send_bytes(b"0123456789")
    one.recv_bytes_into(bytearray(3))


@wrong((AttributeError, pickle.PicklingError))
def send_of_what_does_not_pickle(m):
    one, _other = m.Pipe()
    one.send(unpicklable)
