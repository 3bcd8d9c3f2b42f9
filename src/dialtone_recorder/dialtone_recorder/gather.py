"""The first pass over an episode: every number that is mapped, and where the pictures are.

Pictures stay in the file: an hour of them is gigabytes, an hour of numbers is not.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dialtone_core.errors import DialtoneError, WireError
from dialtone_recorder.align import Floats, Stamps
from dialtone_recorder.features import Extractor
from dialtone_recorder.mapping import Image, Mapping, Source
from dialtone_recorder.pictures import PICTURE_TYPES, locate
from dialtone_recorder.recording import Raw, Recording, stamp_of


@dataclass(frozen=True)
class Series:
    """The samples of one source, by rising stamp; ``values`` is (samples, width)."""

    stamps: Stamps
    values: Floats
    names: tuple[str, ...]
    units: list[str]
    offset_s: float


@dataclass(frozen=True)
class Pictures:
    """The pictures of one camera by rising stamp.

    ``number`` is a picture's place among the topic's messages; ``sizes`` its bytes. Pictures
    that came with an older stamp than one before them are left out, and counted.
    """

    topic: str
    type: str
    stamps: Stamps
    number: NDArray[np.int64]
    sizes: NDArray[np.int64]
    format: str
    height: int
    width: int
    disordered: int
    offset_s: float


class _Numbers:
    def __init__(self, extract: Extractor, timeline: str) -> None:
        self.extract = extract
        self.timeline = timeline
        self.stamps, self.values = array("q"), array("d")
        self.lag = array("q")

    def add(self, raw: Raw) -> None:
        self.stamps.append(stamp := stamp_of(raw, self.timeline))
        self.lag.append(stamp - raw.receive_ns)
        self.values.extend(self.extract(raw.data))

    def finish(self) -> Series:
        stamps = np.array(self.stamps, np.int64)
        values = np.array(self.values).reshape(len(stamps), -1)
        order = np.argsort(stamps, kind="stable")
        return Series(
            stamps[order], values[order], self.extract.names, self.extract.units(),
            float(np.median(np.array(self.lag))) / 1e9,
        )  # fmt: skip


class _Images:
    def __init__(self, topic: str, type_name: str, timeline: str) -> None:
        self.topic, self.type, self.timeline = topic, type_name, timeline
        self.stamps, self.number, self.sizes = array("q"), array("q"), array("q")
        self.lag = array("q")
        self.seen = self.disordered = 0
        self.format, self.size = "", (0, 0)

    def add(self, raw: Raw) -> None:
        stamp = stamp_of(raw, self.timeline)
        number, self.seen = self.seen, self.seen + 1
        if self.stamps and stamp <= self.stamps[-1]:
            self.disordered += 1
            return
        picture = locate(self.type, raw.data)
        if not self.stamps:
            self.format, self.size = picture.format, picture.shape()
        self.stamps.append(stamp)
        self.lag.append(stamp - raw.receive_ns)
        self.number.append(number)
        self.sizes.append(picture.stop - picture.start)

    def finish(self) -> Pictures:
        return Pictures(
            self.topic, self.type, np.array(self.stamps, np.int64),
            np.array(self.number, np.int64), np.array(self.sizes, np.int64), self.format,
            self.size[0], self.size[1], self.disordered,
            float(np.median(np.array(self.lag))) / 1e9,
        )  # fmt: skip


def gather(
    recording: Recording, mapping: Mapping, on_progress: Callable[[float], None] | None = None
) -> tuple[dict[str, Series], dict[str, Pictures]]:
    """Every source's samples by its label, every image's pictures by its name.

    Raises ``DialtoneError`` that names the file, the feature and the topic.
    """
    where = str(recording.path)
    takers: dict[str, list[tuple[str, _Numbers | _Images]]] = {}
    for label, source in mapping.sources().items():
        definition = recording.definition(source.topic, label)
        taker = _Numbers(Extractor(source, definition, label, where), mapping.timeline_of(source))
        takers.setdefault(source.topic, []).append((label, taker))
        _check_header(recording, mapping, label, source)
    for label, image in mapping.images.items():
        type_name = recording.definition(image.topic, label).root
        if type_name not in PICTURE_TYPES:
            raise DialtoneError(
                f"{label}: {image.topic} is a {type_name}", where=where,
                fix=f"map one of the types {', '.join(PICTURE_TYPES)}",
            )  # fmt: skip
        pictures = _Images(image.topic, type_name, mapping.timeline_of(image))
        takers.setdefault(image.topic, []).append((label, pictures))
    for raw in recording.messages(list(takers), on_progress):
        for label, each in takers[raw.topic]:
            try:
                each.add(raw)
            except WireError as error:
                raise DialtoneError(
                    f"{label}: a message of {raw.topic}: {error}", where=where,
                    fix="give it timeline: publish or receive, or map another topic",
                ) from error  # fmt: skip
    _check_not_empty(takers, where)
    every = [entry for entries in takers.values() for entry in entries]
    numbers = {label: each.finish() for label, each in every if isinstance(each, _Numbers)}
    images = {label: each.finish() for label, each in every if isinstance(each, _Images)}
    return (
        {label: numbers[label] for label in mapping.sources()},
        {label: images[label] for label in mapping.images},
    )


def _check_header(
    recording: Recording, mapping: Mapping, label: str, source: Source | Image
) -> None:
    if (
        mapping.timeline_of(source) == "header"
        and not recording.definition(source.topic, label).has_header()
    ):
        raise DialtoneError(
            f"{label}: {source.topic} has no header, so it has no place on timeline header",
            where=str(recording.path), fix="give it timeline: publish",
        )  # fmt: skip


def _check_not_empty(takers: dict[str, list[tuple[str, _Numbers | _Images]]], where: str) -> None:
    for topic, entries in takers.items():
        for label, each in entries:
            if not each.stamps:
                raise DialtoneError(
                    f"{label}: no message of {topic} was recorded", where=where,
                    fix="map another topic",
                )  # fmt: skip
