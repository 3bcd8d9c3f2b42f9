"""Plain parquet: one flat table an episode, its pictures as files beside it.

``episode_000000.parquet`` has a column for each number (``observation.state.x``), the frame's
instant in ns and, for each camera, the path of its picture. JPEG pictures are the recorded bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from dialtone_core.errors import WireError
from dialtone_recorder.mapping import Mapping
from dialtone_recorder.pictures import Decoder, Picture
from dialtone_recorder.table import Table


class Parquet:
    """Writes one dataset; see ``Exporter``."""

    def __init__(self, folder: Path, mapping: Mapping) -> None:
        self._folder = folder
        self._mapping = mapping
        self._number = len(list(folder.glob("episode_*.parquet")))

    def add(self, table: Table, on_progress: Callable[[float], None]) -> None:
        """Write the next episode; a picture shown in several frames is one file."""
        name = f"episode_{self._number:06d}"
        paths = self._pictures(table, name, on_progress)
        frames = len(table)
        columns: dict[str, Any] = {
            "episode_index": np.full(frames, self._number, np.int64),
            "frame_index": np.arange(frames, dtype=np.int64),
            "timestamp": np.arange(frames) / self._mapping.fps,
            "time_ns": table.times_ns,
            "task": pa.array([table.task] * frames),
        }
        units: dict[str, str] = {}
        for feature, column in table.columns.items():
            for number, label in enumerate(_unique(column.names)):
                flat = f"{feature}.{label}"
                columns[flat] = np.ascontiguousarray(column.values[:, number])
                units[flat] = column.units[number] if column.units else ""
        columns |= {camera: pa.array(each) for camera, each in paths.items()}
        described = {"dialtone.units": orjson.dumps(units, option=orjson.OPT_SORT_KEYS)}
        made = pa.table(columns).replace_schema_metadata(described)
        pq.write_table(made, self._folder / f"{name}.parquet", compression="zstd")
        self._number += 1

    def finish(self) -> None:
        """Nothing describes all episodes."""

    @staticmethod
    def check(folder: Path, on_progress: Callable[[float], None]) -> list[str]:
        problems: list[str] = []
        paths = sorted(folder.glob("episode_*.parquet"))
        if not paths:
            problems.append(f"{folder}: no episode_N.parquet")
        for number, path in enumerate(paths):
            try:
                problems += [f"{path}: {each}" for each in _problems(folder, pq.read_table(path))]
            except (OSError, KeyError, ValueError, pa.ArrowException) as error:
                problems.append(f"{path}: not readable: {error}")
            on_progress((number + 1) / len(paths))
        return problems

    def _pictures(
        self, table: Table, episode: str, on_progress: Callable[[float], None]
    ) -> dict[str, list[str]]:
        paths = {camera: [""] * len(table) for camera in table.cameras}
        for camera in table.cameras:
            (self._folder / "frames" / episode / camera).mkdir(parents=True)
        decoder = Decoder()
        for camera, first, frames, picture in table.shown(on_progress):
            try:
                data, suffix = _file(picture, decoder)
            except WireError as error:
                raise table.bad_picture(camera, error) from error
            path = f"frames/{episode}/{camera}/frame_{first:06d}.{suffix}"
            (self._folder / path).write_bytes(data)
            paths[camera][first : first + frames] = [path] * frames
        return paths


def _file(picture: Picture, decoder: Decoder) -> tuple[bytes, str]:
    """The bytes of a picture file and its suffix; raw pixels become PNG."""
    if picture.format in ("jpeg", "png"):
        return picture.data(), "jpg" if picture.format == "jpeg" else "png"
    done, data = cv2.imencode(".png", cv2.cvtColor(decoder.rgb(picture), cv2.COLOR_RGB2BGR))
    if not done:
        raise WireError("not_encoded", picture.format)
    return data.tobytes(), "png"


def _unique(names: list[str]) -> list[str]:
    """Names that two topics share get a number: a flat table needs each column once."""
    seen: dict[str, int] = {}
    told = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        told.append(name if seen[name] == 1 else f"{name}.{seen[name]}")
    return told


def _problems(folder: Path, table: pa.Table) -> list[str]:
    problems = []
    if table["frame_index"].to_pylist() != list(range(len(table))):
        problems.append("frame_index does not run 0, 1, 2, …")
    if len(table) and not (np.diff(table["time_ns"].to_numpy()) > 0).all():
        problems.append("time_ns does not rise")
    for field in table.schema:
        column = table[field.name]
        if pa.types.is_floating(field.type) and not np.isfinite(column.to_numpy()).all():
            problems.append(f"{field.name} is not finite")
        if pa.types.is_string(field.type) and field.name != "task":
            for path in sorted(set(column.to_pylist())):
                if cv2.imread(str(folder / path), cv2.IMREAD_REDUCED_COLOR_8) is None:
                    problems.append(f"{path} is no picture")
    return problems
