"""Modules of ours that live beside one of the standard library's, under the same name, and share
its state: what they have not is read there, and what is set there is set for both."""

import sys
from types import ModuleType
from typing import Any


class _Beside(ModuleType):
    _standard: ModuleType
    # What stood there before something was set through us: a patch that is taken back deletes.
    _before: dict[str, Any]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._standard, name)

    def __setattr__(self, name: str, value: object) -> None:
        if self._is_theirs(name):
            self._before.setdefault(name, getattr(self._standard, name))
            setattr(self._standard, name, value)
        else:
            super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        if name in self._before:
            setattr(self._standard, name, self._before.pop(name))
        elif self._is_theirs(name):
            delattr(self._standard, name)
        else:
            super().__delattr__(name)

    def __dir__(self) -> list[str]:
        return sorted({*vars(self), *dir(self._standard)})

    def _is_theirs(self, name: str) -> bool:
        return name not in vars(self) and hasattr(self._standard, name)


def beside(name: str, standard: ModuleType) -> None:
    """Makes the module `name` one that lives beside `standard`: so a patch of either is seen by
    all, and a name that the next Python adds is there."""
    module = sys.modules[name]
    vars(module).update(_standard=standard, _before={})
    module.__class__ = _Beside
