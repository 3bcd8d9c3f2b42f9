"""What the recorder can be told at its start."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from dialtone_core.config import param
from dialtone_recorder.facts import MB, Limits
from dialtone_recorder.gate import GateRule


@dataclass(frozen=True)
class LabelParams:
    """Labels of episodes whose start names none; one that is being recorded takes them too."""

    task: str = param("", "what is done", live=True)
    instruction: str = param("", "in the words of a policy", live=True)
    operator: str = param("", "who does it", live=True)
    outcome: str = param("", "success or fail; only of the episode being recorded", live=True)
    tags: tuple[str, ...] = param((), "any words", live=True)

    def __post_init__(self) -> None:
        if self.outcome:
            raise ValueError("label.outcome is known at an episode's end, not at the node's start")

    def given(self) -> dict[str, Any]:
        """Those that say something, as ``check_labels`` takes them."""
        found = {**asdict(self), "tags": list(self.tags)}
        return {key: value for key, value in found.items() if value}


@dataclass(frozen=True)
class RecorderParams:
    """Parameters of the node ``recorder``. Sizes are MB of 10^6 bytes."""

    robot: str = param("rover", "robot's name: in NATS subjects and in every episode's name")
    directory: str = param("", "where episodes lie; empty is $DIALTONE_HOME/episodes")
    nats_url: str = param("", "server that carries the control services; empty is ROS only")
    nats_credentials: str = param("", "path of a NATS credentials file; empty is none")
    autostart: bool = param(False, "begin an episode as soon as the node is up")
    task: str = param("", "task written into an episode whose start names none")
    label: LabelParams = field(default_factory=LabelParams)
    topics_allow: tuple[str, ...] = param(
        (".*",), "regular expressions; a topic is recorded when its whole name matches one"
    )
    topics_deny: tuple[str, ...] = param(
        (), "regular expressions that win over topics_allow, never over the command topics"
    )
    types_deny: tuple[str, ...] = param(
        (), "regular expressions of message types that are not recorded"
    )
    discovery_period_s: float = param(
        0.5,
        "how often new topics are looked for while recording",
        unit="s",
        minimum=0.1,
        maximum=60,
    )
    history_depth: int = param(
        10_000, "messages that DDS may hold for us per topic", minimum=1, maximum=100_000
    )
    fsync_period_s: float = param(
        0.5, "at most so much is lost in a power cut", unit="s", minimum=0.05, maximum=60
    )
    queue_messages: int = param(
        200_000, "messages that may wait for the disk", minimum=100, maximum=10_000_000
    )
    queue_mb: int = param(
        128, "bytes that may wait for the disk", unit="MB", minimum=1, maximum=8192
    )
    min_free_mb: int = param(
        500, "free disk below which an episode is closed; a warning comes at twice that",
        unit="MB", minimum=0,
    )  # fmt: skip
    split_mb: int = param(0, "begin another file at this size; 0 is never", unit="MB", minimum=0)
    split_s: float = param(
        0.0, "begin another file after this long; 0 is never", unit="s", minimum=0
    )
    preroll_s: float = param(
        0.0, "an episode begins so long before its start; costs memory and CPU all the time",
        unit="s", minimum=0, maximum=3600,
    )  # fmt: skip
    preroll_mb: int = param(
        64, "bytes that the pre-roll may hold; the oldest go first", unit="MB", minimum=1,
        maximum=16384,
    )  # fmt: skip
    gate: dict[str, GateRule] = field(default_factory=dict)
    gate_force: bool = param(False, "begin episodes also while the gate is red")
    close_budget_s: float = param(
        1.5, "how long the end of the node waits for the index of an episode",
        unit="s", minimum=0, maximum=60,
    )  # fmt: skip

    def limits(self) -> Limits:
        """What bounds the writing of an episode."""
        return Limits(
            fsync_period_s=self.fsync_period_s,
            queue_messages=self.queue_messages,
            queue_bytes=self.queue_mb * MB,
            min_free_bytes=self.min_free_mb * MB,
            split_bytes=self.split_mb * MB,
            split_s=self.split_s,
        )
