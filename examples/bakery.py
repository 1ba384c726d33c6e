"""Orders go to bakers by a JoinableQueue, loaves come back by a Queue; the oven has two places."""

import argparse

import procession as mp

RECIPES = {"rye": 3, "wheat": 2, "spelt": 4}


def bake(name, orders, loaves, oven, opened):
    """A baker: works until the day is over."""
    opened.wait()
    while True:
        order = orders.get()
        try:
            if order is None:
                return
            number, kind = order
            with oven:
                grams = sum(500 for _ in range(RECIPES[kind]))
            loaves.put((number, kind, grams, name))
        finally:
            # Whatever became of it, this order is done: who joins the queue waits for that.
            orders.task_done()


def main():
    """Open the bakery, hand out a day's orders, and read the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--method", choices=mp.get_all_start_methods(), default="fork")
    ctx = mp.get_context(parser.parse_args().method)

    orders, loaves = ctx.JoinableQueue(), ctx.Queue()
    oven, opened = ctx.BoundedSemaphore(2), ctx.Event()
    bakers = [
        ctx.Process(target=bake, name=name, args=(name, orders, loaves, oven, opened))
        for name in ("Ada", "Grace", "Edsger")
    ]
    for baker in bakers:
        baker.start()

    kinds = sorted(RECIPES)
    for number in range(12):
        orders.put((number, kinds[number % len(kinds)]))
    print(f"{orders.qsize()} orders wait, the ovens are cold")
    opened.set()

    orders.join()
    print(f"all orders are done, {loaves.qsize()} batches are on the shelf")
    shelf = sorted(loaves.get() for _ in range(12))
    for number, kind, grams, _ in shelf[:4]:
        print(f"order {number}: {grams} g of {kind} bread")
    print(f"in all {sum(grams for _, _, grams, _ in shelf)} g")

    for _ in bakers:
        orders.put(None)
    for baker in bakers:
        baker.join()
    print("everybody has gone home:", all(baker.exitcode == 0 for baker in bakers))


if __name__ == "__main__":
    main()
