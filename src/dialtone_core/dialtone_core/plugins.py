"""Finds a part of some kind by its name: an entry point of a group, or one that is built in.

Both are ``name = "module:attribute"``. The built-in ones need no installation to be found, and
nothing is imported before it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from dialtone_core.errors import ConfigError


@dataclass(frozen=True)
class Plugins:
    """The parts of one kind: those of the entry point ``group``, and the ``built_in`` ones."""

    group: str
    built_in: Mapping[str, str]

    def names(self) -> list[str]:
        """Every name that a setting may give."""
        return sorted({*self.built_in, *(point.name for point in entry_points(group=self.group))})

    def load(self, name: str, setting: str, where: str = "") -> Any:
        """What ``name`` stands for; ``setting`` is what gave it.

        Raises ``ConfigError``: for a name that nobody knows, with those that are known, and for
        a part that cannot be imported.
        """
        point = self._find(name, setting, where)
        try:
            return point.load()
        except (ImportError, AttributeError) as error:
            raise ConfigError(
                f"{setting} is {name!r}, and {point.value} cannot be loaded ({error})",
                where=where,
                fix="install what it needs, or give another",
            ) from error

    def check(self, name: str, setting: str, where: str = "") -> None:
        """Raise as ``load`` does for a name that nobody knows; imports nothing."""
        self._find(name, setting, where)

    def _find(self, name: str, setting: str, where: str) -> EntryPoint:
        if name in self.built_in:
            return EntryPoint(name, self.built_in[name], self.group)
        for point in entry_points(group=self.group, name=name):
            return point
        raise ConfigError(
            f"{setting} is {name!r}", where=where, fix=f"give one of {', '.join(self.names())}"
        )
