"""From one recorded message to the numbers that a mapping asks for."""

from __future__ import annotations

from typing import Any

import numpy as np

from dialtone_core.errors import DialtoneError, WireError
from dialtone_recorder.mapping import Source
from dialtone_recorder.rosmsg import Definition, Reader


class Extractor:
    """The numbers of one ``Source``, always the same count.

    ``label`` and ``where`` are for errors. Raises ``DialtoneError`` naming the field that the
    type lacks, that is no number, or whose length changes within an episode.
    """

    def __init__(self, source: Source, definition: Definition, label: str, where: str) -> None:
        self._source = source
        self._label = label
        self._where = where
        self._type = definition.root
        self._picks = [_split(path) for path in source.fields]
        self._joints: tuple[Any, list[int]] = ((), [])
        paths = [path for path, _ in self._picks] + (["name"] if source.joints else [])
        unique = list(dict.fromkeys(paths))
        self._places = [unique.index(path) for path in paths]
        try:
            self._reader = Reader(definition, unique)
        except KeyError as error:
            raise self._no_field(str(error.args[0]), definition) from error
        except ValueError as error:
            raise self._error(f"{self._type}: {error}", "map another topic") from error
        self.names: tuple[str, ...] = ()

    def __call__(self, payload: bytes) -> list[float]:
        try:
            read = self._reader.read(payload)
        except WireError as error:
            raise self._error(f"a message is no {self._type} ({error})", "leave it out") from error
        values = [read[place] for place in self._places]
        order = self._order(values.pop()) if self._source.joints else None
        numbers: list[float] = []
        names: list[str] = []
        for (path, index), value in zip(self._picks, values, strict=True):
            try:
                numbers += self._numbers(path, index, value, order)
            except (IndexError, TypeError, ValueError) as error:
                raise self._bad_value(path, index, value) from error
            if not self.names:
                names += self._name(path, index, len(numbers) - len(names), order is not None)
        if not self.names:
            self.names = self._source.names or tuple(names)
        if len(numbers) != len(self.names):
            raise self._error(
                f"{len(numbers)} numbers where there are {len(self.names)} names or were so many",
                "name elements of the array (position[0]) or joints, and as many names",
            )
        return numbers

    def units(self) -> list[str]:
        """A unit for each number; raises where the mapping has another count."""
        given = self._source.units
        if len(given) not in (0, 1, len(self.names)):
            raise self._error(
                f"{len(given)} units for {len(self.names)} numbers", "give one, or one for each"
            )
        return list(given) * len(self.names) if len(given) == 1 else list(given)

    def _numbers(self, path: str, index: int | None, value: Any, order: list[int] | None) -> Any:
        if isinstance(value, str):
            raise TypeError
        if index is not None:
            return [float(value[index])]
        if isinstance(value, bool | int | float):
            return [float(value)]
        if order is not None:
            return [float(value[place]) for place in order]
        return np.asarray(value, dtype=np.float64).tolist()

    def _order(self, names: Any) -> list[int]:
        if self._joints[0] != names:
            missing = [each for each in self._source.joints if each not in names]
            if missing:
                known = ", ".join(names) or "none"
                raise self._error(f"no joint {missing[0]!r} in a message", f"known: {known}")
            self._joints = names, [names.index(each) for each in self._source.joints]
        return self._joints[1]

    def _name(self, path: str, index: int | None, count: int, joints: bool) -> list[str]:
        if index is not None:
            return [f"{path}[{index}]"]
        if joints:
            return [f"{path}.{joint}" for joint in self._source.joints]
        return [path] if count == 1 else [f"{path}[{n}]" for n in range(count)]

    def _bad_value(self, path: str, index: int | None, value: Any) -> DialtoneError:
        if index is not None and not isinstance(value, str):
            return self._error(
                f"{path}[{index}] is not in a message, whose {path} has {len(value)} elements",
                "name an element that is always there",
            )
        return self._error(f"{path} of {self._type} is no number", "name a number or an array")

    def _no_field(self, path: str, definition: Definition) -> DialtoneError:
        known = [each for each in definition.paths() if not each.startswith("header.")]
        shown = ", ".join(known[:30]) + (" …" if len(known) > 30 else "")
        return self._error(f"{self._type} has no field {path!r}", f"known: {shown}")

    def _error(self, what: str, fix: str) -> DialtoneError:
        return DialtoneError(
            f"{self._label} ({self._source.topic}): {what}", where=self._where, fix=fix
        )


def _split(path: str) -> tuple[str, int | None]:
    """``position[2]`` → (``position``, 2): the element of an array of numbers at a path's end."""
    head, bracket, tail = path.rpartition("[")
    if bracket and tail[:-1].isdigit() and tail.endswith("]"):
        return head, int(tail[:-1])
    return path, None
