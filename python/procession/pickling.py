"""The pickler of the package: the standard library's, with our own types registered with it.

It is a subclass of ForkingPickler, so reducers that others register there are honoured, and the
standard library's own pickler can carry what is ours.
"""

from multiprocessing.reduction import ForkingPickler

from . import _procession


class Pickler(ForkingPickler):
    """Pickles for another process of the program."""


_procession.set_pickler(Pickler)
