"""A program with Process, Queue and Lock that works until somebody kills it.

python leaking_program.py {fork,spawn}
"""

import sys

from under_test import mp


def work(inbox, outbox, lock, event):
    event.wait()
    while True:
        item = inbox.get()
        with lock:
            outbox.put(item)


def main():
    ctx = mp.get_context(sys.argv[1])
    inbox, outbox, lock, event = ctx.Queue(), ctx.Queue(100), ctx.Lock(), ctx.Event()
    for _ in range(2):
        ctx.Process(target=work, args=(inbox, outbox, lock, event)).start()
    event.set()
    inbox.put("first")
    outbox.get()
    print("works", flush=True)
    number = 0
    while True:
        number += 1
        inbox.put(b"x" * 200_000 if number % 10 == 0 else number)
        outbox.get()


if __name__ == "__main__":
    main()
