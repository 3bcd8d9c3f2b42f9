"""An e-stop that a restart does not clear.

While latched it lies in a file, so a node that died and was started again is still stopped. A
file that cannot be read counts as latched: it fails closed.
"""

from __future__ import annotations

import json
import os
from pathlib import Path


class EStopFile:
    """``by`` of a latched e-stop at ``path``. Methods raise ``OSError`` where writing fails."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> str | None:
        """Who latched it, or ``None`` where it is not latched."""
        try:
            text = self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError):
            return "unknown"
        try:
            return str(json.loads(text)["by"])
        except (ValueError, KeyError, TypeError):
            return "unknown"

    def write(self, by: str | None) -> None:
        """Latch, or clear with ``None``; atomic and on the disk when it returns."""
        if by is None:
            self._path.unlink(missing_ok=True)
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_suffix(".tmp")
        with temporary.open("w", encoding="utf-8") as file:
            file.write(json.dumps({"by": by}) + "\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)
