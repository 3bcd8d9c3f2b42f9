"""Episodes made of episodes: trimmed, split, merged. The sources are only read.

A new one appears whole and on the disk, or not at all; nothing that exists is replaced. Memory
stays at a chunk whatever the length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from mcap.writer import CompressionType, Writer

from dialtone_core.clock import NS_PER_S
from dialtone_recorder.intake import Intake
from dialtone_recorder.manifest import (
    FORMAT,
    FileFacts,
    bag_metadata,
    to_yaml,
    write_bag_metadata,
    write_episode,
)
from dialtone_recorder.reader import Recorded
from dialtone_recorder.staging import Staging
from dialtone_recorder.stats import TopicStats
from dialtone_recorder.topics import Topic

LABELS = ("robot", "task", "instruction", "operator", "outcome", "tags")
Advance = Callable[[int], None]


class Builder:
    """One episode that is being written into ``folder``; ``add``, then ``finish``."""

    def __init__(
        self,
        folder: Path,
        file: BinaryIO,
        name: str,
        topics: Iterable[Topic],
        facts: Mapping[str, Any],
    ) -> None:
        self._folder = folder
        self._file = file
        self._name = name
        self._facts = dict(facts)
        self._stats = {topic.key: TopicStats(topic) for topic in topics}
        self._channels: dict[tuple[str, str], int] = {}
        self._writer = Writer(file, chunk_size=1 << 20, compression=CompressionType.ZSTD)
        self._writer.start("ros2", library="dialtone")
        schemas: dict[str, int] = {}
        for key, stats in self._stats.items():
            topic = stats.topic
            if topic.type not in schemas:
                schemas[topic.type] = self._writer.register_schema(
                    topic.type, "ros2msg", (topic.definition or "").encode()
                )
            self._channels[key] = self._writer.register_channel(
                topic.name, "cdr", schemas[topic.type], topic.channel_metadata()
            )

    def add(self, message: Recorded) -> None:
        """Append one message."""
        key = (message.topic, message.type)
        self._writer.add_message(
            self._channels[key], message.log_ns, message.data, message.publish_ns, message.sequence
        )
        size = len(message.data)
        self._stats[key].update(message.log_ns, message.publish_ns, message.sequence, size)

    def finish(self) -> None:
        """End the file and write both papers."""
        stats = list(self._stats.values())
        used = [each for each in stats if each.messages]
        messages = sum(each.messages for each in used)
        start = min((each.first_ns for each in used), default=0)
        end = max((each.last_ns for each in used), default=0)
        name = Path(self._file.name).name
        topics = [each.to_json() for each in stats]
        metadata = bag_metadata(topics, [FileFacts(name, messages, start, end)], {})
        self._writer.add_metadata("rosbag2", {"serialized_metadata": to_yaml(metadata)})
        self._writer.finish()  # type: ignore[no-untyped-call]
        self._file.flush()
        file = FileFacts(name, messages, start, end, self._file.tell())
        write_bag_metadata(self._folder, metadata)
        write_episode(self._folder, {
            "format": FORMAT, "name": self._name, "state": "closed", **self._facts,
            "started_ns": start, "ended_ns": end, "indexed": True, "error": "",
            "duration_s": round((end - start) / NS_PER_S, 3), "messages": messages,
            "lost_transport": sum(each["lost_transport"] or 0 for each in topics),
            "files": [asdict(file)], "topics": topics,
        })  # fmt: skip


@contextmanager
def building(target: Path, topics: Iterable[Topic], facts: Mapping[str, Any]) -> Iterator[Builder]:
    """A ``Builder`` whose episode appears at ``target`` when the context is left without error."""
    with (
        Staging(target, fix="give another name with --out") as folder,
        (folder / f"{target.name}_0.mcap").open("wb") as file,
    ):
        builder = Builder(folder, file, target.name, topics, facts)
        yield builder
        builder.finish()


def cut(
    intake: Intake,
    target: Path,
    start_ns: int,
    end_ns: int,
    verb: str,
    advance: Advance,
    keep: Callable[[str], bool] = lambda _: True,
) -> None:
    """Copy what was received from ``start_ns`` up to ``end_ns``, of the topics that are kept.

    What a latched topic said before is part of it, received at ``start_ns``: a robot's description
    must not be lost with the first second.
    """
    topics = [each for each in intake.topics.values() if keep(each.name)]
    names = [each.name for each in topics]
    latched = [each.name for each in topics if each.latched]
    with building(target, topics, _facts([intake], verb, start_ns, end_ns)) as builder:
        if latched and start_ns > intake.start_ns:
            for message in _latest(intake, latched, start_ns, topics):
                builder.add(message._replace(log_ns=start_ns))
        for message in intake.messages(start_ns, end_ns, names) if names else ():
            builder.add(message)
            advance(1)


def _latest(
    intake: Intake, names: Sequence[str], before_ns: int, topics: Sequence[Topic]
) -> list[Recorded]:
    """The last messages of latched topics before a moment: as many as their publishers kept."""
    depth = {
        each.name: max(1, min(100, sum(max(1, int(q.get("depth") or 1)) for q in each.qos)))
        for each in topics
    }
    kept: dict[str, list[Recorded]] = {}
    for message in intake.messages(None, before_ns, list(names)):
        held = kept.setdefault(message.topic, [])
        held.append(message)
        del held[: -depth[message.topic]]
    return [message for held in kept.values() for message in held]


def merge(intakes: Sequence[Intake], target: Path, advance: Advance) -> None:
    """Everything of several recordings in the order of receipt; their clocks must be one."""
    import heapq

    topics: dict[tuple[str, str], Topic] = {}
    for intake in intakes:
        for key, topic in intake.topics.items():
            topics.setdefault(key, topic)
    with building(target, topics.values(), _facts(intakes, "merge", 0, 0)) as builder:
        parts = [each.messages() for each in intakes]
        for message in heapq.merge(*parts, key=lambda each: each.log_ns):
            builder.add(message)
            advance(1)


def _facts(intakes: Sequence[Intake], verb: str, start_ns: int, end_ns: int) -> dict[str, Any]:
    """Labels of the first; what could be lost in any of them; where it came from."""
    first = intakes[0].facts
    lost = [each.facts.get("lost_recorder") for each in intakes]
    labels = {key: first.get(key, [] if key == "tags" else "") for key in LABELS}
    return {
        **labels,
        "closed_by": verb,
        "recovered": any(each.facts.get("recovered", False) for each in intakes),
        "lost_recorder": None if None in lost else sum(each or 0 for each in lost),
        "derived": {
            "by": verb,
            "from": [each.name for each in intakes],
            **({"start_ns": start_ns, "end_ns": end_ns} if verb != "merge" else {}),
        },
        "unrecorded": first.get("unrecorded", {}),
        "gate": first.get("gate", {}),
        "clock": first.get("clock", {}),
        "software": first.get("software", {}),
        "config": first.get("config", {}),
    }
