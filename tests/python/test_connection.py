"""Connections on their way to other processes, and waiting for several at once."""

import functools
import gc
import os
import pickle
import signal
import socket
import threading
import time

import pytest
from deadline import GUARD, eventually
from processes import finish, gone, start
from program import run_program
from under_test import METHODS, NAME, mp

connection = __import__(f"{NAME}.connection", fromlist=["*"])


def echo_once(queue):
    with queue.get() as end:
        end.send(["echo", end.recv()])


def send_ends(queue, count, told, how):
    """Put the far ends of pipes into the queue, with a message in each, and leave."""
    for number in range(count):
        near, far = mp.Pipe()
        near.send(number)
        queue.put(far)
        near.close()
        far.close()
    told.set()
    if how == "killed":
        signal.pause()
    elif how == "hard":
        os._exit(0)


def received(queue, count):
    ends = [queue.get(timeout=GUARD) for _ in range(count)]
    numbers = []
    for end in ends:
        with end:
            numbers.append(end.recv())
            with pytest.raises(EOFError):
                end.recv()
    return numbers


# --- through queues


def test_through_a_queue(ctx):
    queue = ctx.Queue()
    process = start(ctx, echo_once, queue)
    near, far = ctx.Pipe()
    queue.put(far)
    far.close()
    with near:
        near.send("there")
        assert near.recv() == ["echo", "there"]
        # The end that travelled is closed where it arrived, and there is no other one.
        with pytest.raises(EOFError):
            near.recv()
    finish(process)


@pytest.mark.parametrize("how", ["returns", "hard", "killed"])
def test_the_sender_has_ended(ctx, how):
    queue, told = ctx.Queue(), ctx.Event()
    process = start(ctx, send_ends, queue, 5, told, how)
    told.wait(GUARD)
    if how == "killed":
        process.kill()
    process.join(GUARD)
    assert gone(process.pid)
    assert received(queue, 5) == list(range(5))


def test_many_whose_sender_has_ended(ctx):
    queue, told = ctx.Queue(), ctx.Event()
    process = start(ctx, send_ends, queue, 60, told, "killed")
    told.wait(GUARD)
    process.kill()
    process.join(GUARD)
    assert received(queue, 60) == list(range(60))


def test_one_that_nobody_receives_is_closed_with_its_queue(ctx):
    queue, (near, far) = ctx.Queue(), ctx.Pipe()
    with near:
        queue.put(far)
        far.close()
        assert not near.poll()
        del queue
        assert near.poll(GUARD)
        with pytest.raises(EOFError):
            near.recv()


def send_to_nobody(pipe):
    near, far = mp.Pipe()
    queue = mp.Queue()
    queue.put(far)
    pipe.send(near)
    signal.pause()


def test_one_that_nobody_receives_is_closed_with_its_sender(ctx):
    reader, writer = ctx.Pipe()
    process = start(ctx, send_to_nobody, writer)
    with reader, writer, reader.recv() as near:
        assert not near.poll()
        process.kill()
        process.join(GUARD)
        assert near.poll(GUARD)
        with pytest.raises(EOFError):
            near.recv()


def test_within_other_things(ctx):
    queue, inner = ctx.Queue(), ctx.Queue()
    (near, far), (reader, writer) = ctx.Pipe(), ctx.Pipe(duplex=False)
    with near, far, reader, writer:
        inner.put({"ends": [far, (writer, reader)], "lock": ctx.Lock()})
        queue.put(inner)
        item = queue.get(timeout=GUARD).get(timeout=GUARD)
        other, (sends, receives) = item["ends"]
        with other, sends, receives:
            assert (sends.readable, sends.writable) == (False, True)
            assert (receives.readable, receives.writable) == (True, False)
            sends.send("one way")
            assert reader.recv() == "one way"
            near.send("both ways")
            assert other.recv() == "both ways"


def test_the_same_end_again_and_again(ctx):
    queue = ctx.Queue()
    near, far = ctx.Pipe()
    with near, far:
        for number in range(200):
            queue.put(far)
            with queue.get() as end:
                end.send(number)
            assert near.recv() == number


def test_of_a_listener(ctx):
    queue = ctx.Queue()
    process = start(ctx, echo_once, queue)
    with connection.Listener() as listener, connection.Client(listener.address) as client:
        with listener.accept() as accepted:
            queue.put(accepted)
        client.send("there")
        assert client.recv() == ["echo", "there"]
    finish(process)


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def test_no_descriptor_and_no_thread_is_left(ctx):
    queue = ctx.Queue()
    near, far = ctx.Pipe()
    with near, far:
        gc.collect()  # of what other tests have left
        before, threads = descriptors(), threading.active_count()
        for _ in range(40):
            queue.put([far, far])
            for end in queue.get():
                end.close()
        assert descriptors() == before
        assert threading.active_count() == threads


def test_what_nobody_received_goes_with_its_message():
    # In a program of its own: the standard library's way would start a thread.
    program = """
        import threading
        import procession as mp

        for _ in range(200):
            queue, (near, far) = mp.Queue(), mp.Pipe()
            queue.put([far])
            far.close()
            near.close()
            del queue
        print(threading.active_count())
    """
    assert run_program(program).lines == ["1"]


@pytest.mark.parametrize("method", METHODS)
def test_more_at_a_time_than_there_is_room_for(method):
    # In a program of its own: the standard library's way of passing the rest starts a thread.
    program = """
        import sys
        import procession as mp

        def child(queue, count):
            for _ in range(count):
                with queue.get() as end:
                    end.send("here")

        if __name__ == "__main__":
            ctx = mp.get_context(sys.argv[1])
            queue, ends = ctx.Queue(), []
            for _ in range(50):
                near, far = ctx.Pipe()
                queue.put(far)
                far.close()
                ends.append(near)
            process = ctx.Process(target=child, args=(queue, 50))
            process.start()
            print({near.recv() for near in ends})
            process.join()
            print(process.exitcode)
    """
    assert run_program(program, method).lines == ["{'here'}", "0"]


def test_bytes_that_name_it_are_good_once():
    from multiprocessing.reduction import ForkingPickler

    near, far = mp.Pipe()
    with near, far:
        pickled = bytes(ForkingPickler.dumps(far))
        with pickle.loads(pickled) as end:
            end.send("first")
        assert near.recv() == "first"
        with pytest.raises(OSError, match="once"):
            pickle.loads(pickled)


def test_another_programs_is_refused():
    from multiprocessing.reduction import ForkingPickler

    near, far = mp.Pipe()
    with near, far:
        pickled = bytes(ForkingPickler.dumps(far))
    program = """
        import pickle
        import sys
        import procession as mp

        mp.Lock()
        try:
            pickle.loads(bytes.fromhex(sys.argv[1]))
        except OSError as error:
            print("another program" in str(error))
    """
    assert run_program(program, pickled.hex()).lines == ["True"]


def send_one_by_pipe(pipe):
    near, far = mp.Pipe()
    near.send("last words")
    pipe.send(far)


def test_through_a_pipe_whose_sender_has_ended(ctx):
    reader, writer = ctx.Pipe(duplex=False)
    process = start(ctx, send_one_by_pipe, writer)
    finish(process)
    with reader, writer, reader.recv() as end:
        assert end.recv() == "last words"


def receive_and_die(queue, told):
    end = queue.get()
    told.set()
    signal.pause()
    end.close()


def test_a_receiver_is_killed(ctx):
    queue, told = ctx.Queue(), ctx.Event()
    process = start(ctx, receive_and_die, queue, told)
    near, far = ctx.Pipe()
    with near:
        queue.put(far)
        far.close()
        told.wait(GUARD)
        assert not near.poll()
        process.kill()
        assert near.poll(GUARD)
        with pytest.raises(EOFError):
            near.recv()
    process.join(GUARD)


def test_the_programs_descriptors_were_closed():
    # What holds descriptors on their way was closed; the standard library's way serves.
    program = """
        import os
        import stat
        import procession as mp

        def child(queue):
            with queue.get() as end:
                end.send("here")

        queue, (near, far) = mp.Queue(), mp.Pipe()
        process = mp.get_context("fork").Process(target=child, args=(queue,))
        process.start()
        for number in range(3, 100):
            try:
                found = os.fstat(number)
            except OSError:
                continue
            if stat.S_ISSOCK(found.st_mode) and number not in (near.fileno(), far.fileno()):
                os.close(number)
        queue.put(far)
        print(near.recv())
        process.join()
    """
    assert run_program(program).lines == ["here"]


# --- through pools


def say_who(end):
    with end:
        end.send(os.getpid())


def give_back(end):
    return end


def say_through(end, number):
    end.send((os.getpid(), number))


def test_as_arguments_of_a_pool(ctx):
    with ctx.Pool(2) as pool:
        pool.apply(os.getpid)
        pipes = [ctx.Pipe() for _ in range(10)]  # not inherited
        pool.map(say_who, [far for _, far in pipes])
        for near, far in pipes:
            far.close()
            assert near.recv() != os.getpid()
            with pytest.raises(EOFError):
                near.recv()
            near.close()


def test_as_a_result_of_a_pool(ctx):
    near, far = ctx.Pipe()
    with ctx.Pool(1) as pool, near, far, pool.apply(give_back, (far,)) as back:
        back.send("to and fro")
        assert near.recv() == "to and fro"


def test_in_a_function_that_all_workers_get(ctx):
    near, far = ctx.Pipe()
    with ctx.Pool(3) as pool, near, far:
        pool.map(functools.partial(say_through, far), range(30), chunksize=1)
        said = [near.recv() for _ in range(30)]
        assert sorted(number for _, number in said) == list(range(30))


def use_initial(number):
    return initial.fileno() >= 0 and initial.send(number)


def set_initial(end):
    global initial
    initial = end


def test_as_an_argument_of_initializers(ctx):
    near, far = ctx.Pipe()
    with ctx.Pool(2, set_initial, (far,)) as pool, near, far:
        pool.map(use_initial, range(4))
        assert sorted(near.recv() for _ in range(4)) == [0, 1, 2, 3]


# --- wait


def test_wait_for_all_kinds(ctx):
    process = start(ctx, time.sleep, 0)
    near, far = ctx.Pipe()
    one, other = socket.socketpair()
    reader, writer = os.pipe()
    try:
        process.join(GUARD)
        far.send(1)
        other.sendall(b"1")
        os.write(writer, b"1")
        waited = [near, one, reader, process.sentinel]
        assert connection.wait(waited, GUARD) == waited
        assert connection.wait(iter(waited)) == waited
        near.recv()
        assert connection.wait(waited, 0) == waited[1:]
    finally:
        for descriptor in reader, writer:
            os.close(descriptor)
        for end in near, far, one, other:
            end.close()


def test_wait_times_out(ctx):
    near, far = ctx.Pipe()
    with near, far:
        for timeout in 0, -1, 0.1:
            began = time.monotonic()
            assert connection.wait([near, far], timeout) == []
            assert time.monotonic() - began >= min(timeout, 0.09)
        assert connection.wait([], 0.01) == []


def late(end):
    end.send("late")


def test_wait_for_ever(ctx):
    pipes = [ctx.Pipe() for _ in range(50)]
    process = start(ctx, late, pipes[33][1])
    assert connection.wait([near for near, _ in pipes]) == [pipes[33][0]]
    finish(process)
    for near, far in pipes:
        near.close()
        far.close()


def test_wait_for_a_sentinel(ctx):
    process = start(ctx, signal.pause)
    assert connection.wait([process.sentinel], 0) == []
    process.kill()
    assert connection.wait([process.sentinel], GUARD) == [process.sentinel]
    process.join()


def test_wait_wrong():
    near, far = mp.Pipe()
    far.close()
    near.close()
    with pytest.raises(OSError, match="closed"):
        connection.wait([near])
    with pytest.raises(ValueError, match="-1"):
        connection.wait([-1], 0)
    with pytest.raises(ValueError, match="object"):
        connection.wait([object()])
    with pytest.raises(TypeError):
        connection.wait(7)
    with pytest.raises(TypeError):
        connection.wait([], "soon")


def test_a_thread_waits_while_others_run():
    near, far = mp.Pipe()
    with near, far:
        got = []
        thread = threading.Thread(target=lambda: got.extend(connection.wait([near])))
        thread.start()
        far.send(1)
        eventually(lambda: got)
        thread.join()
        assert got == [near]
