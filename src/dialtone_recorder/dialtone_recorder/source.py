"""Where messages come from and where they go: the seam between ROS and a recording."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from dialtone_core.sample import Sample
from dialtone_recorder.topics import Topic


class Sink(Protocol):
    """Takes what a source delivers, all in the source's one thread."""

    unrecorded: dict[str, str]

    def add_topic(self, topic: Topic) -> None:
        """``topic`` is delivered from now on; before its first ``put``. Again when it changed."""

    def put(self, sample: Sample) -> None:
        """Take one message; must not block."""

    def put_all(self, samples: Sequence[Sample]) -> None:
        """Take several, in the order in which they came."""


class Nowhere:
    """A sink for what only the gate wants to see."""

    def __init__(self) -> None:
        self.unrecorded: dict[str, str] = {}

    def add_topic(self, topic: Topic) -> None:
        """Nothing is kept."""

    def put(self, sample: Sample) -> None:
        """Nothing is kept."""

    def put_all(self, samples: Sequence[Sample]) -> None:
        """Nothing is kept."""


class Source(Protocol):
    """Where messages come from: ROS, or a test."""

    async def open(self, sink: Sink, only: frozenset[str] | None = None) -> None:
        """Deliver everything that is recorded (or ``only`` these topics) to ``sink`` anew.

        Every latched message is delivered again, even where another sink had it.
        """

    async def hand_over(self, sink: Sink) -> None:
        """Deliver to ``sink`` what went to the open ``Preroll``, its contents first."""

    async def close(self) -> None:
        """Deliver what has arrived, then nothing more; on return no ``put`` is under way."""
