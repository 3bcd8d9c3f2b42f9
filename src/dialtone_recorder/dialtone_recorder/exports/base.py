"""What every dataset format is: written episode by episode into a folder that is not yet there.

A format is one module with a class, found by the entry point group ``dialtone.exporters``
(``name = "module:Class"``). All of them pass ``test_exporter_contract.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, cast

from dialtone_core.errors import DialtoneError
from dialtone_core.plugins import Plugins
from dialtone_recorder.mapping import Mapping
from dialtone_recorder.table import Table

BUILT_IN = {"hdf5": "Hdf5", "lerobot": "LeRobot", "parquet": "Parquet"}
_EXPORTERS = Plugins(
    "dialtone.exporters",
    {name: f"dialtone_recorder.exports.{name}:{cls}" for name, cls in BUILT_IN.items()},
)

Progress = Callable[[float], None]


class Exporter(Protocol):
    """Writes one dataset.

    ``folder`` is empty, or a copy of a dataset of this format that episodes are appended to; it
    takes its final place only after ``finish``, so nothing here needs to survive a crash. Files
    that were there are hard links: replace them, never write into them.
    """

    def __init__(self, folder: Path, mapping: Mapping) -> None:
        """Read what is there; raises ``DialtoneError`` where it doesn't fit ``mapping``."""

    def add(self, table: Table, on_progress: Progress) -> None:
        """Write the next episode; raises ``DialtoneError``."""

    def finish(self) -> None:
        """Write what describes all episodes."""

    @staticmethod
    def check(folder: Path, on_progress: Progress) -> list[str]:
        """Everything that is wrong with a finished dataset, in words that name the file."""


def exporter_names() -> list[str]:
    """Every format that can be exported."""
    return _EXPORTERS.names()


def find_exporter(name: str) -> type[Exporter]:
    """The class of format ``name``; raises ``ConfigError`` that lists the known ones."""
    return cast("type[Exporter]", _EXPORTERS.load(name, "the dataset format"))


def check_same(mapping: Mapping, before: dict[str, Any], where: Path) -> None:
    """Refuse to append with a mapping that would put other things under the same names."""
    now = mapping.to_json()
    for key in ("features", "images", "action", "fps", "clock", "timeline", "hdf5_images"):
        if now[key] != before.get(key):
            raise DialtoneError(
                f"{key} differs from the mapping that the dataset was made with",
                where=str(where), fix="export with that mapping (provenance.json), or elsewhere",
            )  # fmt: skip
