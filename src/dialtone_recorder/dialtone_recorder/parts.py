"""The files of an episode while it is written: unchunked MCAP, one after the other.

Unchunked records survive a kill: at most the last one is cut (facts: Writers). One thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, Any, cast

from mcap.writer import CompressionType, IndexType, Writer

from dialtone_core.clock import NS_PER_S
from dialtone_core.sample import Sample
from dialtone_recorder.appendfile import AppendFile
from dialtone_recorder.facts import Limits
from dialtone_recorder.manifest import FileFacts
from dialtone_recorder.rawfile import seal
from dialtone_recorder.stats import TopicStats
from dialtone_recorder.topics import Topic

Stats = Mapping[tuple[str, str], TopicStats]


class _Part:
    """The file being written, and what went into it."""

    def __init__(self, path: Path) -> None:
        self.file = AppendFile(path)
        self.writer = Writer(
            cast(IO[bytes], self.file),
            use_chunking=False,
            compression=CompressionType.NONE,
            index_types=IndexType.NONE,
        )
        self.writer.start("ros2", library="dialtone")
        self.file.flush()
        self.channels: dict[tuple[str, str], int] = {}
        self.schemas: dict[str, int] = {}
        self.messages = 0
        self.start_ns = 0
        self.end_ns = 0

    def facts(self) -> FileFacts:
        return FileFacts(
            self.file.path.name, self.messages, self.start_ns, self.end_ns, self.file.written
        )


class Parts:
    """Writes samples into the newest file; every method but ``bytes`` in the writer's thread."""

    def __init__(self, path_of: Callable[[int], Path], limits: Limits) -> None:
        self.files: list[FileFacts] = []
        self._path_of = path_of
        self._limits = limits
        self._registered: dict[tuple[str, str], Topic] = {}
        self._part = _Part(path_of(0))

    @property
    def bytes(self) -> int:
        """Written and waiting, all files."""
        return sum(each.bytes for each in list(self.files)) + self._part.file.tell()

    @property
    def path(self) -> Path:
        """The file being written."""
        return self._part.file.path

    def write(self, sample: Sample, stats: TopicStats) -> None:
        """Append one message and count it in ``stats``."""
        part = self._part
        channel = part.channels.get((sample.topic, sample.type)) or self.channel(stats.topic)
        seq = (sample.seq or 0) & 0xFFFFFFFF
        part.writer.add_message(
            channel, sample.receive_ns, sample.payload, max(sample.publish_ns, 0), seq
        )
        if not part.messages:
            part.start_ns = part.end_ns = sample.receive_ns
        else:
            part.start_ns = min(part.start_ns, sample.receive_ns)
            part.end_ns = max(part.end_ns, sample.receive_ns)
        part.messages += 1
        stats.update(sample.receive_ns, sample.publish_ns, seq, len(sample.payload))

    def channel(self, topic: Topic) -> int:
        """The channel of ``topic`` in the newest file, written there when it is new."""
        part = self._part
        if topic.key in part.channels:
            return part.channels[topic.key]
        schema = part.schemas.get(topic.type)
        if schema is None:
            schema = part.writer.register_schema(
                topic.type, "ros2msg", (topic.definition or "").encode()
            )
            part.schemas[topic.type] = schema
        self._registered.setdefault(topic.key, topic)
        metadata = self._registered[topic.key].channel_metadata()
        channel = part.writer.register_channel(topic.name, "cdr", schema, metadata)
        part.channels[topic.key] = channel
        return channel

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
        if (size and part.file.tell() >= size) or (long and part.end_ns - part.start_ns >= long):
            self.end()
            self._part = _Part(self._path_of(len(self.files)))
            for topic in topics:
                self.channel(topic)

    def end(self) -> None:
        """Close the newest file properly."""
        self._part.writer.finish()  # type: ignore[no-untyped-call]
        self._part.file.sync()
        self._part.file.close()
        self.files.append(self._part.facts())

    def abandon(self) -> None:
        """Close the newest file as it is; idempotent."""
        self._part.file.close()

    def seal(self, stats: Stats) -> None:
        """Close the newest file after a failed write: what that took with it counts as lost."""
        path = self._part.file.path
        contents = seal(path)
        done: dict[tuple[str, str], int] = {}
        for number, channel in contents.channels.items():
            schema = contents.schemas[channel.schema_id]
            done[channel.topic, schema.name] = contents.counts.get(number, 0)
        if not self.files:
            for key, each in stats.items():
                each.lost_recorder += each.messages - done.get(key, 0)
                each.messages = done.get(key, 0)
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
