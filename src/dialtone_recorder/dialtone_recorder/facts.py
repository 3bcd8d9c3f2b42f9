"""What a session is told at its beginning: its bounds, and what ``episode.json`` says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from dialtone_recorder.manifest import FORMAT, FileFacts
from dialtone_recorder.stats import TopicStats

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


def describe(
    facts: Facts, stats: Sequence[TopicStats], files: Sequence[FileFacts], **known: Any
) -> dict[str, Any]:
    """The content of ``episode.json``; ``known`` is what only the session knows."""
    return {
        "format": FORMAT,
        "name": facts.name,
        "robot": facts.robot,
        "task": facts.task,
        "instruction": facts.instruction,
        "operator": facts.operator,
        "outcome": facts.outcome,
        "tags": list(facts.tags),
        **known,
        "recovered": False,
        "indexed": False,
        "messages": sum(each.messages for each in stats),
        "lost_recorder": sum(each.lost_recorder for each in stats),
        "lost_transport": sum(each.lost_transport for each in stats if each.topic.publishers <= 1),
        "files": [asdict(each) for each in files],
        "topics": [each.to_json() for each in stats],
        "preroll_s": round(facts.preroll_s, 3),
        "gate": dict(facts.gate),
        "software": facts.software,
        "config": facts.config,
    }
