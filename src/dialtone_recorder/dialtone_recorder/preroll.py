"""The last seconds before somebody thought of recording, bounded in seconds and in bytes."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from dialtone_core.clock import NS_PER_S
from dialtone_core.sample import Sample
from dialtone_recorder.session import Session
from dialtone_recorder.topics import Topic

#: How many messages of a latched topic are kept beside the ring, however old they are.
LATCHED_MESSAGES = 100


class Preroll:
    """A ring of samples, the oldest leaving first; a ``Sink``, in its source's one thread.

    What a latched topic said long ago is kept aside: a late subscriber would still be told. So
    much is bounded by the same number of bytes once more; ``dropped`` counts what did not fit.
    """

    def __init__(self, length_s: float, max_bytes: int) -> None:
        self.unrecorded: dict[str, str] = {}
        self.dropped = 0
        self._length_ns = round(length_s * NS_PER_S)
        self._max_bytes = max_bytes
        self._topics: dict[tuple[str, str], Topic] = {}
        self._ring: deque[Sample] = deque()
        self._bytes = 0
        self._latched: dict[tuple[str, str], deque[Sample]] = {}
        self._latched_bytes = 0

    @property
    def bytes(self) -> int:
        """Payload bytes held."""
        return self._bytes + self._latched_bytes

    def add_topic(self, topic: Topic) -> None:
        self._topics[topic.key] = topic

    def put(self, sample: Sample) -> None:
        if self._topics[sample.topic, sample.type].latched:
            self._keep(sample)
            return
        size = len(sample.payload)
        if size > self._max_bytes:
            self.dropped += 1
            return
        self._ring.append(sample)
        self._bytes += size
        # The last that came decides, not a clock of our own: a silent robot keeps what it has,
        # and a wall clock that steps forward empties the ring once instead of for ever.
        oldest_ns = sample.receive_ns - self._length_ns
        while self._bytes > self._max_bytes or self._ring[0].receive_ns < oldest_ns:
            self._bytes -= len(self._ring.popleft().payload)

    def put_all(self, samples: Sequence[Sample]) -> None:
        for sample in samples:
            self.put(sample)

    def _keep(self, sample: Sample) -> None:
        kept = self._latched.setdefault((sample.topic, sample.type), deque())
        size = len(sample.payload)
        while kept and (
            len(kept) >= LATCHED_MESSAGES or self._latched_bytes + size > self._max_bytes
        ):
            self._latched_bytes -= len(kept.popleft().payload)
        if self._latched_bytes + size > self._max_bytes:
            self.dropped += 1
            return
        kept.append(sample)
        self._latched_bytes += size

    def pour(self, session: Session, now_ns: int) -> None:
        """Give everything to ``session``, which is being started at ``now_ns``, and be empty.

        Latched messages get the receipt stamp of the first other one: they are part of how the
        episode begins, as if it had subscribed then. Nothing older than the length is given.
        """
        while self._ring and self._ring[0].receive_ns < now_ns - self._length_ns:
            self._ring.popleft()
        begin_ns = min((each.receive_ns for each in self._ring), default=now_ns)
        session.unrecorded.update(self.unrecorded)
        for topic in self._topics.values():
            session.add_topic(topic)
        for kept in self._latched.values():
            session.adopt(
                each._replace(receive_ns=begin_ns) if each.receive_ns < begin_ns else each
                for each in kept
            )
        session.adopt(self._ring)
        session.facts.preroll_s = max(0.0, (now_ns - begin_ns) / NS_PER_S)
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._ring.clear()
        self._latched.clear()
        self._topics.clear()
        self.unrecorded.clear()
        self._bytes = self._latched_bytes = 0
