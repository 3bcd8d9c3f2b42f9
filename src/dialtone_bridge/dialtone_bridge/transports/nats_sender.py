"""Telemetry on its way to NATS: what waits in the lanes becomes frames at the client's socket."""

from __future__ import annotations

import asyncio
import time

from nats.aio.client import Client

from dialtone_bridge.stats import Refusals
from dialtone_bridge.transports.base import Log
from dialtone_bridge.transports.nats_sink import Frame, NatsSink
from dialtone_core.chunks import CHUNK_BYTES, split
from dialtone_core.delivery import Lane, Outbox
from dialtone_core.errors import WireError
from dialtone_core.natslink import flush_frames, publish_frame
from dialtone_core.sample import Sample

#: How much may wait between the lanes and the socket.
_AHEAD_BYTES = 256 * 1024
#: What headers may take of ``max_payload``.
HEADER_ROOM = 1024


class NatsSender:
    """On the loop. Without a ``client``, or a link of its, what comes is dropped and counted."""

    def __init__(self, log: Log) -> None:
        self.client: Client | None = None
        self.outbox: Outbox[Sample] = Outbox()
        self.sinks: dict[Lane[Sample], NatsSink] = {}
        self._log = log
        self._sent = 0
        self._offline = 0
        self._oversize: dict[str, int] = {}
        self._dropped_oversize = 0
        self._malformed = Refusals()

    async def run(self) -> None:
        """Send what the lanes hold until cancelled."""
        while True:
            await self.outbox.wait()
            waiting = 0
            for lane, sample in self.outbox.drain(max_bytes=_AHEAD_BYTES):
                sink = self.sinks.get(lane)
                if sink is not None:
                    waiting = self._send(sink, sample)
            if waiting and self.client is not None:
                # Ahead of the socket by more than that, what waits stays in the lanes, where the
                # routes' bounds and priorities hold.
                await flush_frames(self.client, waiting > _AHEAD_BYTES)
            await asyncio.sleep(0)  # the command connection's turn, however much waits here

    async def fill_last(self) -> None:
        """The bucket of newest messages is new: what is latched belongs into it."""
        client = self.client
        if client is None or not client.is_connected:
            return
        for sink in list(self.sinks.values()):
            if sink.last_frame is not None:
                publish_frame(client, sink.last_subject, *sink.last_frame)
        await flush_frames(client, wait=True)

    def figures(self) -> dict[str, object]:
        """For diagnostics: what was sent, and what was not and why."""
        return {
            "sent": self._sent,
            "dropped_offline": self._offline,
            "dropped_slow": sum(lane.dropped for lane in self.outbox.lanes),
            "oversize": sum(self._oversize.values()),
            "dropped_oversize": self._dropped_oversize,
            "dropped_malformed": self._malformed.total(),
        }

    def _send(self, sink: NatsSink, sample: Sample) -> int:
        """Queue one sample at the client; the bytes that wait there now."""
        client = self.client
        if client is None or not client.is_connected:
            sink.failed += 1
            self._offline += 1
            return 0
        try:
            frame = sink.encode(sample)
            if len(frame[2]) > client.max_payload - HEADER_ROOM:
                return self._send_oversize(client, sink, frame)
            waiting = publish_frame(client, sink.subject_bytes, *frame)
            if sink.last_subject and sink.is_last_due(time.monotonic()):
                waiting = publish_frame(client, sink.last_subject, *frame)
                sink.note_last(frame)
        except WireError as error:
            sink.failed += 1
            self._malformed.count(error.reason, f"{sink.topic.name} {error.detail}")
            return 0
        sink.sent += 1
        self._sent += 1
        return waiting

    def _send_oversize(self, client: Client, sink: NatsSink, frame: Frame) -> int:
        """Send in pieces what the server would not take whole, or drop it, as its route says."""
        head, more, payload = frame
        chunk = sink.topic.route.oversize == "chunk"
        if sink.subject not in self._oversize:
            done = "sent in pieces" if chunk else "dropped"
            self._log.warning(
                f"{sink.topic.name}: a message of {len(payload)} bytes is over the server's "
                f"max_payload and was {done}. Fix: raise max_payload in the server's config"
            )
        self._oversize[sink.subject] = self._oversize.get(sink.subject, 0) + 1
        if not chunk:
            sink.failed += 1
            self._dropped_oversize += 1
            return 0
        size = min(CHUNK_BYTES, client.max_payload - HEADER_ROOM)
        waiting = 0
        for lines, part in split(payload, time.time_ns(), size):
            waiting = publish_frame(client, sink.subject_bytes, head, more + lines, part)
        sink.sent += 1
        self._sent += 1
        return waiting
