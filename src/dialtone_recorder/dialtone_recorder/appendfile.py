"""A file that only grows, in whole records, and says how much of it is on the disk."""

from __future__ import annotations

import os
from pathlib import Path

#: Larger than a system call is dear, small enough that memory stays flat.
FLUSH_BYTES = 1 << 20


class AppendFile:
    """Where an episode's records go while it is recorded.

    Each ``append`` is one or more *whole* records, so the file ends at a record's end after every
    ``flush``: a flush that fails halfway (disk full) is cut back to where it began. One thread.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._fd = os.open(path, flags, 0o644)
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._written = 0
        self._synced = 0

    def append(self, data: list[bytes]) -> None:
        """Keep ``data``, whole records in pieces, for the next flush; flush when enough waits."""
        self._waiting += data
        self._waiting_bytes += sum(map(len, data))
        if self._waiting_bytes >= FLUSH_BYTES:
            self.flush()

    def tell(self) -> int:
        """Bytes written, waiting ones included."""
        return self._written + self._waiting_bytes

    @property
    def written(self) -> int:
        """Bytes handed to the kernel: all of them whole records."""
        return self._written

    def flush(self) -> None:
        """Hand everything to the kernel; raises ``OSError`` and cuts the file back on failure."""
        if not self._waiting:
            return
        view = memoryview(b"".join(self._waiting))
        self._waiting.clear()
        self._waiting_bytes = 0
        try:
            at = 0
            while at < len(view):
                at += os.write(self._fd, view[at:])
        except OSError:
            os.ftruncate(self._fd, self._written)
            os.lseek(self._fd, self._written, os.SEEK_SET)
            raise
        self._written += len(view)

    def sync(self) -> None:
        """Flush, then wait until it is on the disk; cheap when nothing is new."""
        self.flush()
        if self._synced != self._written:
            os.fdatasync(self._fd)
            self._synced = self._written

    def close(self) -> None:
        """Close without flushing; idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
