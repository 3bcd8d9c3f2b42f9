"""LeRobot dataset v3.0: parquet, mp4, statistics (facts: recording-datasets, and LeRobot 0.6).

``meta/info.json``, ``meta/tasks.parquet``, ``meta/stats.json``, ``meta/episodes/…``, ``data/…``
and ``videos/<key>/…``; every file ends between episodes, below the mapping's limits where a
single episode is.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from dialtone_core.errors import DialtoneError, WireError
from dialtone_recorder import datastats
from dialtone_recorder.exports import lerobot_check
from dialtone_recorder.exports.lerobot_files import (
    DATA,
    EPISODES,
    VIDEO,
    DataFiles,
    VideoFiles,
    frame_table,
    tasks_table,
)  # fmt: skip
from dialtone_recorder.manifest import write_file
from dialtone_recorder.mapping import Mapping
from dialtone_recorder.table import Table
from dialtone_recorder.video import Worker, probe

#: More numbers than this in one feature are not sorted again for exact quantiles of the whole.
_EXACT_VALUES = 20_000_000
_INDEX = {
    "timestamp": "float32", "frame_index": "int64", "episode_index": "int64", "index": "int64",
    "task_index": "int64",
}  # fmt: skip


class LeRobot:
    """Writes one dataset; see ``Exporter``."""

    def __init__(self, folder: Path, mapping: Mapping) -> None:
        self._folder = folder
        self._mapping = mapping
        self._work = folder / ".work"
        self._work.mkdir()
        self._episodes: list[dict[str, Any]] = []
        self._tasks: list[str] = []
        self._features: dict[str, Any] = {}
        self._frames = 0
        if (folder / "meta/info.json").exists():
            self._resume()
        last = self._episodes[-1] if self._episodes else {}
        limits = mapping.limits
        self._data = DataFiles(folder, _place(last, "data"), limits)
        self._videos = {
            name: VideoFiles(folder, name, _place(last, f"videos/{name}"), mapping.fps, limits)
            for name in mapping.images
        }
        self._old = len(self._episodes)

    def add(self, table: Table, on_progress: Callable[[float], None]) -> None:
        """Write the next episode."""
        number, frames = len(self._episodes), len(table)
        task = table.task or "unnamed"
        if task not in self._tasks:
            self._tasks.append(task)
        self._check_features(table)
        index = _index_columns(
            number, self._frames, frames, self._tasks.index(task), self._mapping.fps
        )
        stats = {
            name: datastats.of_numbers(column.values) for name, column in table.columns.items()
        }
        stats |= {name: datastats.of_numbers(values) for name, values in index.items()}
        row: dict[str, Any] = {
            "episode_index": number, "tasks": [task], "length": frames,
            "dataset_from_index": self._frames, "dataset_to_index": self._frames + frames,
        }  # fmt: skip
        row |= self._data.add(frame_table(table, index))
        for name, (path, found) in self._encode(table, on_progress).items():
            stats[name] = found
            row |= self._videos[name].add(path, frames)
        self._episodes.append(row | {"stats": stats})
        self._frames += frames

    def finish(self) -> None:
        """Write everything under ``meta``."""
        self._data.close()
        for name, files in self._videos.items():
            files.close()
            if name in self._features and "info" not in self._features[name]:
                first = VIDEO.format(video_key=name, chunk_index=0, file_index=0)
                self._features[name]["info"] = probe(self._folder / first)
        shutil.rmtree(self._work)
        meta = self._folder / "meta"
        meta.mkdir(exist_ok=True)
        chunk, file = (
            _next(_place(self._episodes[self._old - 1], "meta/episodes"), self._mapping)
            if self._old
            else (0, 0)
        )
        for row in self._episodes[self._old :]:
            row |= {"meta/episodes/chunk_index": chunk, "meta/episodes/file_index": file}
        path = self._folder / EPISODES.format(chunk_index=chunk, file_index=file)
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(_episodes_table(self._episodes[self._old :]), path)
        _replace(
            meta / "tasks.parquet", lambda path: pq.write_table(tasks_table(self._tasks), path)
        )
        options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
        write_file(meta / "stats.json", orjson.dumps(self._stats(), option=options))
        write_file(meta / "info.json", orjson.dumps(self._info(), option=options))

    @staticmethod
    def check(folder: Path, on_progress: Callable[[float], None]) -> list[str]:
        return lerobot_check.check(folder, on_progress)

    def _resume(self) -> None:
        try:
            info = orjson.loads((self._folder / "meta/info.json").read_bytes())
            for path in sorted(self._folder.glob("meta/episodes/*/*.parquet")):
                self._episodes += map(_row, pq.read_table(path).to_pylist())
            tasks = pq.read_table(self._folder / "meta/tasks.parquet").to_pylist()
        except (OSError, ValueError, pa.ArrowException) as error:
            raise DialtoneError(
                f"its papers cannot be read ({error})", where=str(self._folder),
                fix="dialtone dataset check says more",
            ) from error  # fmt: skip
        self._tasks = [row["task"] for row in sorted(tasks, key=lambda row: row["task_index"])]
        self._features = info["features"]
        self._frames = info["total_frames"]

    def _check_features(self, table: Table) -> None:
        now = _features(table, self._mapping.fps)
        before = {
            name: {key: value for key, value in feature.items() if key != "info"}
            for name, feature in self._features.items()
        }
        if self._features and now != before:
            name = next(key for key in now if now.get(key) != before.get(key))
            raise DialtoneError(
                f"{name} has shape {now[name]['shape']} and names {now[name]['names']}, in the "
                f"episodes before {before.get(name, {}).get('shape')}",
                where=str(table.recording.path), fix="export it into another dataset",
            )  # fmt: skip
        self._features = self._features or now

    def _encode(
        self, table: Table, on_progress: Callable[[float], None]
    ) -> dict[str, tuple[Path, datastats.Stats]]:
        sampled = datastats.sampled_frames(len(table))
        number = len(self._episodes)
        workers: dict[str, Worker] = {}
        paths = {name: self._work / f"{name}-{number}.mp4" for name in table.cameras}
        try:
            for name, camera in table.cameras.items():
                size = camera.pictures.height, camera.pictures.width
                workers[name] = Worker(
                    paths[name], size, self._mapping.fps, self._mapping.video, sampled
                )
            name = ""
            for name, first, frames, picture in table.shown(on_progress):
                workers[name].put(first, frames, picture)
            for name in workers:
                workers[name].finish()
        except WireError as error:
            raise table.bad_picture(name, error) from error
        finally:
            for worker in workers.values():
                worker.abandon()
        return {
            name: (paths[name], datastats.of_colours(worker.histogram, len(sampled)))
            for name, worker in workers.items()
        }

    def _stats(self) -> dict[str, Any]:
        parts = [row["stats"] for row in self._episodes]
        if len(parts) == 1:
            return dict(parts[0])
        told: dict[str, Any] = {}
        files = sorted(self._folder.glob("data/*/*.parquet"))
        for name, feature in self._features.items():
            width = int(np.prod(feature["shape"]))
            if feature["dtype"] == "video" or self._frames * width > _EXACT_VALUES:
                told[name] = datastats.combine([part[name] for part in parts])
                continue
            columns = [pq.read_table(path, columns=[name])[name] for path in files]
            told[name] = datastats.of_numbers(
                np.concatenate([lerobot_check.to_numpy(column) for column in columns])
            )
        return told

    def _info(self) -> dict[str, Any]:
        return {
            "codebase_version": "v3.0",
            "robot_type": self._mapping.robot_type or None,
            "total_episodes": len(self._episodes),
            "total_frames": self._frames,
            "total_tasks": len(self._tasks),
            "chunks_size": self._mapping.limits.chunk_files,
            "data_files_size_in_mb": self._mapping.limits.data_mb,
            "video_files_size_in_mb": self._mapping.limits.video_mb,
            "fps": self._mapping.fps,
            "splits": {"train": f"0:{len(self._episodes)}"},
            "data_path": DATA,
            "video_path": VIDEO if self._mapping.images else None,
            "features": self._features,
        }


def _features(table: Table, fps: int) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for name, column in table.columns.items():
        told[name] = {
            "dtype": str(column.values.dtype),
            "shape": [column.values.shape[1]],
            "names": column.names,
        }
        if column.units:
            told[name]["units"] = column.units
    for name, camera in table.cameras.items():
        size = camera.pictures.height // 2 * 2, camera.pictures.width // 2 * 2
        told[name] = {
            "dtype": "video", "shape": [*size, 3], "names": ["height", "width", "channels"],
        }  # fmt: skip
    for name, dtype in _INDEX.items():
        told[name] = {"dtype": dtype, "shape": [1], "names": None}
    return told


def _index_columns(episode: int, first: int, frames: int, task: int, fps: int) -> dict[str, Any]:
    number = np.arange(frames, dtype=np.int64)
    return {
        "timestamp": (number / fps).astype(np.float32),
        "frame_index": number,
        "episode_index": np.full(frames, episode, np.int64),
        "index": number + first,
        "task_index": np.full(frames, task, np.int64),
    }


def _episodes_table(rows: list[dict[str, Any]]) -> pa.Table:
    flat = []
    for row in rows:
        stats = row["stats"]
        flat.append(
            {key: value for key, value in row.items() if key != "stats"}
            | {f"stats/{name}/{stat}": value
               for name, each in stats.items() for stat, value in each.items()}
        )  # fmt: skip
    return pa.Table.from_pylist(flat)


def _row(flat: dict[str, Any]) -> dict[str, Any]:
    """A row of ``meta/episodes`` with its statistics as a table again."""
    row: dict[str, Any] = {"stats": {}}
    for key, value in flat.items():
        if key.startswith("stats/"):
            _, name, stat = key.split("/")
            row["stats"].setdefault(name, {})[stat] = value
        else:
            row[key] = value
    return row


def _place(row: dict[str, Any], prefix: str) -> tuple[int, int] | None:
    if f"{prefix}/chunk_index" not in row:
        return None
    return row[f"{prefix}/chunk_index"], row[f"{prefix}/file_index"]


def _next(place: tuple[int, int] | None, mapping: Mapping) -> tuple[int, int]:
    chunk, file = place or (0, -1)
    return (chunk, file + 1) if file + 1 < mapping.limits.chunk_files else (chunk + 1, 0)


def _replace(path: Path, write: Callable[[Path], None]) -> None:
    """Never write into a file that may be a hard link of the dataset before."""
    path.unlink(missing_ok=True)
    write(path)
