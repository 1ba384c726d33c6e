"""The standard library's own `resource_sharer`, under our name too: it hands descriptors on for
what the standard library pickles while no process is being started."""

import sys
from multiprocessing import resource_sharer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.resource_sharer import *  # noqa: F403

sys.modules[__name__] = resource_sharer
