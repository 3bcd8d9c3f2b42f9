"""Reading an unchunked MCAP that may end anywhere, and putting a proper end to it.

Records are ``opcode u8, length u64, body`` (MCAP specification, "Records"). A file of a killed
recorder ends in the middle of one; after a power cut its tail may be zeros.
"""

from __future__ import annotations

import mmap
import os
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from mcap.data_stream import ReadDataStream, RecordBuilder
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import (
    Channel,
    ChunkIndex,
    DataEnd,
    Footer,
    Header,
    McapRecord,
    MetadataIndex,
    Schema,
    Statistics,
    SummaryOffset,
)
from mcap.writer import MCAP0_MAGIC

from dialtone_core.errors import DialtoneError

_HEAD = struct.Struct("<BQ")
MESSAGE_HEAD = struct.Struct("<HIQQ")
#: What may be the beginning of a message record below 4 GiB.
_MAYBE_MESSAGE = re.compile(rb"\x05(?=.{4}\0{4})", re.DOTALL)
#: Data records and the least that each is long. After a power cut a head's own end may be zeros.
_SHORTEST: dict[int, int] = {
    Opcode.HEADER: 8, Opcode.SCHEMA: 14, Opcode.CHANNEL: 16, Opcode.MESSAGE: 22,
    Opcode.METADATA: 8,
}  # fmt: skip


def records(file: BinaryIO, size: int) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield (opcode, head, body) of each whole data record; stop at the first that is not one.

    ``file`` stands behind the magic. After the last record ``file.tell()`` lies behind what was
    read, so callers count lengths themselves.
    """
    at = file.tell()
    while True:
        head = file.read(9)
        if len(head) < 9:
            return
        opcode, length = _HEAD.unpack(head)
        if length < _SHORTEST.get(opcode, 1 << 64) or at + 9 + length > size:
            return
        body = file.read(length)
        at += 9 + length
        yield opcode, head, body


def open_raw(path: Path) -> tuple[BinaryIO, int]:
    """Open for ``records``: the file behind its magic, and its size; raises ``DialtoneError``."""
    try:
        file = path.open("rb", buffering=1 << 20)
    except OSError as error:
        raise DialtoneError(
            f"cannot read it ({error.strerror})", where=str(path), fix="check the path"
        ) from error
    if file.read(8) != MCAP0_MAGIC:
        file.close()
        raise DialtoneError(
            "no MCAP file: its first 8 bytes are not the magic", where=f"{path}: offset 0",
            fix="it cannot be recovered; remove it",
        )  # fmt: skip
    return file, os.fstat(file.fileno()).st_size


@dataclass(slots=True)
class Contents:
    """What the data section of a file holds, and where its last whole record ends."""

    schemas: dict[int, Schema] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    counts: dict[int, int] = field(default_factory=dict)
    messages: int = 0
    start_ns: int = 0
    end_ns: int = 0
    metadata: int = 0
    end_offset: int = 8
    header: bool = False
    profile: str = "ros2"

    def extend(self, messages: int, start_ns: int, end_ns: int) -> None:
        """Note so many messages of this time; ``counts`` is the caller's."""
        self.start_ns = min(self.start_ns, start_ns) if self.messages else start_ns
        self.end_ns = max(self.end_ns, end_ns) if self.messages else end_ns
        self.messages += messages

    def add(self, opcode: int, body: bytes) -> None:
        """Note a schema, a channel or a message."""
        if opcode == Opcode.MESSAGE:
            channel, _, log_ns, _ = MESSAGE_HEAD.unpack_from(body)
            if channel not in self.channels:
                raise LookupError(f"no channel {channel}")
            self.counts[channel] = self.counts.get(channel, 0) + 1
            self.extend(1, log_ns, log_ns)
        elif opcode == Opcode.SCHEMA:
            schema = Schema.read(ReadDataStream(BytesIO(body)))
            self.schemas[schema.id] = schema
        elif opcode == Opcode.CHANNEL:
            channel_record = Channel.read(ReadDataStream(BytesIO(body)))
            if channel_record.schema_id and channel_record.schema_id not in self.schemas:
                raise LookupError(f"no schema {channel_record.schema_id}")
            self.channels[channel_record.id] = channel_record
        elif opcode == Opcode.METADATA:
            self.metadata += 1
        elif opcode == Opcode.HEADER:
            self.header = True
            self.profile = Header.read(ReadDataStream(BytesIO(body))).profile

    def statistics(self, chunks: int = 0) -> Statistics:
        return Statistics(
            attachment_count=0,
            channel_count=len(self.channels),
            channel_message_counts=self.counts,
            chunk_count=chunks,
            message_count=self.messages,
            message_end_time=self.end_ns,
            message_start_time=self.start_ns,
            metadata_count=self.metadata,
            schema_count=len(self.schemas),
        )


def finished(build: RecordBuilder) -> bytes:
    """The bytes built so far; the builder is empty afterwards."""
    data: bytes = build.end()  # type: ignore[no-untyped-call]
    return data


def record(of: McapRecord) -> bytes:
    """``of`` as it stands in a file, with its opcode and length."""
    build = RecordBuilder()
    of.write(build)
    return finished(build)


def header() -> bytes:
    """The header record of a file that ROS reads."""
    return record(Header("ros2", "dialtone"))


def closing(
    at: int,
    contents: Contents,
    chunks: list[ChunkIndex] | None = None,
    metadata: list[MetadataIndex] | None = None,
) -> bytes:
    """Everything from DataEnd to the last magic, for a data section that ends at ``at``."""
    data_end = record(DataEnd(0))
    start = at + len(data_end)
    summary = RecordBuilder()
    offsets: list[SummaryOffset] = []
    groups: list[tuple[Opcode, list[McapRecord]]] = [
        (Opcode.SCHEMA, list(contents.schemas.values())),
        (Opcode.CHANNEL, list(contents.channels.values())),
        (Opcode.STATISTICS, [contents.statistics(len(chunks or []))]),
        (Opcode.CHUNK_INDEX, list(chunks or [])),
        (Opcode.METADATA_INDEX, list(metadata or [])),
    ]
    for opcode, group in groups:
        began = summary.count
        for each in group:
            each.write(summary)
        if summary.count > began:
            offsets.append(SummaryOffset(opcode, start + began, summary.count - began))
    offset_start = start + summary.count
    for offset in offsets:
        offset.write(summary)
    body = finished(summary)
    crc = zlib.crc32(
        struct.pack("<BQQQ", Opcode.FOOTER, 20, start, offset_start), zlib.crc32(body)
    )
    footer = Footer(summary_start=start, summary_offset_start=offset_start, summary_crc=crc)
    return data_end + body + record(footer) + MCAP0_MAGIC


def read_contents(path: Path) -> Contents:
    """Scan an unchunked file to its last whole record."""
    file, size = open_raw(path)
    contents = Contents()
    with file:
        for opcode, head, body in records(file, size):
            try:
                contents.add(opcode, body)
            except (McapError, struct.error, ValueError, LookupError):
                break  # zeros that a power cut left in the last record
            contents.end_offset += len(head) + len(body)
    return contents


def goes_on(path: Path, contents: Contents) -> int | None:
    """Where whole messages lie behind the last record that could be read; ``None`` for nowhere.

    A killed recorder and a power cut leave half a record or zeros. Whole messages behind what is
    no record mean that the file was damaged, and must not be cut off.
    """
    size = path.stat().st_size
    if size <= contents.end_offset:
        return None
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for found in _MAYBE_MESSAGE.finditer(data, contents.end_offset + 1):
            at = found.start()
            after = _message_end(data, at, size, contents)
            if after == size or (after and _message_end(data, after, size, contents)):
                return at
    return None


def _message_end(data: mmap.mmap, at: int, size: int, contents: Contents) -> int:
    """Behind the message at ``at``; 0 where no whole message of a known channel lies there."""
    if at + 9 + MESSAGE_HEAD.size > size:
        return 0
    opcode, length = _HEAD.unpack_from(data, at)
    channel, _, log_ns, _ = MESSAGE_HEAD.unpack_from(data, at + 9)
    known = opcode == Opcode.MESSAGE and channel in contents.channels and log_ns > 0
    end: int = at + 9 + length
    return end if known and length >= MESSAGE_HEAD.size and end <= size else 0


def seal(path: Path) -> Contents:
    """Cut an unchunked file after its last whole record and close it properly, in place.

    Afterwards every reader takes it. Idempotent: sealing a sealed file writes the same end. One
    that was cut before its header was whole holds nothing then.
    """
    contents = read_contents(path)
    with path.open("r+b") as file:
        file.truncate(contents.end_offset)
        file.seek(contents.end_offset)
        if not contents.header:
            head = header()
            file.write(head)
            contents.end_offset += len(head)
            contents.header = True
        file.write(closing(contents.end_offset, contents))
        file.flush()
        os.fdatasync(file.fileno())
    return contents
