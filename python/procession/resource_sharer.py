"""The standard library's own `resource_sharer`, under our name too: it hands descriptors on for
what the standard library pickles while no process is being started."""

import sys
from multiprocessing import resource_sharer

sys.modules[__name__] = resource_sharer
