"""Workers reach their tasks over TCP, with a key: from the same machine here, or from another."""

import argparse

import procession as mp
from procession.managers import BaseManager

KEY = b"an open secret, for an example"
QUEUES = {}


def tasks():
    """The queue of tasks; runs where the manager is."""
    return QUEUES["tasks"]


def results():
    """The queue of results."""
    return QUEUES["results"]


def prepare(tasks_queue, results_queue):
    """Tells the manager's process which queues it hands out."""
    QUEUES.update(tasks=tasks_queue, results=results_queue)


class Office(BaseManager):
    """Hands out two queues."""


Office.register("tasks", tasks)
Office.register("results", results)


def work(address):
    """A worker: all that it knows is where the office is, and the key."""
    office = Office(address=address, authkey=KEY)
    office.connect()
    inbox, outbox = office.tasks(), office.results()
    while (number := inbox.get()) is not None:
        outbox.put((number, sum(d for d in range(1, number) if number % d == 0)))


def main():
    """Open the office, start workers, and look for perfect numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--method", choices=mp.get_all_start_methods(), default="fork")
    parser.add_argument("--host", default="127.0.0.1")
    options = parser.parse_args()
    ctx = mp.get_context(options.method)

    office = Office(address=(options.host, 0), authkey=KEY, ctx=ctx)
    office.start(prepare, (ctx.Queue(), ctx.Queue()))
    workers = [ctx.Process(target=work, args=(office.address,)) for _ in range(3)]
    for worker in workers:
        worker.start()
    inbox, outbox = office.tasks(), office.results()
    numbers = range(2, 500)
    for number in numbers:
        inbox.put(number)
    found = [outbox.get() for _ in numbers]
    for _ in workers:
        inbox.put(None)
    for worker in workers:
        worker.join()
    print(f"{len(found)} numbers were looked at by {len(workers)} workers over TCP")
    print("perfect:", sorted(number for number, total in found if number == total))

    stranger = Office(address=office.address, authkey=b"not the key")
    try:
        stranger.connect()
    except mp.AuthenticationError:
        print("who has another key is not let in")
    office.shutdown()


if __name__ == "__main__":
    main()
