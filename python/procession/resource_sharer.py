"""The standard library's own `resource_sharer`, under our name too: it hands descriptors on that are
pickled while no process is being started."""

import sys
from multiprocessing import resource_sharer

sys.modules[__name__] = resource_sharer
