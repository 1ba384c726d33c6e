"""Each call of the package that can wait for ever, ready to: what Ctrl-C and the exit must end."""

import uuid

from under_test import NAME, mp

connection = __import__(f"{NAME}.connection", fromlist=["*"])


def child_waits(ready, event):
    ready.set()
    event.wait()


class BlockingCalls:
    """The calls by name, on objects of one context; a child holds what must be held by another."""

    def __init__(self, method):
        self.ctx = mp.get_context(method)
        self.event, self.ready = self.ctx.Event(), self.ctx.Event()
        self.child = self.ctx.Process(target=child_waits, args=(self.ready, self.event))

    def start_child(self):
        """Start the child, and return when it waits in its target."""
        self.child.start()
        self.ready.wait()

    def get(self):
        return self.ctx.Queue().get

    def get_with_a_timeout(self):
        queue = self.ctx.Queue()
        return lambda: queue.get(timeout=1000)

    def get_many(self):
        queue = self.ctx.Queue()
        return lambda: queue.get_many(10)

    def put_on_full(self):
        queue = self.ctx.Queue(1)
        queue.put(1)
        return lambda: queue.put(2)

    def put_many_on_full(self):
        queue = self.ctx.Queue(1)
        return lambda: queue.put_many([1, 2, 3])

    def get_of_a_simple_queue(self):
        return self.ctx.SimpleQueue().get

    def poll_of_a_queues_reader(self):
        reader = self.ctx.SimpleQueue()._reader
        return lambda: reader.poll(None)

    def join_of_a_queue(self):
        queue = self.ctx.JoinableQueue()
        queue.put(1)
        return queue.join

    def acquire(self):
        lock = self.ctx.Lock()
        lock.acquire()
        return lock.acquire

    def acquire_with_a_timeout(self):
        lock = self.ctx.Lock()
        lock.acquire()
        return lambda: lock.acquire(True, 1000)

    def with_lock(self):
        lock = self.ctx.Lock()
        lock.acquire()

        def call():
            with lock:
                pass

        return call

    def semaphore_acquire(self):
        return self.ctx.Semaphore(0).acquire

    def event_wait(self):
        return self.ctx.Event().wait

    def event_wait_with_a_timeout(self):
        event = self.ctx.Event()
        return lambda: event.wait(1000)

    def condition_wait(self):
        condition = self.ctx.Condition()

        def call():
            with condition:
                condition.wait()

        return call

    def condition_wait_for(self):
        condition = self.ctx.Condition()

        def call():
            with condition:
                condition.wait_for(lambda: False)

        return call

    def barrier_wait(self):
        return self.ctx.Barrier(2).wait

    def join(self):
        return self.child.join

    def join_with_a_timeout(self):
        return lambda: self.child.join(1000)

    def recv(self):
        self.ends = self.ctx.Pipe()
        return self.ends[0].recv

    def recv_bytes(self):
        self.ends = self.ctx.Pipe()
        return self.ends[0].recv_bytes

    def poll(self):
        self.ends = self.ctx.Pipe()
        return lambda: self.ends[0].poll(None)

    def poll_with_a_timeout(self):
        self.ends = self.ctx.Pipe()
        return lambda: self.ends[0].poll(1000)

    def connection_wait(self):
        self.ends = self.ctx.Pipe()
        return lambda: connection.wait(self.ends)

    def accept(self):
        self.listener = connection.Listener()
        return self.listener.accept

    def accept_beside_a_silent_client(self):
        self.listener = connection.Listener(authkey=b"key")
        self.silent = connection.Client(self.listener.address)
        return self.listener.accept

    def client_of_a_silent_listener(self):
        self.listener = connection.Listener(authkey=b"key")
        return lambda: connection.Client(self.listener.address, authkey=b"key")

    def client_of_a_full_listener(self):
        # Without a file, which the end of main would remove: then there would be no listener.
        self.listener = connection.Listener(f"\0full-{uuid.uuid4()}", backlog=0)
        self.first = connection.Client(self.listener.address)
        return lambda: connection.Client(self.listener.address)


BLOCKING_CALLS = [
    name for name in vars(BlockingCalls) if not name.startswith("_") and name != "start_child"
]
