"""One recorded episode as an export sees it: schemas, stamps, messages; damage is an error."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from mcap.reader import make_reader
from mcap.records import Channel, Schema

from dialtone_core.cdr import read_stamp_ns
from dialtone_core.errors import DialtoneError, WireError
from dialtone_recorder.intake import damaged, open_mcap, read_summary
from dialtone_recorder.manifest import RECORDING, read_episode
from dialtone_recorder.reader import DAMAGE, episode_files, resolve
from dialtone_recorder.rosmsg import Definition, parse


class Raw(NamedTuple):
    """One message; both stamps are Unix epoch ns, ``data`` is CDR."""

    topic: str
    receive_ns: int
    publish_ns: int
    data: bytes


class TopicFacts(NamedTuple):
    """A topic of an episode; ``problem`` says why it cannot be exported, if so; ``where`` is its
    channel in the file."""

    type: str
    messages: int
    definition: Definition | None
    problem: str
    where: str


class Recording:
    """An episode's folder, another rosbag2 folder, or a bare MCAP.

    Opening reads every file's end. Raises ``DialtoneError`` naming file and offset where one is
    damaged, unfinished, of another profile, or no MCAP.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = resolve(path)
        if self.path.name.endswith(RECORDING):
            raise DialtoneError(
                "still being recorded, or waits for recovery", where=str(self.path),
                fix="stop it, or dialtone episodes recover",
            )  # fmt: skip
        self.name = self.path.stem if self.path.is_file() else self.path.name
        self.files = episode_files(self.path)
        self.topics: dict[str, TopicFacts] = {}
        self.facts: dict[str, Any] = {}
        if (self.path / "episode.json").exists():
            self.facts = read_episode(self.path)
        for file in self.files:
            self._note(file)
        if self.topics and not any(each.definition for each in self.topics.values()):
            topic, facts = next(iter(self.topics.items()))
            raise DialtoneError(
                f"nothing in it can be read; {topic}: {facts.problem}", where=facts.where,
                fix="give a recording of ROS 2",
            )  # fmt: skip

    def task(self) -> str:
        """What the policy shall be told: the instruction, or the task."""
        return str(self.facts.get("instruction") or self.facts.get("task") or "")

    def messages(
        self, topics: list[str], on_progress: Callable[[float], None] | None = None
    ) -> Iterator[Raw]:
        """Messages of ``topics`` as received; checksums are compared.

        ``on_progress`` hears the part that is done, 0 to 1.
        """
        total = sum(self.topics[topic].messages for topic in topics if topic in self.topics)
        done = 0
        for file in self.files:
            with open_mcap(file) as stream:
                try:
                    for _, channel, message in make_reader(
                        stream, validate_crcs=True
                    ).iter_messages(topics):
                        done += 1
                        if on_progress is not None and done % 64 == 0:
                            on_progress(done / total if total else 1.0)
                        yield Raw(
                            channel.topic, message.log_time, message.publish_time, message.data
                        )
                except WireError:
                    raise
                except (OSError, *DAMAGE) as error:
                    damaged(file, stream.tell(), str(error) or type(error).__name__, error)

    def digests(self) -> dict[str, str]:
        """SHA-256 of each file by its name."""
        found = {}
        for file in self.files:
            with open_mcap(file) as stream:
                digest = hashlib.sha256()
                while block := stream.read(1 << 20):
                    digest.update(block)
            found[file.name] = digest.hexdigest()
        return found

    def definition(self, topic: str, label: str) -> Definition:
        """The type of ``topic``; raises where it was not recorded or cannot be read."""
        facts = self.topics.get(topic)
        if facts is None or (not facts.messages and not facts.problem):
            known = ", ".join(sorted(name for name, each in self.topics.items() if each.messages))
            raise DialtoneError(
                f"{label}: no message of {topic} was recorded", where=str(self.path),
                fix=f"map one of {known}",
            )  # fmt: skip
        if facts.definition is None:
            raise DialtoneError(
                f"{label}: {topic} cannot be read: {facts.problem}", where=facts.where,
                fix="map another topic",
            )  # fmt: skip
        return facts.definition

    def _note(self, file: Path) -> None:
        schemas: dict[int, Schema] = {}
        channels: list[tuple[int, Channel]] = []
        counts: dict[int, int] | None = None
        for offset, record in read_summary(file):
            if isinstance(record, Schema):
                schemas[record.id] = record
            elif isinstance(record, Channel):
                channels.append((offset, record))
            else:
                counts = record.channel_message_counts
        if counts is None:
            damaged(file, file.stat().st_size, "no statistics, it was not closed")
        for offset, channel in channels:
            known = self.topics.get(channel.topic)
            count = counts.get(channel.id, 0)
            facts = _topic_facts(
                channel, schemas.get(channel.schema_id), count, f"{file}: offset {offset}"
            )
            if known is not None:
                problem = known.problem or facts.problem
                if known.type != facts.type:
                    problem = f"recorded as {known.type} and as {facts.type}"
                facts = facts._replace(
                    messages=count + known.messages, problem=problem,
                    definition=None if problem else facts.definition,
                )  # fmt: skip
            self.topics[channel.topic] = facts


def _topic_facts(channel: Channel, schema: Schema | None, count: int, where: str) -> TopicFacts:
    name = schema.name if schema else ""
    definition, problem = None, ""
    if channel.message_encoding != "cdr":
        problem = f"encoding {channel.message_encoding!r}, not cdr"
    elif schema is None or not schema.data:
        problem = "no definition recorded"
    elif schema.encoding != "ros2msg":
        problem = f"definition in {schema.encoding!r}, not ros2msg"
    else:
        try:
            definition = parse(name, schema.data.decode())
        except ValueError as error:  # UnicodeDecodeError is one
            problem = f"definition not understood: {error}"
    return TopicFacts(name, count, definition, problem, where)


def stamp_of(raw: Raw, timeline: str) -> int:
    """The stamp that counts, ns; ``header`` raises ``WireError`` where there is none."""
    if timeline == "receive":
        return raw.receive_ns
    if timeline == "publish":
        return raw.publish_ns
    stamp = read_stamp_ns(raw.data)
    if stamp == 0:
        raise WireError("no_stamp", "header.stamp is 0")
    return stamp
