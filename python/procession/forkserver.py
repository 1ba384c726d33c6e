"""The standard library's `forkserver`, where what starts and fills the server is our template's."""

from multiprocessing import forkserver

from .beside import beside
from .popen_forkserver import ensure_running, set_forkserver_preload

__all__ = ["ensure_running", "set_forkserver_preload"]

beside(__name__, forkserver)
