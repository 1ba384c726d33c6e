"""Wrong calls, a file for each noun; `ROWS` has them all by their names."""

from . import (  # noqa: F401  (each adds its rows)
    contexts,
    listeners,
    locks,
    managers,
    named_memory,
    pipes,
    pools,
    processes,
    queues,
    values,
)
from .table import NONE, ROWS

__all__ = ["NONE", "ROWS"]
