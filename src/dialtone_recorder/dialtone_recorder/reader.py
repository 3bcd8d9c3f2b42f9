"""Reading episodes: folders of ours, other rosbag2 folders, or a bare MCAP file."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import yaml
import zstandard
from mcap.exceptions import McapError
from mcap.reader import make_reader

from dialtone_core.errors import DialtoneError
from dialtone_recorder.manifest import RECORDING

#: What the library raises on damaged bytes, beside its own errors.
DAMAGE = (
    McapError,
    zstandard.ZstdError,
    struct.error,
    ValueError,
    LookupError,
    EOFError,
    MemoryError,
    OverflowError,
)


class Recorded(NamedTuple):
    """One message of an episode; stamps are Unix epoch ns, ``data`` is CDR."""

    topic: str
    type: str
    log_ns: int
    publish_ns: int
    sequence: int
    data: bytes


def resolve(path: Path | str) -> Path:
    """``path``, or the folder of that name whose closing has not ended yet."""
    path = Path(path)
    waiting = path.with_name(path.name + RECORDING)
    return waiting if not path.exists() and waiting.exists() else path


def episode_files(path: Path | str) -> list[Path]:
    """The MCAP files of an episode in order; ``path`` may be one itself."""
    path = resolve(path)
    if path.is_file():
        return [path]
    try:
        text = (path / "metadata.yaml").read_text(encoding="utf-8")
        bag = yaml.safe_load(text)["rosbag2_bagfile_information"]
        files = [path / Path(name).name for name in bag["relative_file_paths"]]
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        files = sorted(path.glob("*.mcap"))
    if not files:
        raise DialtoneError(
            "no episode", where=str(path), fix="give an episode's folder or a .mcap"
        )
    return files


def episode_counts(path: Path | str) -> dict[str, int]:
    """Messages a topic, zeros included, from the files' statistics.

    Raises ``DialtoneError`` where a file is not readable or has no statistics.
    """
    counts: dict[str, int] = {}
    for file in episode_files(path):
        try:
            with file.open("rb") as stream:
                summary = make_reader(stream).get_summary()
        except (OSError, *DAMAGE) as error:
            raise _unreadable(file, error) from error
        if summary is None or summary.statistics is None:
            raise DialtoneError(
                "has no statistics: it was not closed", where=str(file),
                fix="dialtone episodes recover",
            )  # fmt: skip
        for number, channel in summary.channels.items():
            count = summary.statistics.channel_message_counts.get(number, 0)
            counts[channel.topic] = counts.get(channel.topic, 0) + count
    return counts


def episode_messages(path: Path | str, topics: list[str] | None = None) -> Iterator[Recorded]:
    """Every message (of ``topics``) in log-time order within each file.

    Raises ``DialtoneError`` at the message that cannot be read.
    """
    for file in episode_files(path):
        try:
            with file.open("rb") as stream:
                for schema, channel, message in make_reader(stream).iter_messages(topics):
                    yield Recorded(
                        channel.topic,
                        schema.name if schema else "",
                        message.log_time,
                        message.publish_time,
                        message.sequence,
                        message.data,
                    )
        except (OSError, *DAMAGE) as error:
            raise _unreadable(file, error) from error


def _unreadable(file: Path, error: Exception) -> DialtoneError:
    why = str(error) or type(error).__name__
    return DialtoneError(f"not readable: {why}", where=str(file), fix="dialtone episodes recover")
