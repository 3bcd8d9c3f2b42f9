"""The seam between the camera node and whatever delivers pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from dialtone_core.errors import DialtoneError


class CameraError(DialtoneError):
    """The camera is not there, or went away. Never fatal: the node reports it and tries again."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture, compressed. ``stamp_ns`` is the capture, wall clock, Unix epoch.

    ``note`` is what the driver wants people to know of its source; empty when all is well.
    """

    jpeg: bytes
    stamp_ns: int
    width: int
    height: int
    note: str = ""


class Camera(Protocol):
    """A driver, made from ``CameraParams``; making one opens nothing.

    All three are called from one thread, the capture thread.
    """

    def open(self) -> None:
        """Raises ``CameraError`` where it cannot be had now."""

    def read(self) -> Frame | None:
        """The next picture, or None where none came within half a second.

        Blocks no longer than a second, so that the node can end. Raises ``CameraError``.
        """

    def close(self) -> None:
        """Idempotent, and harmless after a failed ``open``."""
