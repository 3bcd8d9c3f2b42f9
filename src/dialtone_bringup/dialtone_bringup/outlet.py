"""One process's output: split into lines, kept in a bounded log file, its end remembered."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from pathlib import Path

_ANSI = re.compile(rb"\x1b\[[0-9;]*[A-Za-z]")
_LONGEST_LINE = 16 * 1024


class Outlet:
    """Feed it raw bytes. Lines go to ``on_line`` as they are, and to the file without colours.

    At ``most_bytes`` the file becomes ``<name>.log.1`` and begins anew, so that a node that
    talks for a week fills no disk. A full disk loses lines, never the process.
    """

    def __init__(
        self, path: Path, on_line: Callable[[str], None], *, most_bytes: int = 32_000_000
    ) -> None:
        self.path = path
        self.last: deque[str] = deque(maxlen=8)
        self._on_line = on_line
        self._most_bytes = most_bytes
        self._rest = b""
        self._file = path.open("ab", buffering=0)

    def feed(self, data: bytes) -> None:
        """Take whatever the pipe gave."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LONGEST_LINE:
            lines.append(self._rest)
            self._rest = b""
        if lines:
            self._write(lines)

    def finish(self) -> None:
        """The pipe has ended: what came without a newline is a line too."""
        if self._rest:
            rest, self._rest = self._rest, b""
            self._write([rest])

    def note(self, line: str) -> None:
        """A line of the supervisor's in this process's log."""
        self._store(f"-- {line}\n".encode())

    def close(self) -> None:
        self._file.close()

    def _write(self, lines: list[bytes]) -> None:
        plain = [_ANSI.sub(b"", line) if b"\x1b" in line else line for line in lines]
        self._store(b"\n".join(plain) + b"\n")
        for line, bare in zip(lines, plain, strict=True):
            if bare.strip():
                self.last.append(bare.decode(errors="replace").rstrip())
                self._on_line(line.decode(errors="replace").rstrip())

    def _store(self, data: bytes) -> None:
        try:
            self._file.write(data)
            if self._file.tell() > self._most_bytes:
                self.path.replace(self.path.with_suffix(".log.1"))
                full, self._file = self._file, self.path.open("ab", buffering=0)
                full.close()
        except OSError:
            return  # a full disk: the line is lost, and the disk is on diagnostics
