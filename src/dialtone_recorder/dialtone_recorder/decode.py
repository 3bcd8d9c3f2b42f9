"""Is every message what its definition says? Walked field by field, from the file alone."""

from __future__ import annotations

from collections import Counter

from mcap.records import Channel, Schema

from dialtone_core.errors import WireError
from dialtone_recorder.rosmsg import Reader, parse

#: So many of a topic's broken messages are named one by one.
_NAMED = 3


class Decoder:
    """Learns schemas and channels, then checks messages; types without a definition pass."""

    def __init__(self) -> None:
        self._schemas: dict[int, Schema] = {}
        self._readers: dict[int, Reader | None] = {}
        self._names: dict[int, str] = {}
        self._broken: Counter[int] = Counter()
        self._problems: list[str] = []

    def learn(self, record: Schema | Channel) -> None:
        """Note a schema, or compile a channel's; again for the same one is nothing new."""
        if isinstance(record, Schema):
            self._schemas[record.id] = record
        elif record.id not in self._names:
            self._names[record.id] = record.topic
            self._readers[record.id] = self._compile(record)

    def _compile(self, channel: Channel) -> Reader | None:
        schema = self._schemas.get(channel.schema_id)
        if schema is None or schema.encoding != "ros2msg" or channel.message_encoding != "cdr":
            return None
        if not schema.data:
            return None
        try:
            return Reader(parse(schema.name, schema.data.decode()), [])
        except (ValueError, KeyError) as error:
            self._problems.append(f"{channel.topic}: definition of {schema.name}: {error}")
            return None

    def message(self, channel: int, log_ns: int, data: bytes) -> None:
        """Walk one message."""
        if channel not in self._names:
            raise ValueError(f"a message of channel {channel}, which the file does not have")
        reader = self._readers[channel]
        if reader is None:
            return
        try:
            reader.read(data)
        except WireError as error:
            self._broken[channel] += 1
            if self._broken[channel] <= _NAMED:
                name = self._names[channel]
                self._problems.append(f"{name}: message received at {log_ns}: {error}")

    def problems(self) -> list[str]:
        """What was found, in words."""
        more = [
            f"{self._names[channel]}: {count} messages are broken"
            for channel, count in self._broken.items()
            if count > _NAMED
        ]
        return self._problems + more
