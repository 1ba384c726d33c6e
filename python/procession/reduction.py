"""The standard library's own `reduction`, under our name too: what is registered there, our pickler
honours."""

import sys
from multiprocessing import reduction

sys.modules[__name__] = reduction
