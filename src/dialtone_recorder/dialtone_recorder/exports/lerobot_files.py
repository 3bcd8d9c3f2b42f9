"""LeRobot's numbered files: parquet and mp4 that end between episodes, below a size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from dialtone_recorder.mapping import Limits
from dialtone_recorder.table import Table
from dialtone_recorder.video import join

DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
_MIB = 1 << 20


class _Numbered:
    """Counts files and folders; ``last`` is the place of the newest file that is there."""

    def __init__(self, last: tuple[int, int] | None, limits: Limits) -> None:
        self._limits = limits
        self._chunk, self._file = last or (0, -1)

    def _advance(self) -> None:
        self._file += 1
        if self._file >= self._limits.chunk_files:
            self._chunk, self._file = self._chunk + 1, 0

    def _place(self, prefix: str) -> dict[str, int]:
        return {f"{prefix}/chunk_index": self._chunk, f"{prefix}/file_index": self._file}


class DataFiles(_Numbered):
    """``data/…``: one row group an episode, snappy. A new export begins a new file."""

    def __init__(self, folder: Path, last: tuple[int, int] | None, limits: Limits) -> None:
        super().__init__(last, limits)
        self._folder = folder
        self._writer: pq.ParquetWriter | None = None
        self._bytes = 0

    def add(self, frames: pa.Table) -> dict[str, Any]:
        """Write an episode; returns where it lies. Sizes count before compression."""
        limit = self._limits.data_mb * _MIB
        if self._writer is None or self._bytes + frames.nbytes >= limit:
            self.close()
            self._advance()
            path = self._folder / DATA.format(chunk_index=self._chunk, file_index=self._file)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(path, frames.schema, compression="snappy")
            self._bytes = 0
        self._writer.write_table(frames, row_group_size=max(1, len(frames)))
        self._bytes += frames.nbytes
        return self._place("data")

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class VideoFiles(_Numbered):
    """``videos/<key>/…``: episodes are collected, and joined once their file is full."""

    def __init__(
        self, folder: Path, key: str, last: tuple[int, int] | None, fps: int, limits: Limits
    ) -> None:
        super().__init__(last, limits)
        self._folder, self._key, self._fps = folder, key, fps
        self._parts: list[Path] = []
        self._bytes = self._frames = 0

    def add(self, part: Path, frames: int) -> dict[str, Any]:
        """Take an episode's mp4; returns where its frames will lie."""
        size = part.stat().st_size
        if not self._parts or self._bytes + size >= self._limits.video_mb * _MIB:
            self.close()
            self._advance()
        prefix = f"videos/{self._key}"
        start = self._frames
        self._parts.append(part)
        self._bytes += size
        self._frames += frames
        return self._place(prefix) | {
            f"{prefix}/from_timestamp": start / self._fps,
            f"{prefix}/to_timestamp": self._frames / self._fps,
        }

    def close(self) -> None:
        if not self._parts:
            return
        path = self._folder / VIDEO.format(
            video_key=self._key, chunk_index=self._chunk, file_index=self._file
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        join(self._parts, path, self._fps)
        for part in self._parts:
            part.unlink()
        self._parts = []
        self._bytes = self._frames = 0


def frame_table(table: Table, index: dict[str, Any]) -> pa.Table:
    """One episode's rows: vectors as fixed-size lists, a single number as itself."""
    arrays: dict[str, pa.Array] = {}
    for name, column in table.columns.items():
        values = np.ascontiguousarray(column.values)
        flat = pa.array(values.ravel())
        width = values.shape[1]
        arrays[name] = flat if width == 1 else pa.FixedSizeListArray.from_arrays(flat, width)
    return pa.table(arrays | {name: pa.array(values) for name, values in index.items()})


def tasks_table(tasks: list[str]) -> pa.Table:
    """The tasks as pandas writes them with the text as index: LeRobot looks them up by it."""
    table = pa.table({
        "task_index": pa.array(range(len(tasks)), pa.int64()), "task": pa.array(tasks, pa.string())
    })  # fmt: skip

    def column(name: str, kind: str, numpy: str) -> dict[str, Any]:
        return {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": numpy,
                "metadata": None}  # fmt: skip

    described = {
        "index_columns": ["task"],
        "column_indexes": [column("", "unicode", "object") | {"name": None, "field_name": None}],
        "columns": [column("task_index", "int64", "int64"), column("task", "unicode", "object")],
        "attributes": {},
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.0.0",
    }
    return table.replace_schema_metadata({"pandas": orjson.dumps(described)})
