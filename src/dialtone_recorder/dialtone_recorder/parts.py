"""The files of an episode while it is written: unchunked MCAP, one after the other.

Unchunked records survive a kill: at most the last one is cut (facts: Writers). One thread.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mcap.opcode import Opcode
from mcap.records import Channel, Schema
from mcap.writer import MCAP0_MAGIC

from dialtone_core.clock import NS_PER_S
from dialtone_core.sample import Sample
from dialtone_recorder.appendfile import FLUSH_BYTES, AppendFile
from dialtone_recorder.facts import Limits
from dialtone_recorder.manifest import FileFacts
from dialtone_recorder.rawfile import Contents, closing, header, record, seal
from dialtone_recorder.stats import TopicStats
from dialtone_recorder.topics import Topic

Stats = Mapping[tuple[str, str], TopicStats]
#: A message record up to its data: opcode, length; channel, sequence, log and publish time (MCAP
#: specification, "Message"). The length counts what follows it.
_MESSAGE = struct.Struct("<BQHIQQ")
_FIXED = 22
_OPCODE = int(Opcode.MESSAGE)


class _Part:
    """The file being written, and what went into it."""

    def __init__(self, path: Path) -> None:
        self.file = AppendFile(path)
        self.file.append([MCAP0_MAGIC, header()])
        self.file.flush()
        self.channels: dict[tuple[str, str], int] = {}
        self.schemas: dict[str, int] = {}
        self.contents = Contents(header=True)

    def schema(self, name: str, definition: str) -> int:
        number = len(self.schemas) + 1
        made = Schema(id=number, name=name, encoding="ros2msg", data=definition.encode())
        self.contents.schemas[number] = made
        self.schemas[name] = number
        self.file.append([record(made)])
        return number

    def channel(self, topic: Topic, schema: int, metadata: dict[str, str]) -> int:
        number = len(self.channels) + 1
        made = Channel(
            id=number, topic=topic.name, message_encoding="cdr", schema_id=schema,
            metadata=metadata,
        )  # fmt: skip
        self.contents.channels[number] = made
        self.channels[topic.key] = number
        self.file.append([record(made)])
        return number

    def facts(self) -> FileFacts:
        return FileFacts(
            self.file.path.name, self.contents.messages, self.contents.start_ns,
            self.contents.end_ns, self.file.written,
        )  # fmt: skip


class Parts:
    """Writes samples into the newest file; every method but ``bytes`` in the writer's thread."""

    def __init__(self, path_of: Callable[[int], Path], limits: Limits) -> None:
        self.files: list[FileFacts] = []
        self._path_of = path_of
        self._limits = limits
        self._registered: dict[tuple[str, str], Topic] = {}
        self._ended: Counter[tuple[str, str]] = Counter()
        self._part = _Part(path_of(0))

    @property
    def bytes(self) -> int:
        """Written and waiting, all files."""
        return sum(each.bytes for each in list(self.files)) + self._part.file.tell()

    @property
    def path(self) -> Path:
        """The file being written."""
        return self._part.file.path

    def write(self, batch: Sequence[Sample], stats: Stats) -> None:
        """Append messages, in order of receipt, and count them in ``stats``.

        A record is packed here and not by a library: at 5,000 messages a second its builder costs
        more than everything else that the writer does.
        """
        part = self._part
        channels, counts, pack = part.channels, part.contents.counts, _MESSAGE.pack
        waiting: list[bytes] = []
        size = 0
        rest = iter(batch)
        try:
            for topic, kind, _, payload, publish_ns, receive_ns, seq in rest:
                key = (topic, kind)
                known = stats[key]
                number = (seq or 0) & 0xFFFFFFFF
                length = len(payload)
                known.update(receive_ns, publish_ns, number, length)
                channel = channels.get(key) or self.channel(known.topic)
                counts[channel] = counts.get(channel, 0) + 1
                published_ns = publish_ns if publish_ns > 0 else 0
                waiting.append(
                    pack(_OPCODE, _FIXED + length, channel, number, receive_ns, published_ns)
                )
                waiting.append(payload)
                size += length
                if size >= FLUSH_BYTES:
                    part.file.append(waiting)
                    waiting, size = [], 0
            part.file.append(waiting)
        except OSError:
            for sample in rest:
                stats[sample.topic, sample.type].lost_recorder += 1
            raise
        part.contents.extend(len(batch), batch[0].receive_ns, batch[-1].receive_ns)

    def channel(self, topic: Topic) -> int:
        """The channel of ``topic`` in the newest file, written there when it is new."""
        part = self._part
        if topic.key in part.channels:
            return part.channels[topic.key]
        schema = part.schemas.get(topic.type)
        if schema is None:
            schema = part.schema(topic.type, topic.definition or "")
        self._registered.setdefault(topic.key, topic)
        metadata = self._registered[topic.key].channel_metadata()
        return part.channel(topic, schema, metadata)

    def flush(self) -> None:
        """Hand what was written to the kernel, where it survives the death of this process."""
        self._part.file.flush()

    def sync(self) -> None:
        """Flush, and wait for the disk: what is there survives the machine's death too."""
        self._part.file.sync()

    def split_if_due(self, topics: Iterable[Topic]) -> None:
        """Begin the next file where this one is long or large enough."""
        part = self._part
        size, long = self._limits.split_bytes, self._limits.split_s * NS_PER_S
        lasts_ns = part.contents.end_ns - part.contents.start_ns
        if (size and part.file.tell() >= size) or (long and lasts_ns >= long):
            self.end()
            self._part = _Part(self._path_of(len(self.files)))
            for topic in topics:
                self.channel(topic)

    def end(self) -> None:
        """Close the newest file properly."""
        part = self._part
        part.file.append([closing(part.file.tell(), part.contents)])
        part.file.sync()
        part.file.close()
        for key, channel in part.channels.items():
            self._ended[key] += part.contents.counts.get(channel, 0)
        self.files.append(part.facts())

    def abandon(self) -> None:
        """Close the newest file as it is; idempotent."""
        self._part.file.close()

    def seal(self, stats: Stats) -> None:
        """Close the newest file after a failed write: what that took with it counts as lost."""
        path = self._part.file.path
        contents = seal(path)
        done = Counter(self._ended)
        for number, channel in contents.channels.items():
            schema = contents.schemas[channel.schema_id]
            done[channel.topic, schema.name] += contents.counts.get(number, 0)
        for key, each in stats.items():
            each.lost_recorder += each.messages - done[key]
            each.messages = done[key]
        self.files.append(
            FileFacts(
                path.name, contents.messages, contents.start_ns, contents.end_ns,
                path.stat().st_size,
            )
        )  # fmt: skip

    def as_written(self, stats: Stats) -> list[dict[str, Any]]:
        """The topics with the QoS that their channels carry: readers compare the two."""
        return [
            {
                **each.to_json(),
                "qos": self._registered[key].qos,
                "type_hash": self._registered[key].type_hash,
            }
            for key, each in stats.items()
            if key in self._registered
        ]
