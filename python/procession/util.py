"""The standard library's own `util`, under our name too: finalizers, what runs after a fork and the
logger are one for all processes of a program."""

import sys
from multiprocessing import util
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.util import *  # noqa: F403

sys.modules[__name__] = util
