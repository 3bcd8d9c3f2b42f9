"""Is a LeRobot dataset what it says? Counts, grid, statistics, every video frame decoded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dialtone_recorder.datastats import of_numbers
from dialtone_recorder.video import decode_all

_GRID_S = 1e-4  # LeRobot's own tolerance


def to_numpy(column: pa.ChunkedArray) -> NDArray[Any]:
    """(frames, width) numbers of a parquet column."""
    if pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type):
        flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
        return np.asarray(flat).reshape(len(column), -1)
    return np.asarray(column.to_numpy()).reshape(-1, 1)


def check(folder: Path, on_progress: Callable[[float], None]) -> list[str]:
    """Everything that is wrong, in words that name the file."""
    info_path = folder / "meta/info.json"
    try:
        info = orjson.loads(info_path.read_bytes())
        rows: list[dict[str, Any]] = []
        for path in sorted(folder.glob("meta/episodes/*/*.parquet")):
            rows += pq.read_table(path).to_pylist()
        stats = orjson.loads((folder / "meta/stats.json").read_bytes())
        tasks = pq.read_table(folder / "meta/tasks.parquet").to_pylist()
        checked = _Checker(folder, info, rows, len(tasks))
        checked.counts(info_path)
        checked.data(stats)
        checked.videos(on_progress)
    except (OSError, ValueError, LookupError, TypeError, pa.ArrowException) as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        return [f"{folder}: not readable: {why}"]
    return checked.problems


class _Checker:
    def __init__(
        self, folder: Path, info: dict[str, Any], rows: list[dict[str, Any]], tasks: int
    ) -> None:
        self.problems: list[str] = []
        self._folder, self._info, self._rows, self._tasks = folder, info, rows, tasks
        self._fps = int(info["fps"])

    def counts(self, path: Path) -> None:
        """The totals, and that episodes follow each other without a gap."""
        told = {
            "total_episodes": len(self._rows),
            "total_frames": sum(row["length"] for row in self._rows),
            "total_tasks": self._tasks,
        }
        for key, found in told.items():
            if self._info[key] != found:
                self.problems.append(f"{path}: {key} is {self._info[key]}, there are {found}")
        at = 0
        for number, row in enumerate(self._rows):
            span = row["dataset_from_index"], row["dataset_to_index"]
            if row["episode_index"] != number or span != (at, at + row["length"]):
                self.problems.append(f"{path}: episode {number} does not follow the one before")
            at += row["length"]

    def data(self, stats: dict[str, Any]) -> None:
        """Every number: columns, grid, finite, statistics of episodes and of the whole."""
        numbers = [n for n, f in self._info["features"].items() if f["dtype"] != "video"]
        # Column by column: a dataset of many hours must not lie in memory.
        for name in numbers:
            parts: list[NDArray[Any]] = []
            for path in sorted(self._folder.glob("data/*/*.parquet")):
                parts.append(to_numpy(pq.read_table(path, columns=[name])[name]))
            whole = np.concatenate(parts)
            self._column(name, whole, stats)

    def _column(self, name: str, whole: NDArray[Any], stats: dict[str, Any]) -> None:
        where = f"{self._folder}/data: {name}"
        feature = self._info["features"][name]
        if whole.shape != (self._info["total_frames"], *feature["shape"]):
            self.problems.append(f"{where}: shape {whole.shape}")
            return
        if not np.isfinite(whole).all():
            self.problems.append(f"{where}: not finite")
        self._compare(f"{self._folder}/meta/stats.json: {name}", stats[name], whole, exact=False)
        for row in self._rows:
            part = whole[row["dataset_from_index"] : row["dataset_to_index"]]
            told = {
                key.rpartition("/")[2]: value
                for key, value in row.items()
                if key.startswith(f"stats/{name}/")
            }
            label = f"{where}: episode {row['episode_index']}"
            self._compare(f"{label}: statistics", told, part, exact=True)
            self._index(name, label, part, row)

    def _index(self, name: str, label: str, part: NDArray[Any], row: dict[str, Any]) -> None:
        count = np.arange(len(part))
        expected = {
            "timestamp": count / self._fps,
            "frame_index": count,
            "index": count + row["dataset_from_index"],
            "episode_index": np.full(len(part), row["episode_index"]),
        }.get(name)
        if expected is not None and np.abs(part[:, 0] - expected).max(initial=0) > _GRID_S:
            self.problems.append(f"{label}: not on its grid")
        if name == "task_index" and not ((part >= 0) & (part < self._tasks)).all():
            self.problems.append(f"{label}: a task that is not in meta/tasks.parquet")

    def _compare(
        self, where: str, told: dict[str, Any], values: NDArray[Any], exact: bool
    ) -> None:
        """Quantiles of the whole may be means of the episodes'; all else has one right value."""
        for stat, expected in of_numbers(values).items():
            if stat.startswith("q") and not exact:
                continue
            if not np.allclose(np.ravel(told[stat]), expected, rtol=1e-5, atol=1e-6):
                self.problems.append(f"{where}: {stat} is not that of the data")

    def videos(self, on_progress: Callable[[float], None]) -> None:
        """Decode every frame of every file, and count what the episodes say is in it."""
        names = [n for n, f in self._info["features"].items() if f["dtype"] == "video"]
        wanted: dict[Path, int] = {}
        for row in self._rows:
            for name in names:
                prefix = f"videos/{name}"
                path = self._folder / self._info["video_path"].format(
                    video_key=name, chunk_index=row[f"{prefix}/chunk_index"],
                    file_index=row[f"{prefix}/file_index"],
                )  # fmt: skip
                start, stop = row[f"{prefix}/from_timestamp"], row[f"{prefix}/to_timestamp"]
                if abs(start - wanted.get(path, 0) / self._fps) > _GRID_S:
                    self.problems.append(
                        f"{path}: episode {row['episode_index']} does not begin where it should"
                    )
                if abs((stop - start) * self._fps - row["length"]) > 0.01:
                    self.problems.append(
                        f"{path}: episode {row['episode_index']} has another length than its data"
                    )
                wanted[path] = wanted.get(path, 0) + row["length"]
        total, done = sum(wanted.values()), 0

        def step() -> None:
            nonlocal done
            done += 1
            if done % 64 == 0:
                on_progress(done / total)

        for path, frames in wanted.items():
            try:
                found, worst_s = decode_all(path, step)
            except (av.FFmpegError, OSError) as error:
                self.problems.append(f"{path}: cannot be decoded: {error}")
                continue
            if found != frames:
                self.problems.append(f"{path}: {found} frames, the episodes say {frames}")
            if worst_s > _GRID_S:
                self.problems.append(f"{path}: a frame is {worst_s:.6f} s off the grid")
