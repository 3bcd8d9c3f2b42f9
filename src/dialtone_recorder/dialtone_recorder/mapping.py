"""The mapping: which fields of which topics become which features of a dataset, and when.

YAML, judged by ``dialtone_core.config``: an error is one line that names file and field.
"""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import yaml

from dialtone_core.config import build, load_params_file, param
from dialtone_core.errors import ConfigError

FORMAT = "dialtone.mapping/1"
TIMELINES = ("header", "publish", "receive")
ALIGNMENTS = ("hold", "nearest", "interpolate", "drop")
ACTIONS = ("applied", "command", "next_state", "delta")
#: Columns of every dataset that hold no sensor: they must not be taken by a feature.
TIMING = "timing"


@dataclass(frozen=True)
class Source:
    """Some fields of one topic, side by side.

    ``fields`` are paths: ``twist.twist.linear.x``, a whole array (``position``), an element of
    one (``position[2]``). ``joints`` picks from each array by the message's own ``name`` list.
    """

    topic: str = param("", "full name of a recorded topic")
    fields: tuple[str, ...] = param((), "paths of numbers or arrays of numbers in its messages")
    joints: tuple[str, ...] = param((), "of a JointState: these joints, in this order")
    names: tuple[str, ...] = param((), "a name for each number; empty: made of the paths")
    units: tuple[str, ...] = param((), "a unit for each number, or one for all")
    align: str = param("hold", "which sample a frame gets", choices=ALIGNMENTS)
    max_age_s: float = param(
        0.5, "older (nearest: farther) than this is outside tolerance",
        unit="s", minimum=0, maximum=1e6,
    )  # fmt: skip
    timeline: str = param("", "other than the mapping's", choices=("", *TIMELINES))


@dataclass(frozen=True)
class Image:
    """One camera. A frame gets the newest picture that is not from its future."""

    topic: str = param("", "full name of a CompressedImage or Image topic")
    max_age_s: float = param(
        0.2, "an older picture is outside tolerance", unit="s", minimum=0, maximum=1e6
    )
    align: str = param(
        "hold", "drop leaves frames without a picture young enough out", choices=("hold", "drop")
    )
    timeline: str = param("", "other than the mapping's", choices=("", *TIMELINES))


@dataclass(frozen=True)
class Action:
    """What the policy shall learn to do."""

    kind: str = param(
        "applied",
        "applied: what really went out; command: what was asked for; "
        "next_state: the next frame's state; delta: its difference to this frame's",
        choices=ACTIONS,
    )
    of: str = param("observation.state", "next_state and delta: of this feature")
    source: Source = Source()


@dataclass(frozen=True)
class Video:
    """How LeRobot's mp4 files are encoded."""

    codec: str = param("h264", "av1 is smaller and slow to decode", choices=("h264", "av1"))
    crf: int = param(23, "quality; smaller is better", minimum=0, maximum=63)
    gop: int = param(2, "frames from one key frame to the next", minimum=1, maximum=300)
    preset: str = param("superfast", "the encoder's own word; for av1 a number, 0 to 13")


@dataclass(frozen=True)
class Tolerance:
    """When an episode is refused."""

    bad_frames_percent: float = param(
        0.0, "frames that may lie outside of some max_age_s", unit="%", minimum=0, maximum=100
    )
    clock_spread_s: float = param(
        1.0, "header stamps of two topics may run so far apart, measured against their receipt",
        unit="s", minimum=0, maximum=1e9,
    )  # fmt: skip


@dataclass(frozen=True)
class Limits:
    """Sizes that LeRobot's files are kept under; they end between episodes."""

    data_mb: int = param(100, "a parquet file", unit="MiB", minimum=1, maximum=100_000)
    video_mb: int = param(200, "an mp4 file", unit="MiB", minimum=1, maximum=100_000)
    chunk_files: int = param(1000, "files a folder", minimum=1, maximum=1_000_000)


@dataclass(frozen=True)
class Mapping:
    """A whole mapping. A feature is one or more named sources, put side by side in order."""

    format: str = param(FORMAT, "of this file", choices=(FORMAT,))
    robot_type: str = param("", "written into the dataset")
    task: str = param("", "for episodes that have neither instruction nor task")
    timeline: str = param("header", "the stamp that counts", choices=TIMELINES)
    fps: int = param(30, "frames a second", minimum=1, maximum=1000)
    clock: str = param("", "an image of this mapping: one frame for each of its pictures")
    hdf5_images: str = param("rgb", "hdf5: pixels or JPEG bytes", choices=("rgb", "jpeg"))
    features: dict[str, dict[str, Source]] = param({}, "features by name")
    images: dict[str, Image] = param({}, "pictures by name, observation.images.<camera>")
    action: Action = Action()
    video: Video = Video()
    tolerance: Tolerance = Tolerance()
    limits: Limits = Limits()

    def to_json(self) -> dict[str, Any]:
        """As YAML and JSON write it."""
        text = orjson.dumps(dataclasses.asdict(self))
        told: dict[str, Any] = orjson.loads(text)
        return told

    def digest(self) -> str:
        """SHA-256 of the mapping's meaning: comments and key order in YAML don't count."""
        text = orjson.dumps(self.to_json(), option=orjson.OPT_SORT_KEYS)
        return hashlib.sha256(text).hexdigest()

    def sources(self) -> dict[str, Source]:
        """Every source by a name for messages: ``observation.state.odom``, ``action``."""
        found = {
            f"{feature}.{part}": source
            for feature, parts in self.features.items()
            for part, source in parts.items()
        }
        if self.action.kind in ("applied", "command"):
            found["action"] = self.action.source
        return found

    def timeline_of(self, each: Source | Image) -> str:
        return each.timeline or self.timeline


def load(path: Path) -> Mapping:
    """Read a mapping; raises ``ConfigError`` with one line that names file and field."""
    return check(build(Mapping, load_params_file(path), where=str(path)), str(path))


def from_json(tree: dict[str, Any], where: str) -> Mapping:
    """The mapping that ``to_json`` gave; raises ``ConfigError``."""
    return check(build(Mapping, tree, where=where), where)


def check(mapping: Mapping, where: str) -> Mapping:
    """What the types alone cannot say; returns ``mapping`` or raises ``ConfigError``."""

    def wrong(what: str, fix: str) -> ConfigError:
        return ConfigError(what, where=where, fix=fix)

    for name in [*mapping.features, *mapping.images]:
        if "/" in name or name == "action" or name.split(".")[0] == TIMING:
            raise wrong(f"no feature may be called {name!r}", "name it observation.…")
    both = mapping.features.keys() & mapping.images.keys()
    if both:
        raise wrong(f"{min(both)} is both a feature and an image", "rename one")
    if mapping.clock and mapping.clock not in mapping.images:
        known = ", ".join(mapping.images) or "none"
        raise wrong(f"clock is {mapping.clock!r}, no image of this mapping", f"known: {known}")
    if mapping.action.kind in ("next_state", "delta") and (
        mapping.action.of not in mapping.features
    ):
        known = ", ".join(mapping.features) or "none"
        raise wrong(f"action.of is {mapping.action.of!r}, no feature", f"known: {known}")
    for name, parts in mapping.features.items():
        if not parts:
            raise wrong(f"features.{name} has no source", "give it one, or take it out")
    for name, source in mapping.sources().items():
        if not source.topic or not source.fields:
            missing = "fields" if source.topic else "topic"
            raise wrong(f"{name} has no {missing}", "dialtone export --suggest writes an example")
    for name, image in mapping.images.items():
        if not image.topic:
            raise wrong(f"images.{name} has no topic", "name a CompressedImage topic")
    return mapping


def dump(mapping: Mapping) -> str:
    """``mapping`` as YAML, without what is default anyway."""
    tree = {"format": FORMAT} | _changed(mapping, Mapping())
    text: str = yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=99)
    return text


def _changed(value: Any, default: Any) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for field in dataclasses.fields(value):
        now, before = getattr(value, field.name), getattr(default, field.name)
        if field.name in ("format", "timeline", "fps", "topic", "kind", "align", "max_age_s"):
            told |= {field.name: now} if now != "" else {}
        elif dataclasses.is_dataclass(now):
            inner = _changed(now, before)
            told |= {field.name: inner} if now != before or field.name == "action" else {}
        elif isinstance(now, dict):
            told |= {field.name: {k: _table(v) for k, v in now.items()}} if now else {}
        elif now != before:
            told[field.name] = list(now) if isinstance(now, tuple) else now
    return told


def _table(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return {key: _table(each) for key, each in value.items()}
    return _changed(value, type(value)())
