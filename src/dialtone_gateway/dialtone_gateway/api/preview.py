"""One picture out of the middle of an episode."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from pathlib import Path

from dialtone_core.cdr import read_compressed_image
from dialtone_core.errors import WireError

_MOST_KEPT = 32
_TYPE = "sensor_msgs/msg/CompressedImage"


class Previews:
    """Keeps the last few; one is looked for at a time."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._lock = asyncio.Lock()

    async def get(self, folder: Path) -> bytes | None:
        """The picture of the episode in ``folder``, or ``None`` where it has none."""
        async with self._lock:
            kept = self._kept.get(folder.name)
            if kept is None:
                kept = await asyncio.to_thread(find_picture, folder)
                if kept is not None:
                    self._kept[folder.name] = kept
            while len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
            return kept


def find_picture(folder: Path) -> bytes | None:
    """A JPEG near the middle, found by the file's index; ``None`` where there is none.

    ``mcap`` is imported here: it brings its decompressors, which an idle gateway does not need.
    """
    from mcap.exceptions import McapError
    from mcap.reader import SeekingReader

    for path in sorted(folder.glob("*.mcap")):
        try:
            with path.open("rb") as file:
                reader = SeekingReader(file)
                picture = _middle(reader)
        except (McapError, OSError, ValueError, EOFError):
            continue
        if picture is not None:
            return picture
    return None


def _middle(reader: object) -> bytes | None:
    from mcap.reader import SeekingReader

    assert isinstance(reader, SeekingReader)
    summary = reader.get_summary()
    if summary is None or summary.statistics is None:
        return None
    names = {schema.id for schema in summary.schemas.values() if schema.name == _TYPE}
    topics = [each.topic for each in summary.channels.values() if each.schema_id in names]
    if not topics:
        return None
    facts = summary.statistics
    middle_ns = (facts.message_start_time + facts.message_end_time) // 2
    for start_ns in (middle_ns, facts.message_start_time):
        for _, _, message in reader.iter_messages(topics=topics[:1], starting_at=start_ns):
            try:
                view = read_compressed_image(message.data)
            except WireError:
                return None
            picture = message.data[view.start : view.stop]
            return picture if picture.startswith(b"\xff\xd8") else None
    return None
