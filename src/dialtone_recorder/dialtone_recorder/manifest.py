"""The two papers of an episode: rosbag2's ``metadata.yaml`` and Dialtone's ``episode.json``."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import orjson
import yaml

from dialtone_core.clock import NS_PER_S
from dialtone_core.errors import DialtoneError

FORMAT = "dialtone.episode/1"
#: Suffix of a folder that is being written or waits for recovery.
RECORDING = ".recording"


@dataclass(frozen=True, slots=True)
class FileFacts:
    """One file of an episode; stamps are Unix epoch ns, 0 where it holds no message."""

    path: str
    messages: int
    start_ns: int
    end_ns: int
    bytes: int = 0


def slug(text: str) -> str:
    """``Pick up the cup!`` → ``pick-up-the-cup``; at most 40 characters, maybe none."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower())[:40].strip("-")


def episode_name(wall_ns: int, robot: str, task: str = "") -> str:
    """``20261121-093015_rover_pick-up-the-cup``: sorts by time, tells what it is."""
    stamp = datetime.fromtimestamp(wall_ns // NS_PER_S, timezone.utc).strftime("%Y%m%d-%H%M%S")
    return "_".join(each for each in (stamp, robot, slug(task)) if each)


def bag_metadata(
    topics: Sequence[Mapping[str, Any]], files: Sequence[FileFacts], custom: Mapping[str, str]
) -> dict[str, Any]:
    """The mapping under ``rosbag2_bagfile_information``, version 9.

    ``topics`` are entries of ``episode.json``. Version 9 means QoS profiles as a list with words
    for enums (source: rosbag2's metadata_io).
    """
    started = [each.start_ns for each in files if each.messages]
    ended = [each.end_ns for each in files if each.messages]
    return {
        "version": 9,
        "storage_identifier": "mcap",
        "duration": {"nanoseconds": max(ended) - min(started) if started else 0},
        "starting_time": {"nanoseconds_since_epoch": min(started, default=0)},
        "message_count": sum(each.messages for each in files),
        "topics_with_message_count": [_topic(each) for each in topics],
        "compression_format": "",
        "compression_mode": "",
        "relative_file_paths": [each.path for each in files],
        "files": [
            {
                "path": each.path,
                "starting_time": {"nanoseconds_since_epoch": each.start_ns},
                "duration": {"nanoseconds": each.end_ns - each.start_ns},
                "message_count": each.messages,
            }
            for each in files
        ],
        "custom_data": dict(custom) or None,
        "ros_distro": os.environ.get("ROS_DISTRO", ""),
    }


def _topic(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "topic_metadata": {
            "name": entry["name"],
            "type": entry["type"],
            "serialization_format": "cdr",
            "offered_qos_profiles": list(entry["qos"]),
            "type_description_hash": entry["type_hash"],
        },
        "message_count": entry["messages"],
    }


def to_yaml(value: Mapping[str, Any]) -> str:
    class Plain(yaml.SafeDumper):
        """Writes a repeated part out again: other YAML readers choke on anchors."""

        def ignore_aliases(self, data: Any) -> bool:
            return True

    text: str = yaml.dump(dict(value), Dumper=Plain, sort_keys=False)
    return text


def write_bag_metadata(folder: Path, metadata: Mapping[str, Any]) -> None:
    """Write ``metadata.yaml`` atomically."""
    write_file(
        folder / "metadata.yaml",
        to_yaml({"rosbag2_bagfile_information": dict(metadata)}).encode(),
    )


def write_episode(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write ``episode.json`` atomically."""
    text = orjson.dumps(dict(facts), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    write_file(folder / "episode.json", text)


def read_episode(folder: Path) -> dict[str, Any]:
    """``episode.json`` of ``folder``; raises ``DialtoneError`` where it is missing or broken."""
    path = folder / "episode.json"
    try:
        facts = orjson.loads(path.read_bytes())
    except OSError as error:
        raise DialtoneError(
            f"cannot read it ({error.strerror})", where=str(path), fix="give an episode's folder"
        ) from error
    except orjson.JSONDecodeError as error:
        raise DialtoneError(
            f"not JSON: {error.msg}", where=f"{path}: offset {error.pos}",
            fix="remove it; its facts can be rebuilt",
        ) from error  # fmt: skip
    if not isinstance(facts, dict):
        raise DialtoneError("no JSON object", where=f"{path}: offset 0", fix="remove it")
    return facts


def write_file(path: Path, data: bytes) -> None:
    """Replace ``path`` so that a reader sees the old or the new, also after a power cut."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def sync_folder(folder: Path) -> None:
    """Make the folder's names durable: a rename is only then."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
