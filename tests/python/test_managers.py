"""Managers: objects in a process of their own, used by proxies; the same words as
multiprocessing."""

import gc
import operator
import queue
import threading

import managed
import pytest
from deadline import GUARD, eventually
from managed import Counter, Manager, Odd, managers
from processes import finish, gone, start
from under_test import NAME, mp

ours = pytest.mark.skipif(NAME == "multiprocessing", reason="a promise of ours")

KEY = b"a key of its own"


@pytest.fixture
def manager(ctx):
    with ctx.Manager() as manager:
        yield manager


@pytest.fixture
def keyed(ctx):
    """A manager whose key is not the process's."""
    with managers.SyncManager(authkey=KEY, ctx=ctx) as manager:
        yield manager


@pytest.fixture
def custom(ctx):
    with Manager(ctx=ctx) as manager:
        yield manager


def objects(manager, expected):
    """Waits until the manager has so many objects."""
    gc.collect()
    eventually(lambda: manager._number_of_objects() == expected, what=f"{expected} objects")


# --- types


def test_each_type_from_a_child(ctx, manager):
    things = {
        "list": manager.list([1]),
        "dict": manager.dict(parent=0),
        "namespace": manager.Namespace(parent=0),
        "value": manager.Value("i", 41),
        "array": manager.Array("i", [0, 0]),
        "queue": manager.Queue(),
        "lock": manager.Lock(),
        "rlock": manager.RLock(),
        "semaphore": manager.BoundedSemaphore(2),
        "event": manager.Event(),
        "condition": manager.Condition(),
        "barrier": manager.Barrier(2),
        "set": manager.set() if NAME == "procession" else set(),
    }
    with things["condition"]:
        child = start(ctx, managed.use_all, things)
        assert things["event"].wait(GUARD)
        assert things["condition"].wait(GUARD)
    things["barrier"].wait(GUARD)
    finish(child)
    assert things["list"][:] == [1, "child"]
    assert things["dict"].copy() == {"parent": 0, "child": 1}
    assert things["namespace"].child == "here"
    assert things["value"].value == 42
    assert things["array"][:].tolist() == [0, 7]
    assert things["queue"].get(timeout=GUARD) == "child"
    if NAME == "procession":
        assert things["set"].copy() == {"child"}


@ours
def test_set(manager):
    numbers = manager.set([1, 2])
    numbers.add(3)
    numbers |= {4}
    numbers -= {1}
    assert 3 in numbers
    assert len(numbers) == 3
    assert sorted(numbers) == [2, 3, 4]
    assert numbers & {2, 9} == {2}
    assert numbers | {9} == {2, 3, 4, 9}
    assert {9} | numbers.copy() == {2, 3, 4, 9}
    assert numbers.issuperset([2])
    assert {2, 3} <= numbers.copy()
    assert isinstance(numbers, managers.SetProxy)


def test_list_and_dict(manager):
    items = manager.list(range(3))
    items += [3]
    items *= 2
    assert isinstance(items, managers.ListProxy)
    assert items[2:5] == [2, 3, 0]
    items.sort(reverse=True)
    assert (items[0], items.count(3), items.index(0), items.pop()) == (3, 2, 6, 0)
    assert items.__add__([9]) == [*items[:], 9]
    assert str(items) == str(items[:])
    words = manager.dict({"a": 1}, b=2)
    words.update(c=3)
    assert sorted(words) == ["a", "b", "c"]
    assert sorted(words.items()) == [("a", 1), ("b", 2), ("c", 3)]
    assert (words.pop("a"), words.get("a", 5), words.setdefault("d", 4)) == (1, 5, 4)
    del words["d"]
    assert "d" not in words
    with pytest.raises(KeyError, match="nothing"):
        words["nothing"]


def test_queues(manager):
    tasks = manager.JoinableQueue(1)
    tasks.put(1)
    with pytest.raises(queue.Full):
        tasks.put(2, timeout=0.01)
    assert tasks.get_nowait() == 1
    with pytest.raises(queue.Empty):
        tasks.get(timeout=0.01)
    tasks.task_done()
    tasks.join()
    with pytest.raises(ValueError, match="task_done"):
        tasks.task_done()


def test_locks(manager):
    lock = manager.Lock()
    assert lock.acquire()
    assert not lock.acquire(False)
    assert not lock.acquire(True, 0.01)
    lock.release()
    with pytest.raises(RuntimeError):
        lock.release()
    rlock = manager.RLock()
    with rlock, rlock:
        pass
    with pytest.raises(RuntimeError):
        rlock.release()
    semaphore = manager.BoundedSemaphore(1)
    with semaphore:
        assert not semaphore.acquire(False)
    with pytest.raises(ValueError, match="Semaphore"):
        semaphore.release()


@ours
def test_a_condition_upon_a_managers_lock(manager):
    lock = manager.Lock()
    condition = manager.Condition(lock)
    with condition:
        assert not lock.acquire(False)
        assert not condition.wait(0.01)
    with lock:
        assert not condition.acquire(False)


def test_wait_for_calls_its_predicate_here(manager):
    condition, seen = manager.Condition(), []

    def come():
        with condition:
            seen.append(1)
            condition.notify()

    with condition:
        thread = threading.Thread(target=come)
        thread.start()
        assert condition.wait_for(lambda: seen, GUARD)
    thread.join()
    with condition:
        assert not condition.wait_for(lambda: False, 0.01)


def test_barrier(manager):
    barrier = manager.Barrier(2)
    assert (barrier.parties, barrier.n_waiting, barrier.broken) == (2, 0, False)
    with pytest.raises(threading.BrokenBarrierError):
        barrier.wait(0.01)
    assert barrier.broken
    barrier.reset()
    assert not barrier.broken


def test_pool(manager):
    with manager.Pool(2) as pool:
        assert pool.map(abs, [-1, -2]) == [1, 2]
        assert pool.apply_async(divmod, (7, 2)).get(GUARD) == (3, 1)
        assert sorted(pool.imap_unordered(abs, [-1, -2])) == [1, 2]


# --- registered types


def test_automatic_proxies(custom):
    counter = custom.Counter(5)
    assert (counter.add(), counter.add(2)) == (6, 8)
    assert counter.pid() == custom._process.pid
    assert not hasattr(counter, "_hidden")
    child = counter.child()
    assert child.add() == 9
    assert counter.add(0) == 8
    assert list(counter.numbers(3)) == [0, 1, 2]


def test_proxies_of_ones_own(custom):
    twice = custom.Twice(1)
    assert isinstance(twice, managed.Twice)
    assert twice.add_twice(2) == 5
    assert isinstance(twice, managers.BaseProxy)


def test_exposed_methods(custom):
    hidden = custom.Hidden()
    assert hidden._callmethod("_hidden") == "hidden"
    with pytest.raises(managers.RemoteError, match="pid"):
        hidden._callmethod("pid")
    assert hidden._exposed_ == ("add", "_hidden")


def test_one_object_for_all(ctx, custom):
    first, second = custom.kept(), custom.kept()
    assert (first.add(), second.add()) == (101, 102)
    assert first._id == second._id


def test_register_without_a_method(custom):
    assert not hasattr(custom, "secret")
    assert custom._create("secret", 3)[0].typeid == "secret"


def test_getvalue_copies(manager):
    items = manager.list([1])
    copy = items._getvalue()
    copy.append(2)
    assert (type(copy), items[:]) == (list, [1])


# --- states


def test_states(ctx):
    manager = managers.SyncManager(ctx=ctx)
    with pytest.raises(AssertionError, match="not yet started"):
        manager.list()
    with pytest.raises(TypeError, match="callable"):
        manager.start(initializer=1)
    manager.start()
    with pytest.raises(mp.ProcessError, match="Already started"):
        manager.start()
    with pytest.raises(mp.ProcessError, match="Already started"):
        manager.get_server()
    assert [p.name for p in mp.active_children()] == [manager._process.name]
    assert manager._process.name.startswith("SyncManager-")
    manager.shutdown()
    assert not mp.active_children()
    with pytest.raises(mp.ProcessError, match="shut down"):
        manager.start()
    with pytest.raises(AssertionError):
        manager.list()
    manager.join()


def test_a_manager_that_can_not_start(ctx):
    manager = managers.SyncManager(ctx=ctx)
    with pytest.raises(EOFError):
        manager.start(initializer=managed.exit_hard)
    assert not mp.active_children()


def test_initializer(ctx):
    with Manager(ctx=ctx) as before:
        assert before.kept().add(0) == 100
    manager = Manager(ctx=ctx)
    manager.start(add_to_the_kept, (11,))
    with manager:
        assert manager.kept().add(0) == 111


def add_to_the_kept(number):
    managed.KEPT.add(number)


def test_serializer_is_checked():
    with pytest.raises(KeyError, match="nosuch"):
        managers.BaseManager(serializer="nosuch")


@ours
def test_managers_are_the_standard_librarys(manager):
    from multiprocessing import managers as standard

    assert isinstance(manager, standard.SyncManager)
    assert isinstance(manager.list(), standard.BaseProxy)


# --- errors


def test_an_exception_of_the_object(custom):
    counter = custom.Counter()
    with pytest.raises((Odd, TypeError)) as caught:
        counter.fail("one", "other")
    if NAME == "procession":
        assert str(caught.value) == "one and other"
        assert "in fail" in str(caught.value.__cause__)
    assert custom.Counter().add() == 1


@ours
def test_system_exit_is_the_calls(custom):
    counter = custom.Counter()
    with pytest.raises(SystemExit) as caught:
        counter.leave()
    assert caught.value.code == 3
    assert counter.add() == 1


def test_a_result_that_does_not_pickle(custom):
    counter = custom.Counter()
    with pytest.raises(managers.RemoteError, match="lambda"):
        counter.unpicklable()
    assert counter.add() == 1


@ours
def test_an_argument_that_does_not_pickle_or_unpickle(manager):
    items = manager.list()
    with pytest.raises(Exception, match="lambda"):
        items.append(lambda: None)
    with pytest.raises(managers.RemoteError, match="fails to arrive"):
        items.append(FailsToArrive())
    items.append(1)
    assert items[:] == [1]


class FailsToArrive:
    def __reduce__(self):
        return fail_to_arrive, ()


def fail_to_arrive():
    raise ValueError("it fails to arrive")


@pytest.mark.parametrize("what", [("nosuch",), ("Counter", 1, 2, 3)])
def test_an_object_that_can_not_be_made(custom, what):
    with pytest.raises(managers.RemoteError, match="Error"):
        custom._create(*what)
    assert custom.Counter().add() == 1


# --- servers that others run


def served(address, **options):
    """A server of this process, in a thread, and its manager."""
    manager = Manager(address, **options)
    server = manager.get_server()

    def serve():
        with pytest.raises(SystemExit):
            server.serve_forever()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return server, thread


@pytest.mark.parametrize("address", [None, ("127.0.0.1", 0)], ids=["unix", "tcp"])
@pytest.mark.parametrize("serializer", ["pickle", "xmlrpclib"])
def test_connect_to_a_server(address, serializer):
    # In a program of its own: a process that serves is not to have clients too.
    from program import Program

    source = f"""
        import sys, threading, procession as mp
        sys.path.append({str(managed.__file__.rpartition("/")[0])!r})
        from managed import Manager

        if __name__ == "__main__":
            manager = Manager({address!r}, {KEY!r}, serializer={serializer!r})
            server = manager.get_server()
            print(ascii(server.address), flush=True)
            server.serve_forever()
    """
    with Program(source) as program:
        found = eval(program.line())
        manager = Manager(found, KEY, serializer=serializer)
        manager.connect()
        assert manager.address == found
        kept = manager.kept()
        assert (kept.add(), manager.kept().add()) == (101, 102)
        if serializer == "pickle":
            assert manager.Counter(3).child().add() == 4
        assert not hasattr(manager, "shutdown")
        with pytest.raises(mp.AuthenticationError):
            Manager(found, b"another key", serializer=serializer).connect()
        # After one who had another key as before.
        assert kept.add() == 103
    with pytest.raises((EOFError, ConnectionError)):
        kept.add()


def test_connect_where_nobody_is(tmp_path):
    with pytest.raises(FileNotFoundError):
        managers.BaseManager(str(tmp_path / "nobody")).connect()


def test_authkey_is_bytes():
    with pytest.raises(TypeError):
        managers.BaseManager(authkey="text").get_server()


# --- proxies on their way


@ours
def test_a_proxy_outlives_who_put_it(ctx, manager):
    sent = ctx.Queue()
    child = start(ctx, managed.put_new, sent, manager.address, bytes(manager._authkey), 5)
    finish(child)
    # The child is gone, and nobody else has any of these.
    assert manager._number_of_objects() == 5
    assert [sent.get(timeout=GUARD)[0] for _ in range(4)] == [0, 1, 2, 3]
    objects(manager, 1)
    # A queue that is gone takes along what is in it.
    del sent, child
    objects(manager, 0)


@ours
def test_a_proxy_through_a_pipe_outlives_its_sender(ctx, manager):
    here, there = ctx.Pipe()
    items = manager.list(["kept"])
    there.send(items)
    del items
    gc.collect()
    assert manager._number_of_objects() == 1
    items = here.recv()
    assert items[:] == ["kept"]
    del items
    objects(manager, 0)


def tickets_keep(seconds):
    from procession import manager_server

    manager_server._TICKET_KEEPS = seconds


@ours
def test_a_proxy_through_a_pipe_that_nobody_receives(ctx):
    manager = managers.SyncManager(ctx=ctx)
    manager.start(tickets_keep, (0.0,))
    with manager:
        (here, there), (again, once_more) = ctx.Pipe(), ctx.Pipe()
        items, others = manager.list(["kept"]), manager.list(["not kept"])
        there.send(items)
        once_more.send(others)
        del others
        # Its ticket keeps it no longer.
        objects(manager, 1)
        # What somebody else keeps is received all the same, however late.
        assert here.recv()[:] == ["kept"]
        with pytest.raises(managers.RemoteError, match="or no more"):
            again.recv()
        for end in here, there, again, once_more:
            end.close()


@ours
def test_a_temporary_proxy_as_an_argument(ctx, manager):
    said = ctx.Queue()
    children = [start(ctx, put_length, manager.list([1] * n), said) for n in range(3)]
    assert sorted(said.get(timeout=GUARD) for _ in children) == [0, 1, 2]
    finish(*children)
    del children
    objects(manager, 0)


def put_length(proxy, said):
    said.put(len(proxy))


@ours
def test_proxies_as_arguments_and_results_of_a_pool(ctx, manager):
    address, key = manager.address, bytes(manager._authkey)
    with ctx.Pool(2) as pool:
        made = pool.starmap(managed.new_list, [(address, key, n) for n in range(4)])
        assert [items[:] for items in made] == [[n] for n in range(4)]
        assert pool.map(managed.length, made) == [1] * 4
        # The function's own argument reaches each worker, when its maker has let it go.
        temporary = pool.map_async(operator.methodcaller("__add__", [1]), [manager.list()])
        assert temporary.get(GUARD) == [[1]]
        del temporary
        del made
        objects(manager, 0)


def test_a_proxy_to_a_grandchild(ctx, method, manager):
    items = manager.list()
    finish(start(ctx, managed.forward, items, method, 2))
    assert items[:] == ["from afar"]


@ours
def test_a_proxy_with_a_key_of_its_own(ctx, keyed):
    items, sent = keyed.list(), ctx.Queue()
    finish(start(ctx, managed.append_all, items, "argument"))
    sent.put(items)
    finish(start(ctx, managed.append_got, sent, "queue"))
    with ctx.Pool(1) as pool:
        pool.apply(managed.append_all, (items, "pool"))
    assert items[:] == ["argument", "queue", "pool"]
    nested = keyed.dict(items=items)
    assert nested["items"][:] == items[:]


@ours
def test_who_has_no_key_is_told(ctx, keyed):
    # Bytes in a pipe may be read by others: the key is not among them.
    here, there = ctx.Pipe()
    there.send(keyed.list())
    assert KEY not in here.recv_bytes()


def test_proxies_in_each_other(manager):
    inner = manager.list([1])
    outer = manager.dict(inner=inner)
    del inner
    outer["inner"].append(2)
    again = outer["inner"]
    outer.clear()
    assert again[:] == [1, 2]
    items = manager.list([manager.list([n]) for n in range(3)])
    assert [item[:] for item in items] == [[0], [1], [2]]
    assert items.pop()[:] == [2]


@ours
def test_what_is_nested_ends_with_what_it_is_in(manager):
    outer = manager.dict()
    for number in range(5):
        outer[number] = manager.list([manager.Namespace(number=number)])
    objects(manager, 11)
    assert outer[3][0].number == 3
    del outer[4]
    objects(manager, 9)
    del outer
    objects(manager, 0)


@ours
def test_cycles_end(manager):
    one, other = manager.list(), manager.list()
    one.append(other)
    other.append(one)
    one.append(one)
    assert one[0][0][0] is not None
    del one, other
    objects(manager, 0)


@ours
def test_what_is_popped_lives(manager):
    outer, queued = manager.list(), manager.Queue()
    outer.append(manager.list([1]))
    queued.put(manager.list([2]))
    assert (outer.pop()[:], queued.get()[:]) == ([1], [2])
    objects(manager, 2)


@ours
def test_a_proxy_of_one_manager_in_another(ctx, manager, keyed):
    outer = keyed.dict(items=manager.list([1]))
    assert outer["items"][:] == [1]
    assert manager._number_of_objects() == 1
    outer.clear()
    objects(manager, 0)


@ours
def test_an_object_is_freed_soon_without_being_asked(custom):
    # Its server is woken: no client says that a proxy is gone.
    counter = custom.Counter()
    address, ident = custom.address, counter._id
    session = counter._session()
    del counter
    eventually(lambda: session.call(ident, "add")[0] == "#TRACEBACK", 2.0)
    assert address == custom.address


@ours
def test_an_object_that_is_gone_is_said_so(manager):
    items = manager.list()
    ident = items._id
    session = items._session()
    del items
    objects(manager, 0)
    kind, text = session.call(ident, "append", (1,))
    assert kind == "#TRACEBACK"
    assert f"no object {ident!r}" in text


@ours
def test_threads_of_a_client(manager):
    items = manager.list()

    def work():
        for number in range(50):
            items.append(number)
            manager.list([number])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(items) == 200
    objects(manager, 1)


@ours
def test_a_server_that_serves_in_a_thread():
    server, thread = served(None, authkey=KEY)
    manager = Manager(server.address, KEY)
    manager.connect()
    assert manager.Counter(1).add() == 2
    manager._ask("shutdown")
    thread.join(GUARD)
    assert not thread.is_alive()
    mp.current_process()._manager_server = None


def test_gone_after_shutdown(ctx):
    manager = ctx.Manager()
    items = manager.list()
    pid = manager._process.pid
    manager.shutdown()
    assert gone(pid)
    with pytest.raises((EOFError, OSError)):
        items.append(1)
    assert Counter().add() == 1


def test_another_server_at_the_same_address(ctx, tmp_path):
    address = str(tmp_path / "server")
    client = managers.SyncManager(address, b"key")
    for number in range(3):
        with managers.SyncManager(address, b"key", ctx=ctx):
            if not number:
                client.connect()
            assert client.list([number])[:] == [number]
            assert client._number_of_objects() == 0
        with pytest.raises(FileNotFoundError):
            client.list()


class Mixed(managers.SharedMemoryManager, managers.SyncManager):
    """Has shared memory and all else."""


def test_types_of_several_managers(ctx):
    with Mixed(ctx=ctx) as manager:
        memory = manager.SharedMemory(5)
        assert manager.list([memory.size])[:] == [5]
