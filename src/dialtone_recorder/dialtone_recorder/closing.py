"""From a recorded folder to an episode: index its files, then give it its name.

``python -m dialtone_recorder.closing FOLDER`` does the indexing in a process of its own, at low
priority: a gigabyte takes seconds of CPU that the next recording must not miss.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mcap.opcode import Opcode

from dialtone_core.errors import DialtoneError
from dialtone_recorder.compact import Advance, replace_compacted
from dialtone_recorder.manifest import (
    RECORDING,
    FileFacts,
    bag_metadata,
    read_episode,
    sync_folder,
    to_yaml,
    write_bag_metadata,
    write_episode,
)
from dialtone_recorder.rawfile import read_contents
from dialtone_recorder.topics import channel_metadata

NICE = 10
#: glibc's mallopt numbers (malloc.h), and how much freed memory this process keeps to itself.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 32 << 20


def index_episode(folder: Path, advance: Advance = lambda bytes_read: None) -> None:
    """Rewrite each file of ``folder`` chunked, compressed and indexed, in place and atomically.

    ``advance`` hears how many bytes were done. Killed at any moment it leaves readable files and
    can be run again. Raises ``DialtoneError``
    and ``OSError``.
    """
    facts = read_episode(folder)
    clean(folder)
    metadata = metadata_of(facts)
    record = {"rosbag2": {"serialized_metadata": to_yaml(metadata)}}
    channels = {
        (each["name"], each["type"]): channel_metadata(each["qos"], each["type_hash"])
        for each in facts["topics"]
    }
    for entry in facts["files"]:
        path = folder / entry["path"]
        if not is_chunked(path):
            entry["bytes"] = replace_compacted(path, record, channels, entry["messages"], advance)
    facts["indexed"] = True
    write_bag_metadata(folder, metadata)
    write_episode(folder, facts)


def is_chunked(path: Path) -> bool:
    """Whether ``path`` has been rewritten: the first thing behind its header is a chunk."""
    contents = read_contents(path)
    with path.open("rb") as file:
        file.seek(contents.end_offset)
        return contents.messages == 0 and file.read(1) == bytes([Opcode.CHUNK])


def metadata_of(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The rosbag2 metadata that ``episode.json`` amounts to."""
    files = [FileFacts(**each) for each in facts["files"]]
    custom = {
        f"dialtone.{key}": str(facts.get(key, ""))
        for key in ("robot", "task", "operator", "outcome", "recovered")
        if facts.get(key)
    }
    return bag_metadata(facts["topics"], files, custom)


def publish(folder: Path) -> Path:
    """Mark ``folder`` closed and take ``.recording`` off its name; returns the new path.

    An episode whose name is taken (recovered after a restore from backup) gets a number.
    """
    facts = read_episode(folder)
    facts["state"] = "closed"
    clean(folder)
    write_episode(folder, facts)
    target = free_name(folder.with_name(folder.name.removesuffix(RECORDING)))
    folder.rename(target)
    sync_folder(target.parent)
    return target


def free_name(target: Path) -> Path:
    """``target``, or ``target-2``, ``-3``, … when it or its recording exists."""
    number = 1
    path = target
    while path.exists() or (path != target and path.with_name(path.name + RECORDING).exists()):
        number += 1
        path = target.with_name(f"{target.name}-{number}")
    return path


def clean(folder: Path) -> None:
    """Remove what an interrupted rewrite left behind."""
    for path in folder.glob(".*.tmp"):
        path.unlink()
    (folder / ".reserve").unlink(missing_ok=True)


def be_humble() -> None:
    """Give way to recordings, and keep freed memory.

    A chunk is a megabyte, which glibc would give back and fetch anew page by page: half of the
    CPU time of indexing. Another C library does as it likes.
    """
    os.nice(NICE)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)


def main() -> None:
    """Index the folder named on the command line; one line on stderr and 2 on failure."""
    be_humble()
    try:
        index_episode(Path(sys.argv[1]))
    except (DialtoneError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
