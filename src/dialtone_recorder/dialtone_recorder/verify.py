"""Is an episode what its papers say? Structure, checksums, counts, contents, rosbag2's rules."""

from __future__ import annotations

import os
import zlib
from collections import Counter
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import yaml
from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.records import (
    Channel,
    Chunk,
    Footer,
    McapRecord,
    Message,
    MessageIndex,
    Schema,
    Statistics,
)
from mcap.stream_reader import StreamReader, get_chunk_data_stream

from dialtone_core.errors import DialtoneError
from dialtone_recorder.decode import Decoder
from dialtone_recorder.intake import Intake, read_summary
from dialtone_recorder.rawfile import MESSAGE_HEAD
from dialtone_recorder.reader import DAMAGE, episode_files, resolve


def verify(path: Path | str, advance: Callable[[int], None] = lambda _: None) -> list[str]:
    """Everything that is wrong with an episode, in words that name the file; empty is good.

    ``advance`` is told how many bytes have been read meanwhile.
    """
    path = resolve(path)
    problems: list[str] = []
    total = 0
    for file in episode_files(path):
        try:
            found: list[str] = []
            total += _verify_file(file, found, advance)
            problems += found or _verify_rosbag2(file)
        except OSError as error:
            raise DialtoneError(
                f"cannot read it ({error.strerror})", where=str(file), fix="check the path"
            ) from error
    if path.is_dir():
        problems += _verify_papers(path, total)
    return problems


def _verify_rosbag2(file: Path) -> list[str]:
    """What a ROS 2 reader would stumble over although the bytes are whole."""
    try:
        read_summary(file)
        Intake(file)
    except DialtoneError as error:
        return [str(error)]
    return []


def _verify_file(file: Path, problems: list[str], advance: Callable[[int], None]) -> int:
    """Read every record with its checksum; returns the number of messages read."""
    checked = _Checked()
    at = 0
    with file.open("rb") as stream:
        try:
            for record in StreamReader(stream, emit_chunks=True, validate_crcs=True).records:
                checked.add(record)
                advance(stream.tell() - at)
                at = stream.tell()
            if checked.footer is not None and checked.footer.summary_crc:
                _check_summary(stream, checked.footer)
        except DAMAGE as error:
            why = str(error) or type(error).__name__
            problems.append(f"{file}: offset {stream.tell()}: {why}")
            return sum(checked.counts.values())
    problems += [f"{file}: {each}" for each in checked.verdict()]
    return sum(checked.counts.values())


class _Checked:
    """Counts messages and compares them with what indexes and statistics claim."""

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()
        self.footer: Footer | None = None
        self._statistics: Statistics | None = None
        self._decoder = Decoder()
        self._chunk: dict[int, list[tuple[int, int]]] = {}

    def add(self, record: McapRecord) -> None:
        if isinstance(record, Message):
            self.counts[record.channel_id] += 1
            self._decoder.message(record.channel_id, record.log_time, record.data)
        elif isinstance(record, Schema | Channel):
            self._decoder.learn(record)
        elif isinstance(record, Chunk):
            self._chunk = _messages_of(record, self._decoder)
            for channel, entries in self._chunk.items():
                self.counts[channel] += len(entries)
        elif isinstance(record, MessageIndex):
            if sorted(record.records) != sorted(self._chunk.get(record.channel_id, [])):
                raise ValueError(f"the index of channel {record.channel_id} is wrong")
        elif isinstance(record, Statistics):
            self._statistics = record
        elif isinstance(record, Footer):
            self.footer = record

    def verdict(self) -> list[str]:
        told = self._statistics
        if told is None:
            return ["no statistics, it was not closed"]
        problems = self._decoder.problems()
        counts = {key: count for key, count in told.channel_message_counts.items() if count}
        if counts != dict(self.counts) or told.message_count != sum(self.counts.values()):
            problems.append("statistics and messages differ")
        if told.message_count and not told.chunk_count:
            problems.append("not indexed")
        return problems


def _messages_of(chunk: Chunk, decoder: Decoder) -> dict[int, list[tuple[int, int]]]:
    """(log time, offset) of each message in a chunk by channel; raises on a wrong checksum."""
    stream, size = get_chunk_data_stream(chunk, validate_crc=True)
    found: dict[int, list[tuple[int, int]]] = {}
    while stream.count < size:
        at = stream.count
        opcode, length = stream.read1(), stream.read8()
        body = stream.read(length)
        if opcode == Opcode.MESSAGE:
            channel, _, log_ns, _ = MESSAGE_HEAD.unpack_from(body)
            found.setdefault(channel, []).append((log_ns, at))
            decoder.message(channel, log_ns, body[MESSAGE_HEAD.size :])
        elif opcode == Opcode.SCHEMA:
            decoder.learn(Schema.read(ReadDataStream(BytesIO(body))))
        elif opcode == Opcode.CHANNEL:
            decoder.learn(Channel.read(ReadDataStream(BytesIO(body))))
    return found


def _check_summary(stream: BinaryIO, footer: Footer) -> None:
    """MCAP specification, Footer: the CRC covers the summary and the footer's first fields."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(footer.summary_start)
    if zlib.crc32(stream.read(size - footer.summary_start - 12)) != footer.summary_crc:
        raise ValueError("the summary's checksum is wrong")


def _verify_papers(path: Path, total: int) -> list[str]:
    try:
        text = (path / "metadata.yaml").read_text(encoding="utf-8")
        told = yaml.safe_load(text)["rosbag2_bagfile_information"]["message_count"]
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        return [f"{path / 'metadata.yaml'}: missing or not readable"]
    if told != total:
        return [f"{path / 'metadata.yaml'}: says {told} messages, the files hold {total}"]
    return []
