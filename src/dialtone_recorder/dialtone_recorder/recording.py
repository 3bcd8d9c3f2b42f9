"""One recorded episode as an export sees it: schemas, stamps, messages; damage is an error."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from mcap.reader import make_reader
from mcap.records import Channel, Schema
from mcap.summary import Summary

from dialtone_core.cdr import read_stamp_ns
from dialtone_core.errors import DialtoneError, WireError
from dialtone_recorder.manifest import RECORDING, read_episode
from dialtone_recorder.reader import DAMAGE, episode_files, resolve
from dialtone_recorder.rosmsg import Definition, parse

#: rosbag2 writes ``ros2``; the Foxglove and C++ writers may leave it empty.
_PROFILES = ("ros2", "")


class Raw(NamedTuple):
    """One message; both stamps are Unix epoch ns, ``data`` is CDR."""

    topic: str
    receive_ns: int
    publish_ns: int
    data: bytes


class TopicFacts(NamedTuple):
    """A topic of an episode; ``problem`` says why it cannot be exported, if so."""

    type: str
    messages: int
    definition: Definition | None
    problem: str


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
            self._open(file)

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
            with _open(file) as stream, _Damage(file, stream):
                reader = make_reader(stream, validate_crcs=True)
                for _, channel, message in reader.iter_messages(topics):
                    done += 1
                    if on_progress is not None and done % 64 == 0:
                        on_progress(done / total if total else 1.0)
                    yield Raw(channel.topic, message.log_time, message.publish_time, message.data)

    def digests(self) -> dict[str, str]:
        """SHA-256 of each file by its name."""
        found = {}
        for file in self.files:
            with _open(file) as stream:
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
                f"{label}: {topic} cannot be read: {facts.problem}", where=str(self.path),
                fix="map another topic",
            )  # fmt: skip
        return facts.definition

    def _open(self, file: Path) -> None:
        with _open(file) as stream, _Damage(file, stream):
            reader = make_reader(stream, validate_crcs=True)
            profile = reader.get_header().profile
            if profile not in _PROFILES:
                raise DialtoneError(
                    f"profile {profile!r}, not ros2", where=str(file),
                    fix="export episodes of ROS 2 only",
                )  # fmt: skip
            summary = reader.get_summary()
            if summary is None or summary.statistics is None:
                raise DialtoneError(
                    f"ends at offset {stream.seek(0, 2)} without statistics: it was not closed",
                    where=str(file), fix="dialtone episodes recover",
                )  # fmt: skip
            self._note(summary)

    def _note(self, summary: Summary) -> None:
        assert summary.statistics is not None
        for number, channel in summary.channels.items():
            count = summary.statistics.channel_message_counts.get(number, 0)
            known = self.topics.get(channel.topic)
            facts = _topic_facts(channel, summary.schemas.get(channel.schema_id), count)
            if known is not None:
                problem = known.problem or facts.problem
                if known.type != facts.type:
                    problem = f"recorded as {known.type} and as {facts.type}"
                facts = facts._replace(
                    messages=count + known.messages, problem=problem,
                    definition=None if problem else facts.definition,
                )  # fmt: skip
            self.topics[channel.topic] = facts


def _topic_facts(channel: Channel, schema: Schema | None, count: int) -> TopicFacts:
    name = schema.name if schema else ""
    if channel.message_encoding != "cdr":
        return TopicFacts(name, count, None, f"encoding {channel.message_encoding!r}, not cdr")
    if schema is None or schema.encoding != "ros2msg" or not schema.data:
        told = schema.encoding if schema and schema.data else ""
        problem = f"definition in {told!r}, not ros2msg" if told else "no definition recorded"
        return TopicFacts(name, count, None, problem)
    try:
        return TopicFacts(name, count, parse(name, schema.data.decode()), "")
    except (ValueError, UnicodeDecodeError) as error:
        return TopicFacts(name, count, None, f"definition not understood: {error}")


class _Damage:
    """Turns what the library raises on damaged bytes into one line with the offset."""

    def __init__(self, file: Path, stream: BinaryIO) -> None:
        self._file = file
        self._stream = stream

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (OSError, *DAMAGE)) and not isinstance(error, WireError):
            offset = 0 if self._stream.closed else self._stream.tell()
            why = str(error) or type(error).__name__
            raise DialtoneError(
                f"not readable: {why}", where=f"{self._file}: offset {offset}",
                fix="dialtone episodes verify says more, dialtone episodes recover may help",
            ) from error  # fmt: skip


def _open(file: Path) -> BinaryIO:
    try:
        return file.open("rb")
    except OSError as error:
        raise DialtoneError(
            f"cannot read it ({error.strerror})", where=str(file), fix="check the path"
        ) from error


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
