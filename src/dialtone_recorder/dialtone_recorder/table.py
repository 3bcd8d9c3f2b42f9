"""An episode on the frames of a dataset: numbers in memory, pictures by their place in the file.

This is what every exporter gets. Each frame carries the age of each thing in it and their spread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dialtone_core.clock import NS_PER_S
from dialtone_core.errors import DialtoneError, WireError
from dialtone_recorder.align import Match, Stamps, grid, match, rate_hz, sample
from dialtone_recorder.align import window as covered
from dialtone_recorder.gather import Pictures, Series, gather
from dialtone_recorder.mapping import Image, Mapping, Source
from dialtone_recorder.pictures import Picture, locate
from dialtone_recorder.recording import Recording

#: The dataset's fps may differ so much from the clock camera's true rate: crystals, not slowness.
_CLOCK_RATE_TOLERANCE = 0.02


@dataclass(frozen=True)
class Column:
    """One feature: (frames, width) values, a name and maybe a unit for each number."""

    values: NDArray[Any]
    names: list[str]
    units: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Camera:
    """One image feature: for each frame, the place of its picture in ``pictures``."""

    pictures: Pictures
    index: NDArray[np.intp]

    @property
    def rate_hz(self) -> float:
        """What the camera really delivered, whatever the dataset's fps is."""
        return rate_hz(self.pictures.stamps)


class Shown(NamedTuple):
    """A picture and the frames that it is shown in, ``first`` up to ``first + frames``."""

    camera: str
    first: int
    frames: int
    picture: Picture


@dataclass(frozen=True)
class Table:
    """``len(table)`` frames. ``times_ns`` are their instants; ``columns`` include the action."""

    recording: Recording
    task: str
    times_ns: Stamps
    columns: dict[str, Column]
    cameras: dict[str, Camera]
    dropped: int
    report: dict[str, Any]

    def __len__(self) -> int:
        return len(self.times_ns)

    def shown(self, on_progress: Callable[[float], None] | None = None) -> Iterator[Shown]:
        """The pictures of all cameras as they lie in the file, each once.

        A camera's pictures come by rising frame. Raises ``DialtoneError``.
        """
        wanted: dict[str, dict[int, list[tuple[str, int, int]]]] = {}
        for name, camera in self.cameras.items():
            topic = wanted.setdefault(camera.pictures.topic, {})
            picks, first, counts = np.unique(camera.index, return_index=True, return_counts=True)
            for pick, start, count in zip(picks, first, counts, strict=True):
                number = int(camera.pictures.number[pick])
                topic.setdefault(number, []).append((name, int(start), int(count)))
        seen = dict.fromkeys(wanted, 0)
        for raw in self.recording.messages(list(wanted), on_progress):
            places = wanted[raw.topic].get(seen[raw.topic], ())
            seen[raw.topic] += 1
            for name, start, count in places:
                picture = locate(self.cameras[name].pictures.type, raw.data)
                yield Shown(name, start, count, picture)

    def bad_picture(self, camera: str, error: WireError) -> DialtoneError:
        """One line for a picture that cannot be decoded."""
        return DialtoneError(
            f"{camera}: a picture of {self.cameras[camera].pictures.topic} cannot be decoded "
            f"({error})", where=str(self.recording.path), fix="leave that episode or camera out",
        )  # fmt: skip


def build_table(
    recording: Recording,
    mapping: Mapping,
    force: bool = False,
    on_progress: Callable[[float], None] | None = None,
) -> Table:
    """Read and align one episode.

    Raises ``DialtoneError`` with the numbers where it lies outside of the mapping's tolerance,
    which ``force`` overrides.
    """
    numbers, images = gather(recording, mapping, on_progress)
    _check_clocks(recording, mapping, numbers, images, force)
    every: dict[str, Series | Pictures] = {**numbers, **images}
    stamps = {name: each.stamps for name, each in every.items()}
    times = _times(recording, mapping, stamps)
    found = {
        name: match(stamps[name], times, align, max_age_s)
        for name, (align, max_age_s) in _rules(mapping).items()
    }
    keep = np.ones(len(times), dtype=bool)
    for name, (align, _) in _rules(mapping).items():
        if align == "drop":
            keep &= ~found[name].bad
    dropped = int(len(times) - keep.sum())
    if keep.sum() < 2:
        raise DialtoneError(
            f"{int(keep.sum())} of {len(times)} frames have everything that is mapped",
            where=str(recording.path), fix="map less, or allow a larger max_age_s",
        )  # fmt: skip
    found = {name: _take(each, keep) for name, each in found.items()}
    times = times[keep]
    bad = _check_tolerance(recording, mapping, found, force)
    columns = _columns(mapping, numbers, found, times)
    last = slice(0, len(times) - (mapping.action.kind in ("next_state", "delta")))
    columns = {
        name: Column(each.values[last], each.names, each.units) for name, each in columns.items()
    }
    cameras = {name: Camera(images[name], found[name].index[last]) for name in mapping.images}
    report = _report(stamps, found, images, bad)
    task = recording.task() or mapping.task
    return Table(recording, task, times[last], columns, cameras, dropped, report)


def _report(
    stamps: dict[str, Stamps],
    found: dict[str, Match],
    images: dict[str, Pictures],
    bad: dict[str, int],
) -> dict[str, Any]:
    return {
        "outside_tolerance": bad,
        "rates_hz": {name: round(rate_hz(each), 3) for name, each in stamps.items()},
        "worst_age_s": {n: round(float(m.distance_s.max()), 6) for n, m in found.items()},
        "disordered": {n: each.disordered for n, each in images.items() if each.disordered},
    }


def _rules(mapping: Mapping) -> dict[str, tuple[str, float]]:
    every: dict[str, Source | Image] = {**mapping.sources(), **mapping.images}
    return {name: (each.align, each.max_age_s) for name, each in every.items()}


def _times(recording: Recording, mapping: Mapping, stamps: dict[str, Stamps]) -> Stamps:
    ages = {name: max_age_s for name, (_, max_age_s) in _rules(mapping).items()}
    start, end = covered(stamps, ages)
    if end < start:
        late = max(stamps, key=lambda name: int(stamps[name][0]))
        early = min(stamps, key=lambda name: int(stamps[name][-1]))
        raise DialtoneError(
            f"{late} begins {(start - end) / NS_PER_S:.3f} s after {early} has ended",
            where=str(recording.path), fix="leave one of them out, or choose another timeline",
        )  # fmt: skip
    if not mapping.clock:
        return grid(start, end, mapping.fps)
    ticks = stamps[mapping.clock]
    true_hz = rate_hz(ticks)
    if abs(true_hz - mapping.fps) > _CLOCK_RATE_TOLERANCE * mapping.fps:
        raise DialtoneError(
            f"clock {mapping.clock} runs at {true_hz:.2f} Hz, the mapping says {mapping.fps} fps",
            where=str(recording.path), fix=f"give fps: {max(1, round(true_hz))}, or no clock",
        )  # fmt: skip
    return ticks[(ticks >= start) & (ticks <= end)]


def _check_clocks(
    recording: Recording,
    mapping: Mapping,
    numbers: dict[str, Series],
    images: dict[str, Pictures],
    force: bool,
) -> None:
    """Two clocks that differ by minutes align into nonsense, silently."""
    every: dict[str, Series | Pictures] = {**numbers, **images}
    offsets = {name: each.offset_s for name, each in every.items()}
    low, high = min(offsets, key=offsets.__getitem__), max(offsets, key=offsets.__getitem__)
    spread_s = offsets[high] - offsets[low]
    if spread_s > mapping.tolerance.clock_spread_s and not force:
        raise DialtoneError(
            f"stamps of {high} run {spread_s:.3f} s ahead of those of {low}, measured against "
            f"their receipt; {mapping.tolerance.clock_spread_s:g} s are allowed",
            where=str(recording.path), fix="timeline: publish or receive, or --force",
        )  # fmt: skip


def _check_tolerance(
    recording: Recording, mapping: Mapping, found: dict[str, Match], force: bool
) -> dict[str, int]:
    bad = {name: int(each.bad.sum()) for name, each in found.items() if each.bad.any()}
    frames = len(next(iter(found.values())).bad)
    any_bad = np.zeros(frames, dtype=bool)
    for each in found.values():
        any_bad |= each.bad
    percent = 100 * float(any_bad.mean())
    if percent > mapping.tolerance.bad_frames_percent and not force:
        rules = _rules(mapping)
        told = "; ".join(
            f"{name}: {count} frames, worst {found[name].distance_s.max():.3f} s, "
            f"allowed {rules[name][1]:g} s"
            for name, count in bad.items()
        )
        raise DialtoneError(
            f"{int(any_bad.sum())} of {frames} frames ({percent:.1f} %) are outside of tolerance: "
            f"{told}", where=str(recording.path),
            fix="a larger max_age_s, align: drop, tolerance.bad_frames_percent, or --force",
        )  # fmt: skip
    return bad


def _take(each: Match, keep: NDArray[np.bool_]) -> Match:
    return Match(
        each.index[keep], each.age_s[keep], each.weight[keep], each.distance_s[keep],
        each.bad[keep],
    )  # fmt: skip


def _columns(
    mapping: Mapping, numbers: dict[str, Series], found: dict[str, Match], times: Stamps
) -> dict[str, Column]:
    columns: dict[str, Column] = {}
    for feature, parts in mapping.features.items():
        labels = [f"{feature}.{part}" for part in parts]
        columns[feature] = Column(
            np.concatenate([sample(numbers[n].values, found[n]) for n in labels], axis=1).astype(
                np.float32
            ),
            [name for label in labels for name in numbers[label].names],
            _units([numbers[label] for label in labels]),
        )
    columns["action"] = _action(mapping, numbers, found, columns)
    ages = np.stack([each.age_s for each in found.values()], axis=1)
    columns["timing.age_s"] = Column(ages.astype(np.float32), list(found), ["s"] * len(found))
    skew = ages.max(axis=1, keepdims=True) - ages.min(axis=1, keepdims=True)
    columns["timing.skew_s"] = Column(skew.astype(np.float32), ["skew"], ["s"])
    recorded = ((times - times[0]) / NS_PER_S)[:, None]
    columns["timing.recorded_s"] = Column(recorded.astype(np.float64), ["recorded"], ["s"])
    return columns


def _action(
    mapping: Mapping,
    numbers: dict[str, Series],
    found: dict[str, Match],
    columns: dict[str, Column],
) -> Column:
    if mapping.action.kind in ("applied", "command"):
        series = numbers["action"]
        values = sample(series.values, found["action"]).astype(np.float32)
        return Column(values, list(series.names), _units([series]))
    state = columns[mapping.action.of]
    following = np.concatenate([state.values[1:], state.values[-1:]])
    delta = mapping.action.kind == "delta"
    return Column(following - state.values if delta else following, state.names, state.units)


def _units(parts: list[Series]) -> list[str]:
    """Units of all numbers, or none: half a list would belong to the wrong ones."""
    if not any(each.units for each in parts):
        return []
    return [unit for each in parts for unit in (each.units or [""] * len(each.names))]
