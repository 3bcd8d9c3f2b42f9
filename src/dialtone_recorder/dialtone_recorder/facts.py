"""What a session is told at its beginning: its bounds, and what ``episode.json`` says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a session; bytes and seconds, 0 where "never" makes sense."""

    fsync_period_s: float = 0.5
    queue_messages: int = 200_000
    queue_bytes: int = 128 * MB
    min_free_bytes: int = 500 * MB
    split_bytes: int = 0
    split_s: float = 0.0


@dataclass(slots=True)
class Facts:
    """What ``episode.json`` says beside the counts; labels may change while recording.

    ``gate`` is the live gate's verdict at the beginning and the worst since; ``preroll_s`` how
    much of the episode lies before its start.
    """

    name: str
    robot: str
    task: str = ""
    instruction: str = ""
    operator: str = ""
    outcome: str = ""
    tags: list[str] = field(default_factory=list)
    software: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    gate: dict[str, Any] = field(default_factory=dict)
    preroll_s: float = 0.0
