"""The name that the standard library has for `popen_spawn`."""

from .popen_spawn import Popen

__all__ = ["Popen"]
