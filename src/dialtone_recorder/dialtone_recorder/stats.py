"""What is known of one recorded topic: how much came, how regularly, and what did not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dialtone_core.clock import NS_PER_S
from dialtone_recorder.topics import Topic


@dataclass(slots=True)
class TopicStats:
    """Counters of one stream; all stamps are Unix epoch, nanoseconds.

    ``lost_recorder`` counts what arrived and did not reach the file; ``lost_transport`` what the
    publisher's sequence numbers say never arrived.
    """

    topic: Topic
    messages: int = 0
    bytes: int = 0
    first_ns: int = 0
    last_ns: int = 0
    max_gap_ns: int = 0
    lost_recorder: int = 0
    lost_transport: int = 0
    last_seq: int = 0
    last_publish_ns: int = 0
    max_delay_ns: int = 0

    def update(self, log_ns: int, publish_ns: int, seq: int, size: int) -> None:
        """Count one message. ``seq`` 0 is unknown; a smaller one is a publisher that restarted."""
        if self.messages:
            gap = log_ns - self.last_ns
            if gap > self.max_gap_ns:
                self.max_gap_ns = gap
            if seq > self.last_seq > 0:
                self.lost_transport += seq - self.last_seq - 1
            if log_ns > self.last_ns:
                self.last_ns = log_ns
            elif log_ns < self.first_ns:
                self.first_ns = log_ns
        else:
            self.first_ns = self.last_ns = log_ns
        if seq:
            self.last_seq = seq
        self.last_publish_ns = publish_ns
        delay = log_ns - publish_ns
        if delay > self.max_delay_ns:
            self.max_delay_ns = delay
        self.messages += 1
        self.bytes += size

    def rate_hz(self) -> float:
        """Mean rate between the first and the last message; 0 for fewer than two."""
        span_ns = self.last_ns - self.first_ns
        return (self.messages - 1) * NS_PER_S / span_ns if span_ns > 0 else 0.0

    def to_json(self) -> dict[str, Any]:
        """This topic's entry of ``episode.json``.

        ``lost_transport`` is null where several publishers' sequences mix: unknown is not zero.
        """
        topic = self.topic
        return {
            "name": topic.name,
            "type": topic.type,
            "messages": self.messages,
            "bytes": self.bytes,
            "rate_hz": round(self.rate_hz(), 3),
            "max_gap_s": round(self.max_gap_ns / NS_PER_S, 6),
            "max_delay_s": round(self.max_delay_ns / NS_PER_S, 6),
            "first_ns": self.first_ns,
            "last_ns": self.last_ns,
            "lost_recorder": self.lost_recorder,
            "lost_transport": self.lost_transport if topic.publishers <= 1 else None,
            "publishers": topic.publishers,
            "latched": topic.latched,
            "definition": topic.definition is not None,
            "type_hash": topic.type_hash,
            "qos": list(topic.qos),
        }
