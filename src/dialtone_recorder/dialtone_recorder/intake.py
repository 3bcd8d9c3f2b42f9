"""Any recording as material: an episode, another rosbag2 folder, a bare MCAP; checked first.

What is not ROS 2 in CDR, not closed, or damaged is refused in one line that names file and
offset, before anything is written.
"""

from __future__ import annotations

import heapq
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import yaml
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.reader import make_reader
from mcap.records import Channel, Header, Schema, Statistics
from mcap.writer import MCAP0_MAGIC

from dialtone_core.errors import DialtoneError
from dialtone_recorder.manifest import RECORDING, read_episode
from dialtone_recorder.reader import DAMAGE, Recorded, episode_files, resolve
from dialtone_recorder.topics import Topic

#: rosbag2 writes ``ros2``; other writers of ROS 2 data leave it empty.
PROFILES = ("ros2", "")
_HEAD = struct.Struct("<BQ")
_READ: dict[int, Callable[[ReadDataStream], Schema | Channel | Statistics]] = {
    Opcode.SCHEMA: Schema.read,
    Opcode.CHANNEL: Channel.read,
    Opcode.STATISTICS: Statistics.read,
}
#: Footer record, 8 bytes of magic behind it (MCAP specification, "Footer").
_FOOTER = struct.Struct("<BQQQI")


class Intake:
    """A recording whose end has been read. ``topics`` by name and type; stamps Unix epoch, ns."""

    def __init__(self, path: Path | str) -> None:
        self.path = resolve(path)
        if self.path.name.endswith(RECORDING):
            raise DialtoneError(
                "still being recorded, or waits for recovery", where=str(self.path),
                fix="stop it, or dialtone episodes recover",
            )  # fmt: skip
        self.name = self.path.stem if self.path.is_file() else self.path.name
        self.topics: dict[tuple[str, str], Topic] = {}
        self.counts: dict[tuple[str, str], int] = {}
        self.messages_total = 0
        self.start_ns = 0
        self.end_ns = 0
        self.files = episode_files(self.path)
        self.facts: dict[str, Any] = {}
        if self.path.is_dir() and (self.path / "episode.json").exists():
            self.facts = read_episode(self.path)
        for file in self.files:
            self._take(file)

    @property
    def duration_s(self) -> float:
        return (self.end_ns - self.start_ns) / 1e9

    def messages(
        self,
        start_ns: int | None = None,
        end_ns: int | None = None,
        topics: list[str] | None = None,
    ) -> Iterator[Recorded]:
        """Messages with ``start_ns <= log time < end_ns``, in log-time order over all files."""
        parts = [self._messages(file, start_ns, end_ns, topics) for file in self.files]
        return heapq.merge(*parts, key=lambda each: each.log_ns) if len(parts) > 1 else parts[0]

    def _messages(
        self, file: Path, start_ns: int | None, end_ns: int | None, topics: list[str] | None
    ) -> Iterator[Recorded]:
        with open_mcap(file) as stream:
            try:
                reader = make_reader(stream, validate_crcs=True)
                for schema, channel, message in reader.iter_messages(
                    topics, starting_at=start_ns, ending_before=end_ns
                ):
                    assert schema is not None
                    yield Recorded(
                        channel.topic, schema.name, message.log_time, message.publish_time,
                        message.sequence, message.data,
                    )  # fmt: skip
            except (OSError, *DAMAGE) as error:
                damaged(file, stream.tell(), str(error) or type(error).__name__, error)

    def _take(self, file: Path) -> None:
        schemas: dict[int, Schema] = {}
        channels: dict[int, Topic] = {}
        statistics: Statistics | None = None
        for offset, record in read_summary(file):
            if isinstance(record, Schema):
                schemas[record.id] = record
            elif isinstance(record, Channel):
                channels[record.id] = _topic(file, offset, record, schemas)
            elif isinstance(record, Statistics):
                statistics = record
        if statistics is None:
            damaged(file, file.stat().st_size, "no statistics, it was not closed")
        for number, topic in channels.items():
            self.topics.setdefault(topic.key, topic)
            count = statistics.channel_message_counts.get(number, 0)
            self.counts[topic.key] = self.counts.get(topic.key, 0) + count
        if statistics.message_count:
            first = not self.messages_total
            start_ns, end_ns = statistics.message_start_time, statistics.message_end_time
            self.start_ns = start_ns if first else min(self.start_ns, start_ns)
            self.end_ns = max(self.end_ns, end_ns)
            self.messages_total += statistics.message_count


def open_mcap(file: Path) -> BinaryIO:
    """Open for reading; raises ``DialtoneError``."""
    try:
        return file.open("rb")
    except OSError as error:
        raise DialtoneError(
            f"cannot read it ({error.strerror})", where=str(file), fix="check the path"
        ) from error


def damaged(file: Path, offset: int, why: str, error: Exception | None = None) -> NoReturn:
    """Raise the one line about damaged bytes."""
    raise DialtoneError(
        f"not readable: {why}", where=f"{file}: offset {offset}",
        fix="dialtone episodes verify says more, dialtone episodes recover may help",
    ) from error  # fmt: skip


def read_summary(file: Path) -> list[tuple[int, Schema | Channel | Statistics]]:
    """(offset, record) of what a closed file's summary tells; checks magic and profile.

    Raises ``DialtoneError`` naming file and offset.
    """
    with open_mcap(file) as stream:
        size = stream.seek(0, 2)
        stream.seek(0)
        if stream.read(8) != MCAP0_MAGIC:
            damaged(file, 0, "no MCAP file" if size else "an empty file")
        _check_profile(file, stream)
        tail = 8 + _FOOTER.size
        stream.seek(max(0, size - tail))
        data = stream.read(tail)
        if len(data) < tail or data[-8:] != MCAP0_MAGIC or data[0] != Opcode.FOOTER:
            damaged(file, size, "it ends without a footer: it was not closed")
        _, _, start, _, crc = _FOOTER.unpack(data[: _FOOTER.size])
        if not 8 <= start < size - tail:
            damaged(file, size - tail, "the footer points at no summary")
        stream.seek(start)
        if crc and crc != zlib.crc32(stream.read(size - start - 12)):
            damaged(file, start, "the summary's checksum is wrong")
        return _records(file, stream, start, size - tail)


def _check_profile(file: Path, stream: BinaryIO) -> None:
    opcode, length = _HEAD.unpack(stream.read(9).ljust(9, b"\0"))
    if opcode != Opcode.HEADER or length > 10_000:
        damaged(file, 8, "no header record")
    try:
        profile = Header.read(ReadDataStream(stream)).profile
    except DAMAGE as error:
        damaged(file, 8, "a broken header record", error)
    if profile not in PROFILES:
        raise DialtoneError(
            f"profile {profile!r:.60}, not ros2", where=f"{file}: offset 8",
            fix="give a recording of ROS 2",
        )  # fmt: skip


def _records(
    file: Path, stream: BinaryIO, at: int, stop: int
) -> list[tuple[int, Schema | Channel | Statistics]]:
    found: list[tuple[int, Schema | Channel | Statistics]] = []
    while at + 9 <= stop:
        stream.seek(at)
        opcode, length = _HEAD.unpack(stream.read(9))
        if at + 9 + length > stop:
            damaged(file, at, "a record of the summary runs past its end")
        read = _READ.get(opcode)
        if read is not None:
            try:
                found.append((at, read(ReadDataStream(stream))))
            except (McapError, *DAMAGE) as error:
                damaged(file, at, "a broken record in the summary", error)
        at += 9 + length
    return found


def _topic(file: Path, offset: int, channel: Channel, schemas: dict[int, Schema]) -> Topic:
    where = f"{file}: offset {offset}"
    schema = schemas.get(channel.schema_id)
    told = channel.message_encoding
    if told != "cdr" or schema is None or schema.encoding not in ("ros2msg", "ros2idl"):
        kind = schema.encoding if schema else "none"
        raise DialtoneError(
            f"{channel.topic} is encoded as {told!r:.40} with schema {kind!r:.40}, "
            "not as cdr with ros2msg",
            where=where, fix="give a recording of ROS 2",
        )  # fmt: skip
    try:
        profiles = yaml.safe_load(channel.metadata.get("offered_qos_profiles", "")) or []
        qos = tuple(dict(each) for each in profiles)
        definition = schema.data.decode() or None
    except (yaml.YAMLError, TypeError, ValueError) as error:
        damaged(file, offset, f"the description of {channel.topic} is broken", error)
    latched = any(each.get("durability") in ("transient_local", 1) for each in qos)
    return Topic(
        channel.topic, schema.name, definition, qos,
        channel.metadata.get("topic_type_hash", ""), latched, max(1, len(qos)),
    )  # fmt: skip
