"""The audit log: who logged in, who held the lease, who stopped the robot, who recorded.

``gateway/audit.jsonl``, one JSON object a line, mode 0600, only ever appended to. At
``most_bytes`` it becomes ``audit.1.jsonl`` (and that ``.2`` and so on, ``keep`` of them), so that
an attacker who fails to log in all day fills no disk.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import orjson

from dialtone_core.clock import Clock

LOG = logging.getLogger("gateway")


class Audit:
    """Appends; a full disk costs lines and one log line, never a login or a stop."""

    def __init__(
        self, folder: Path, clock: Clock, most_bytes: int = 16_000_000, keep: int = 8
    ) -> None:
        self.path = folder / "audit.jsonl"
        self._clock = clock
        self._most_bytes = most_bytes
        self._keep = keep
        self.lost = 0

    def note(self, event: str, **fields: Any) -> None:
        """One line: ``stamp_ns`` (Unix epoch), ``event``, and what else is known."""
        line = orjson.dumps(
            {"stamp_ns": self._clock.wall_ns(), "event": event, **fields}, default=str
        )
        try:
            self._append(line + b"\n")
        except OSError as error:
            self.lost += 1
            if self.lost == 1:
                LOG.error("cannot write the audit log %s (%s)", self.path, error.strerror)

    def _append(self, line: bytes) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        descriptor = os.open(self.path, flags, 0o600)
        try:
            os.write(descriptor, line)
            full = os.fstat(descriptor).st_size >= self._most_bytes
        finally:
            os.close(descriptor)
        if full:
            self._turn_over()

    def _turn_over(self) -> None:
        for number in range(self._keep - 1, 0, -1):
            older = self.path.with_suffix(f".{number}.jsonl")
            if older.exists():
                older.replace(self.path.with_suffix(f".{number + 1}.jsonl"))
        self.path.replace(self.path.with_suffix(".1.jsonl"))
