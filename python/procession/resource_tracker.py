"""The standard library's own `resource_tracker`, under our name too, for names that it is given.
Nothing of ours but SharedMemory has a name."""

import sys
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.resource_tracker import *  # noqa: F403

sys.modules[__name__] = resource_tracker
