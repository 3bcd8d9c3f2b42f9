"""Imports that wait until somebody needs them, for libraries that others import in vain.

nats-py imports aiohttp for ws:// addresses, which robots' nodes do not use: 10 MiB of memory and
0.1 s of start a process. ``importlib.util.LazyLoader`` does not help there: up to Python 3.11 the
statement ``import aiohttp`` itself already ends its waiting.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
from types import ModuleType
from typing import Any

_lock = threading.RLock()


class _Later(ModuleType):
    """A module that is executed, in its own place, when the first of its names is asked for.

    ``__path__`` is one of them, so that ``import aiohttp.web`` executes ``aiohttp`` first.
    """

    def __getattr__(self, name: str) -> Any:
        with _lock:  # another thread waits here until the module is whole
            spec = self.__dict__["__spec__"]
            if type(self) is _Later and "__path__" not in self.__dict__:
                self.__path__ = spec.submodule_search_locations
                try:
                    spec.loader.exec_module(self)
                except BaseException:
                    del self.__path__
                    raise
                self.__class__ = ModuleType  # type: ignore[assignment]
        try:
            return self.__dict__[name]
        except KeyError:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}") from None


def defer(package: str) -> None:
    """Have the first ``import package`` cost nothing; no effect where it was imported already or
    is not installed. ``package`` is a top-level package."""
    if package in sys.modules:
        return
    spec = importlib.util.find_spec(package)
    if spec is None or spec.loader is None or spec.submodule_search_locations is None:
        return
    module = importlib.util.module_from_spec(spec)
    del module.__path__
    module.__class__ = _Later
    sys.modules[package] = module
