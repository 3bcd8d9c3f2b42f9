"""What an episode was like: regularity, losses and clocks of each topic, from every message."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dialtone_core.cdr import read_stamp_ns
from dialtone_core.clock import NS_PER_S
from dialtone_core.errors import WireError
from dialtone_recorder.gate import has_header
from dialtone_recorder.intake import Intake
from dialtone_recorder.stats import TopicStats

#: A gap's length as a multiple of the topic's median one: the histogram's upper bounds.
BOUNDS = (1.5, 2.5, 5.0, 20.0)


@dataclass
class TopicReport:
    """One topic. ``stamps_ns`` are receipts in order; offsets are receipt minus stamp, ns."""

    stats: TopicStats
    stamps_ns: list[int] = field(default_factory=list)
    publish_offsets_ns: list[int] = field(default_factory=list)
    header_offsets_ns: list[int] = field(default_factory=list)

    def gaps_s(self) -> Any:
        """Array of seconds between messages."""
        return np.diff(np.array(self.stamps_ns, dtype=np.int64)) / NS_PER_S

    def histogram(self) -> list[int]:
        """Gaps by length: up to 1.5, 2.5, 5 and 20 medians, and longer."""
        gaps = self.gaps_s()
        if not len(gaps):
            return [0] * (len(BOUNDS) + 1)
        median = float(np.median(gaps)) or 1e-9
        found = np.searchsorted(np.array(BOUNDS) * median, gaps)
        return [int(each) for each in np.bincount(found, minlength=len(BOUNDS) + 1)]

    def to_json(self) -> dict[str, Any]:
        """The entry of ``show --json``; offsets are median and largest, seconds."""
        return {
            **self.stats.to_json(),
            "gap_histogram": self.histogram(),
            "publish_offset_s": _offsets(self.publish_offsets_ns),
            "header_offset_s": _offsets(self.header_offsets_ns),
        }


def _offsets(offsets_ns: list[int]) -> list[float] | None:
    if not offsets_ns:
        return None
    seconds = np.array(offsets_ns, dtype=np.float64) / NS_PER_S
    furthest = seconds[np.argmax(np.abs(seconds))]
    return [round(float(np.median(seconds)), 6), round(float(furthest), 6)]


def analyse(intake: Intake, advance: Callable[[int], None]) -> dict[tuple[str, str], TopicReport]:
    """Read everything once. Raises ``DialtoneError`` at what cannot be read."""
    reports = {key: TopicReport(TopicStats(topic)) for key, topic in intake.topics.items()}
    headed = {key for key, topic in intake.topics.items() if has_header(topic.definition)}
    for message in intake.messages():
        key = (message.topic, message.type)
        report = reports[key]
        report.stats.update(
            message.log_ns, message.publish_ns, message.sequence, len(message.data)
        )
        report.stamps_ns.append(message.log_ns)
        if message.publish_ns:
            report.publish_offsets_ns.append(message.log_ns - message.publish_ns)
        if key in headed:
            try:
                stamp_ns = read_stamp_ns(message.data)
            except WireError:
                stamp_ns = 0
            if stamp_ns:
                report.header_offsets_ns.append(message.log_ns - stamp_ns)
        advance(1)
    known = {(each["name"], each["type"]): each for each in intake.facts.get("topics", [])}
    for key, report in reports.items():
        report.stats.lost_recorder = known.get(key, {}).get("lost_recorder") or 0
    return reports
