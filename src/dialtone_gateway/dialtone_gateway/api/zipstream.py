"""A folder as a zip, made while it is sent: nothing is stored and memory stays flat."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

_CHUNK_BYTES = 256 * 1024


class _Pipe(io.RawIOBase):
    """What ``zipfile`` writes into; it can't seek, so sizes go behind each file (zip's flag 3)."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        view = memoryview(data)  # type: ignore[arg-type]
        self._waiting += view
        return view.nbytes

    def take(self) -> bytes:
        data = bytes(self._waiting)
        self._waiting.clear()
        return data


def zip_chunks(folder: Path) -> Iterator[bytes]:
    """The zip of ``folder``'s files (those that are no links), chunk by chunk; never empty ones.

    Blocks on the disk: call ``next`` in a thread. A file that grows meanwhile is cut where it was.
    """
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_symlink() or not file.is_file():
                continue
            yield from _one(archive, pipe, file, f"{folder.name}/{file.relative_to(folder)}")
    rest = pipe.take()
    if rest:
        yield rest


def _one(archive: zipfile.ZipFile, pipe: _Pipe, file: Path, name: str) -> Iterator[bytes]:
    with file.open("rb") as source:
        status = file.stat()
        info = zipfile.ZipInfo(name, time.gmtime(max(status.st_mtime, 315_532_800))[:6])
        info.external_attr = 0o644 << 16
        left = status.st_size
        with archive.open(info, "w", force_zip64=True) as target:
            while left > 0 and (data := source.read(min(_CHUNK_BYTES, left))):
                left -= len(data)
                target.write(data)
                chunk = pipe.take()
                if chunk:
                    yield chunk
