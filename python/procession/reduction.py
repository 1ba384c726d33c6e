"""The standard library's own `reduction`, under our name too: what is registered there, our pickler
honours."""

import sys
from multiprocessing import reduction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.reduction import *  # noqa: F403

sys.modules[__name__] = reduction
