"""``dialtone export``: episodes in, one dataset out, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dialtone_core.errors import DialtoneError
from dialtone_recorder import provenance
from dialtone_recorder.exports.base import check_same, find_exporter
from dialtone_recorder.mapping import Mapping
from dialtone_recorder.recording import Recording
from dialtone_recorder.staging import Staging
from dialtone_recorder.table import build_table

#: A camera below this part of the dataset's fps shows each picture in several frames.
_SLOW = 0.9


@dataclass(frozen=True)
class Done:
    """What an export made; ``notes`` is what a person should know of it."""

    episodes: int
    frames: int
    notes: list[str]


def export(
    kind: str,
    episodes: Sequence[Path],
    out: Path,
    mapping: Mapping,
    *,
    append: bool = False,
    force: bool = False,
    on_progress: Callable[[str, float], None] = lambda name, part: None,
) -> Done:
    """Write the dataset ``out`` of format ``kind``.

    ``on_progress`` hears an episode's name and the part of it that is done. Raises
    ``DialtoneError``; ``out`` is then as it was.
    """
    make = find_exporter(kind)
    recordings = [Recording(path) for path in episodes]
    if not recordings:
        raise DialtoneError("no episode to export", fix="name some, see dialtone episodes ls")
    frames, notes = 0, []
    fix = "give another --out, remove it, or --append to it"
    with Staging(out, append, fix) as folder:
        told = _begin(kind, mapping, out, folder, recordings, append)
        exporter = make(folder, mapping)
        for recording in recordings:
            progress = _Progress(on_progress, recording.name)
            table = build_table(recording, mapping, force, progress.reading)
            exporter.add(table, progress.writing)
            entry = provenance.episode(table)
            notes += _notes(entry, mapping)
            told["episodes"].append(entry)
            frames += len(table)
            progress.writing(1.0)
        exporter.finish()
        provenance.write(folder, told)
    return Done(len(recordings), frames, notes)


def check(folder: Path, on_progress: Callable[[float], None] = lambda part: None) -> list[str]:
    """Everything that is wrong with a dataset; raises ``DialtoneError`` where it is none."""
    told = provenance.read(folder)
    problems = provenance.changed_files(folder, lambda part: on_progress(part * 0.2))
    problems += find_exporter(told["kind"]).check(
        folder, lambda part: on_progress(0.2 + part * 0.8)
    )
    return problems


@dataclass(frozen=True)
class _Progress:
    """Two passes over an episode as one part of 1: the first one reads numbers only."""

    tell: Callable[[str, float], None]
    name: str

    def reading(self, part: float) -> None:
        self.tell(self.name, 0.1 * part)

    def writing(self, part: float) -> None:
        self.tell(self.name, 0.1 + 0.9 * part)


def _begin(
    kind: str,
    mapping: Mapping,
    out: Path,
    folder: Path,
    recordings: list[Recording],
    append: bool,
) -> dict[str, Any]:
    if not append:
        return provenance.begin(kind, mapping)
    told = provenance.read(folder)
    if told["kind"] != kind:
        raise DialtoneError(
            f"a dataset of format {told['kind']}, not {kind}", where=str(out),
            fix=f"dialtone export {told['kind']} … --append",
        )  # fmt: skip
    check_same(mapping, told["mapping"], out)
    known = {digest for entry in told["episodes"] for digest in entry["sha256"].values()}
    for recording in recordings:
        if known & set(recording.digests().values()):
            raise DialtoneError(
                f"{recording.name} is in it already", where=str(out), fix="leave it out"
            )
    return told


def _notes(entry: dict[str, Any], mapping: Mapping) -> list[str]:
    name = entry["name"]
    notes = [
        f"{name}: {camera} is slow: {rate:.1f} pictures a second in a dataset of {mapping.fps} fps"
        for camera, rate in entry["camera_rates_hz"].items()
        if rate < _SLOW * mapping.fps
    ]
    if entry["dropped"]:
        notes.append(f"{name}: {entry['dropped']} frames dropped (align: drop)")
    notes += [
        f"{name}: {count} frames outside of tolerance in {source}"
        for source, count in entry["outside_tolerance"].items()
    ]
    notes += [
        f"{name}: {count} pictures of {camera} came out of order and are left out"
        for camera, count in entry["disordered"].items()
    ]
    return notes
