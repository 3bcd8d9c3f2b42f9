"""Episodes that nobody closed: the recorder was killed, the power went, the disk was full.

``python -m dialtone_recorder.recover DIRECTORY`` recovers all of them and prints a JSON line each.
"""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import yaml
from mcap.opcode import Opcode
from mcap.writer import MCAP0_MAGIC

from dialtone_core.errors import DialtoneError
from dialtone_recorder.closing import (
    be_humble,
    clean,
    index_episode,
    is_chunked,
    metadata_of,
    publish,
)
from dialtone_recorder.compact import Advance
from dialtone_recorder.intake import PROFILES
from dialtone_recorder.manifest import (
    FORMAT,
    RECORDING,
    read_episode,
    write_bag_metadata,
    write_episode,
)
from dialtone_recorder.rawfile import (
    MESSAGE_HEAD,
    Contents,
    goes_on,
    open_raw,
    read_contents,
    records,
    seal,
)
from dialtone_recorder.stats import TopicStats
from dialtone_recorder.topics import Topic


def orphans(directory: Path) -> list[Path]:
    """Folders under ``directory`` that are still named as being recorded, oldest first."""
    return sorted(path for path in directory.glob(f"*{RECORDING}") if path.is_dir())


def unindexed(directory: Path) -> list[Path]:
    """Closed episodes whose index was put off because the node had to end."""
    found = []
    for path in sorted(directory.glob("*/episode.json")):
        folder = path.parent
        if folder.name.endswith(RECORDING):
            continue
        try:
            facts = read_episode(folder)
        except DialtoneError:
            continue
        if facts.get("format") == FORMAT and facts.get("indexed") is False:
            found.append(folder)
    return found


@contextmanager
def claimed(folder: Path) -> Iterator[bool]:
    """Hold the folder's lock; yields ``False`` when a live recorder does."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(handle)


def recover(folder: Path, advance: Advance = lambda bytes_read: None) -> Path | None:
    """Turn an orphan into an episode; ``None`` when it is being recorded by a live process.

    Every whole record of its files is kept. ``episode.json`` says ``recovered``. A folder without
    any readable file raises ``DialtoneError`` and stays as it is.
    """
    with claimed(folder) as free:
        if not free:
            return None
        clean(folder)
        facts = _facts(folder)
        if facts.get("state") != "closing":
            _rebuild(folder, facts, advance)
        index_episode(folder, advance)
        return publish(folder)


def _facts(folder: Path) -> dict[str, Any]:
    try:
        return read_episode(folder)
    except DialtoneError:
        name = folder.name.removesuffix(RECORDING)
        return {"format": FORMAT, "name": name, "topics": []}


def _rebuild(folder: Path, facts: dict[str, Any], advance: Advance) -> None:
    """Seal the files and count again; whatever was only in the recorder's memory is unknown."""
    known = {(each["name"], each["type"]): each for each in facts.get("topics", [])}
    stats: dict[tuple[str, str], TopicStats] = {}
    files: list[dict[str, Any]] = []
    for path in sorted(folder.glob("*.mcap")):
        if path.stat().st_size == 0:  # a power cut before the first flush reached the disk
            path.write_bytes(MCAP0_MAGIC)
        if is_chunked(path):
            raise DialtoneError(
                "its papers are lost, but it is indexed", where=str(path),
                fix="it reads as it is: move it out of the folder",
            )  # fmt: skip
        _check(path)
        contents = seal(path)
        _count(path, contents, known, stats)
        advance(path.stat().st_size)
        files.append(
            {"path": path.name, "messages": contents.messages, "start_ns": contents.start_ns,
             "end_ns": contents.end_ns, "bytes": path.stat().st_size}
        )  # fmt: skip
    if not files:
        raise DialtoneError("no file to recover", where=str(folder), fix="remove it")
    used = [each for each in files if each["messages"]]
    start = min((each["start_ns"] for each in used), default=0)
    end = max((each["end_ns"] for each in used), default=0)
    topics = [each.to_json() for each in stats.values()]
    lost = sum(each["lost_transport"] or 0 for each in topics)
    facts.update(
        state="closing", recovered=True, indexed=False, closed_by="killed",
        started_ns=facts.get("started_ns") or start, ended_ns=end,
        duration_s=round((end - start) / 1e9, 3), files=files, topics=topics,
        messages=sum(each["messages"] for each in files),
        lost_recorder=None, lost_transport=lost,
    )  # fmt: skip
    write_bag_metadata(folder, metadata_of(facts))
    write_episode(folder, facts)


def _check(path: Path) -> None:
    """Refuse what sealing would spoil: another format's file, or one that was damaged."""
    contents = read_contents(path)
    encodings = {each.message_encoding for each in contents.channels.values()} - {"cdr"}
    if contents.profile not in PROFILES or encodings:
        told = (
            f"encoding {encodings.pop()!r:.60}" if encodings else f"profile {contents.profile!r}"
        )
        raise DialtoneError(
            f"{told}: no recording of ROS 2", where=f"{path}: offset 8",
            fix="move it out of the folder",
        )  # fmt: skip
    at = goes_on(path, contents)
    if at is not None:
        raise DialtoneError(
            f"damaged: no record can be read here, and whole ones follow at {at}",
            where=f"{path}: offset {contents.end_offset}",
            fix="it stays as it is: restore it from a backup, or move it out of the folder",
        )  # fmt: skip


def _count(
    path: Path,
    contents: Contents,
    known: dict[tuple[str, str], dict[str, Any]],
    stats: dict[tuple[str, str], TopicStats],
) -> None:
    by_channel: dict[int, TopicStats] = {}
    for number, channel in contents.channels.items():
        schema = contents.schemas[channel.schema_id]
        key = (channel.topic, schema.name)
        profiles = yaml.safe_load(channel.metadata.get("offered_qos_profiles", "")) or []
        told = known.get(key, {})
        topic = Topic(
            channel.topic, schema.name, schema.data.decode() or None, tuple(profiles),
            channel.metadata.get("topic_type_hash", ""), told.get("latched", False),
            told.get("publishers", 1),
        )  # fmt: skip
        by_channel[number] = stats.setdefault(key, TopicStats(topic))
    file, size = open_raw(path)
    with file:
        for opcode, _, body in records(file, size):
            if opcode == Opcode.MESSAGE:
                number, seq, log_ns, publish_ns = MESSAGE_HEAD.unpack_from(body)
                by_channel[number].update(log_ns, publish_ns, seq, len(body) - MESSAGE_HEAD.size)


def work(directory: Path) -> int:
    """Bytes to go through: an orphan's are counted and then indexed."""
    sizes = [
        times * sum(path.stat().st_size for path in folder.glob("*.mcap"))
        for times, folders in ((2, orphans(directory)), (1, unindexed(directory)))
        for folder in folders
    ]
    return sum(sizes)


def recover_all(
    directory: Path, advance: Advance = lambda bytes_read: None
) -> Iterator[dict[str, Any]]:
    """Recover every orphan and index what was put off; yields what became of each.

    ``advance`` hears of bytes, at most ``work`` of them.
    """
    for folder in orphans(directory):
        try:
            path = recover(folder, advance)
        except (DialtoneError, OSError, ValueError) as error:
            yield {"folder": str(folder), "error": str(error)}
            continue
        if path is not None:
            facts = read_episode(path)
            yield {"folder": str(folder), "path": str(path), "messages": facts["messages"]}
    for folder in unindexed(directory):
        with claimed(folder) as free:
            if not free:
                continue
            try:
                index_episode(folder, advance)
            except (DialtoneError, OSError) as error:
                yield {"folder": str(folder), "error": str(error)}


def main() -> None:
    """Recover the folder named on the command line; a JSON line on stdout for each."""
    be_humble()
    for told in recover_all(Path(sys.argv[1])):
        sys.stdout.write(orjson.dumps(told).decode() + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
