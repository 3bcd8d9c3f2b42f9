"""Rewriting a recorded file as ``ros2 bag`` wants it: chunked, compressed, indexed.

Message records are copied as bytes, never rebuilt: a file of a million small messages is bound by
that loop. Memory stays at a few chunks whatever the file's size.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

import zstandard
from mcap.opcode import Opcode
from mcap.records import Chunk, ChunkIndex, Metadata, MetadataIndex
from mcap.writer import MCAP0_MAGIC

from dialtone_core.errors import DialtoneError
from dialtone_recorder.rawfile import (
    MESSAGE_HEAD,
    Contents,
    closing,
    header,
    open_raw,
    record,
    records,
)

CHUNK_BYTES = 1 << 20
Advance = Callable[[int], None]
ChannelMetadata = Mapping[tuple[str, str], Mapping[str, str]]
_INDEX_HEAD = struct.Struct("<BQHI")


class _Chunker:
    """Collects records until a chunk is full, then writes it with its message indexes."""

    def __init__(self, out: BinaryIO, channels: ChannelMetadata, advance: Advance) -> None:
        self._advance = advance
        self._channels = channels
        self.contents = Contents()
        self.indexes: list[ChunkIndex] = []
        self._out = out
        self._compress = zstandard.ZstdCompressor(level=1).compress
        self._clear()

    def _clear(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._entries: dict[int, list[int]] = {}
        self._start_ns = 1 << 63
        self._end_ns = 0

    def add(self, opcode: int, head: bytes, body: bytes) -> None:
        if opcode == Opcode.MESSAGE:
            channel, _, log_ns, _ = MESSAGE_HEAD.unpack_from(body)
            entries = self._entries.get(channel)
            if entries is None:
                entries = self._entries[channel] = []
            entries.append(log_ns)
            entries.append(self._size)
            if log_ns < self._start_ns:
                self._start_ns = log_ns
            if log_ns > self._end_ns:
                self._end_ns = log_ns
        else:
            self.contents.add(opcode, body)
            if opcode == Opcode.CHANNEL:
                head, body = self._channel(body)
        self._parts += (head, body)
        self._size += 9 + len(body)
        if self._size >= CHUNK_BYTES:
            self.flush()

    def _channel(self, body: bytes) -> tuple[bytes, bytes]:
        """The channel's record, under the metadata that was known at the end."""
        channel = self.contents.channels[int.from_bytes(body[:2], "little")]
        schema = self.contents.schemas[channel.schema_id]
        channel.metadata = {
            **channel.metadata, **self._channels.get((channel.topic, schema.name), {})
        }  # fmt: skip
        data = record(channel)
        return data[:9], data[9:]

    def flush(self) -> None:
        """Write the chunk; schemas and channels without a message go outside of one."""
        data = b"".join(self._parts)
        self._advance(len(data))
        if not self._entries:
            self._out.write(data)
            self._clear()
            return
        for number, entries in self._entries.items():
            count = len(entries) // 2
            self.contents.counts[number] = self.contents.counts.get(number, 0) + count
            self.contents.extend(count, self._start_ns, self._end_ns)
        compressed = self._compress(data)
        chunk = record(Chunk(
            compression="zstd", data=compressed, message_start_time=self._start_ns,
            message_end_time=self._end_ns, uncompressed_crc=zlib.crc32(data),
            uncompressed_size=len(data),
        ))  # fmt: skip
        at = self._out.tell()
        self._out.write(chunk)
        offsets, index_bytes = self._write_message_indexes(at + len(chunk))
        self.indexes.append(
            ChunkIndex(
                chunk_start_offset=at, chunk_length=len(chunk), compression="zstd",
                compressed_size=len(compressed), uncompressed_size=len(data),
                message_start_time=self._start_ns, message_end_time=self._end_ns,
                message_index_offsets=offsets, message_index_length=index_bytes,
            )
        )  # fmt: skip
        self._clear()

    def _write_message_indexes(self, at: int) -> tuple[dict[int, int], int]:
        """One MessageIndex a channel: (log time, offset in the chunk), as in the specification."""
        offsets: dict[int, int] = {}
        began = at
        for channel, entries in self._entries.items():
            size = len(entries) * 8
            offsets[channel] = at
            self._out.write(
                _INDEX_HEAD.pack(Opcode.MESSAGE_INDEX, size + 6, channel, size)
                + struct.pack(f"<{len(entries)}Q", *entries)
            )
            at += _INDEX_HEAD.size + size
        return offsets, at - began


def compact(
    source: Path,
    target: Path,
    metadata: Mapping[str, Mapping[str, str]],
    channels: ChannelMetadata | None = None,
    advance: Advance = lambda bytes_read: None,
) -> Contents:
    """Write ``source`` (unchunked, sealed or cut) as ``target``: chunked, zstd, indexed.

    ``metadata`` are MCAP metadata records by name; ``channels`` is metadata by topic and type that
    replaces what the file has: a publisher may appear after its channel was written. The target
    is on the disk when this returns; it is made anew, and left behind half when this raises.
    """
    file, size = open_raw(source)
    with file, target.open("wb", buffering=1 << 20) as out:
        out.write(MCAP0_MAGIC)
        out.write(header())
        chunker = _Chunker(out, channels or {}, advance)
        for opcode, start, body in records(file, size):
            if opcode not in (Opcode.HEADER, Opcode.METADATA):
                chunker.add(opcode, start, body)
        chunker.flush()
        indexes = _write_metadata(out, metadata)
        chunker.contents.metadata = len(indexes)
        out.write(closing(out.tell(), chunker.contents, chunker.indexes, indexes))
        out.flush()
        os.fdatasync(out.fileno())
    return chunker.contents


def _write_metadata(
    out: BinaryIO, metadata: Mapping[str, Mapping[str, str]]
) -> list[MetadataIndex]:
    indexes = []
    for name, values in metadata.items():
        data = record(Metadata(name=name, metadata=dict(values)))
        indexes.append(MetadataIndex(offset=out.tell(), length=len(data), name=name))
        out.write(data)
    return indexes


def replace_compacted(
    path: Path,
    metadata: Mapping[str, Mapping[str, str]],
    channels: ChannelMetadata,
    expected: int,
    advance: Advance = lambda bytes_read: None,
) -> int:
    """Compact ``path`` in place, atomically; returns the new size in bytes.

    Raises ``DialtoneError``, leaving ``path`` as it was, when the copy does not hold exactly
    ``expected`` messages.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    contents = compact(path, temporary, metadata, channels, advance)
    if contents.messages != expected:
        temporary.unlink()
        raise DialtoneError(
            f"holds {contents.messages} messages where {expected} were written",
            where=str(path), fix="the unindexed file stays; check the disk",
        )  # fmt: skip
    temporary.replace(path)
    return path.stat().st_size
