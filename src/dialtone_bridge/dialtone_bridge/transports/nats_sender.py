"""Telemetry on its way to NATS: what waits in the lanes becomes frames at the client's socket."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from nats.aio.client import Client

from dialtone_bridge.stats import Refusals
from dialtone_bridge.transports.base import Log
from dialtone_bridge.transports.nats_sink import Frame, NatsSink
from dialtone_core.aio import TaskGroup
from dialtone_core.chunks import CHUNK_BYTES, split
from dialtone_core.delivery import Lane, Outbox
from dialtone_core.errors import WireError
from dialtone_core.natslink import flush_frames, publish_frame
from dialtone_core.sample import Sample

MIB = 1024 * 1024
#: How much may wait between the lanes and the socket.
_AHEAD_BYTES = 256 * 1024
#: What headers may take of ``max_payload``.
HEADER_ROOM = 1024
#: How old the newest message of a ``latest`` route in the bucket may be beside the live one.
_LAST_EVERY_S = 1.0
#: JSON that is made at once, in a thread of its own: a map takes a second.
_DECODE_ITEMS, _DECODE_BYTES = 64, MIB


class NatsSender:
    """On the loop. Without a ``client``, or a link of its, what comes is dropped and counted.

    Routes with ``encoding: json`` wait in an outbox of their own, so that a message which takes
    long to decode holds up neither commands nor other topics.
    """

    def __init__(self, log: Log, max_bytes: int = 64 * MIB) -> None:
        self.client: Client | None = None
        self.outbox: Outbox[Sample] = Outbox(max_bytes)
        self.decoded: Outbox[Sample] = Outbox(max_bytes)
        self.sinks: dict[Lane[Sample], NatsSink] = {}
        self._log = log
        self._sent = 0
        self._offline = 0
        self._dropped_before = 0
        self._oversize: dict[str, int] = {}
        self._dropped_oversize = 0
        self._last_too_big = 0
        self._malformed = Refusals()

    def bind(self, loop: asyncio.AbstractEventLoop) -> None:
        for outbox in (self.outbox, self.decoded):
            outbox.bind(loop)

    def outbox_of(self, encoding: str) -> Outbox[Sample]:
        """Where a route of this encoding waits."""
        return self.decoded if encoding == "json" else self.outbox

    async def run(self) -> None:
        """Send what the lanes hold until cancelled."""
        async with TaskGroup() as group:
            group.create_task(self._run_decoded())
            group.create_task(self._keep_last())
            await self._run_raw()

    async def _run_raw(self) -> None:
        while True:
            await self.outbox.wait()
            waiting = 0
            for lane, sample in self.outbox.drain(max_bytes=_AHEAD_BYTES):
                sink = self.sinks.get(lane)
                if sink is not None:
                    waiting = self._encode_and_send(sink, sample)
            await self._flush(waiting)
            await asyncio.sleep(0)  # the command connection's turn, however much waits here

    async def _run_decoded(self) -> None:
        while True:
            await self.decoded.wait()
            found = self.decoded.drain(_DECODE_ITEMS, _DECODE_BYTES)
            sinks = [(self.sinks.get(lane), sample) for lane, sample in found]
            work = [(sink, sample) for sink, sample in sinks if sink is not None]
            lasting = any(sink.topic.route.latched for sink, _ in work)
            if self._is_up() or lasting:
                frames = await asyncio.to_thread(_encode_all, work)
            else:
                frames = [None] * len(work)
            waiting = 0
            for (sink, _), frame in zip(work, frames, strict=True):
                if isinstance(frame, WireError):
                    self._note_malformed(sink, frame)
                else:
                    waiting = self._send(sink, frame)
            await self._flush(waiting)

    async def _flush(self, waiting: int) -> None:
        """Ahead of the socket by more than a little, what waits stays in the lanes, where the
        routes' bounds and priorities hold."""
        if waiting and self.client is not None:
            await flush_frames(self.client, waiting > _AHEAD_BYTES)

    async def _keep_last(self) -> None:
        """Give the bucket the newest message of each ``latest`` route, once a second."""
        while True:
            await asyncio.sleep(_LAST_EVERY_S)
            await self._save_last(lambda sink: sink.unsaved)

    async def fill_last(self) -> None:
        """The bucket of newest messages is new: what we know belongs into it."""
        await self._save_last(lambda sink: sink.last_frame is not None)

    async def _save_last(self, due: Callable[[NatsSink], bool]) -> None:
        client, waiting = self.client, 0
        if client is None or not client.is_connected:
            return
        for sink in [each for each in list(self.sinks.values()) if due(each)]:
            if sink.last_frame is not None:
                waiting = publish_frame(client, sink.last_subject, *sink.last_frame)
                sink.unsaved = False
        await self._flush(waiting)

    async def forget_last(self, sink: NatsSink) -> None:
        """Its topic is gone: nobody who comes late shall take its last message for the newest."""
        if self.client is not None and self.client.is_connected and sink.last_frame is not None:
            gone = {"KV-Operation": "DEL"}
            await self.client.publish(sink.last_subject.decode(), b"", headers=gone)

    def remove(self, sink: NatsSink) -> None:
        """Close its lane; from any thread; idempotent."""
        if sink.lane not in self.sinks:
            return
        self._dropped_before += sink.lane.dropped + len(sink.lane)
        self.outbox_of(sink.topic.route.encoding).close_lane(sink.lane)
        self.sinks.pop(sink.lane, None)

    def figures(self) -> dict[str, object]:
        """For diagnostics: what was sent, and what was not and why."""
        slow = sum(lane.dropped for each in (self.outbox, self.decoded) for lane in each.lanes)
        return {
            "sent": self._sent,
            "dropped_offline": self._offline,
            "dropped_slow": slow + self._dropped_before,
            "oversize": sum(self._oversize.values()),
            "dropped_oversize": self._dropped_oversize,
            "last_too_big": self._last_too_big,
            "dropped_malformed": self._malformed.total(),
        }

    def _is_up(self) -> bool:
        return self.client is not None and self.client.is_connected

    async def make_up(self) -> None:
        """The link is back: what is latched and came meanwhile is true until something newer
        comes, so it is sent now."""
        client, waiting = self.client, 0
        for sink in list(self.sinks.values()):
            frame, missed, sink.missed = sink.last_frame, sink.missed, False
            if missed and frame is not None and client is not None and client.is_connected:
                waiting = self._send(sink, frame)
        await self._flush(waiting)

    def _encode_and_send(self, sink: NatsSink, sample: Sample) -> int:
        try:
            if not self._is_up() and not sink.topic.route.latched:
                return self._send(sink, None)
            return self._send(sink, sink.encode(sample))
        except WireError as error:
            self._note_malformed(sink, error)
            return 0

    def _send(self, sink: NatsSink, frame: Frame | None) -> int:
        """Queue one message at the client; the bytes that wait there now. ``None``: offline."""
        client = self.client
        if frame is None or client is None or not client.is_connected:
            if frame is not None and sink.last_subject:
                sink.note_last(frame)
                sink.missed = True
            sink.failed += 1
            self._offline += 1
            return 0
        sink.missed = False
        if len(frame[2]) > client.max_payload - HEADER_ROOM:
            return self._send_oversize(client, sink, frame)
        waiting = publish_frame(client, sink.subject_bytes, *frame)
        if sink.last_subject and sink.note_last(frame):
            waiting = publish_frame(client, sink.last_subject, *frame)
        sink.sent += 1
        self._sent += 1
        return waiting

    def _note_malformed(self, sink: NatsSink, error: WireError) -> None:
        sink.failed += 1
        self._malformed.count(error.reason, f"{sink.topic.name} {error.detail}")

    def _send_oversize(self, client: Client, sink: NatsSink, frame: Frame) -> int:
        """Send in pieces what the server would not take whole, or drop it, as its route says."""
        head, more, payload = frame
        chunk = sink.topic.route.oversize == "chunk"
        if sink.subject not in self._oversize:
            done = "sent in pieces" if chunk else "dropped"
            kept = ", and is not kept for those who come late" if sink.last_subject else ""
            self._log.warning(
                f"{sink.topic.name}: a message of {len(payload)} bytes is over the server's "
                f"max_payload and was {done}{kept}. Fix: raise max_payload in the server's config"
            )
        self._oversize[sink.subject] = self._oversize.get(sink.subject, 0) + 1
        self._last_too_big += bool(sink.last_subject)
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


def _encode_all(work: list[tuple[NatsSink, Sample]]) -> list[Frame | WireError | None]:
    """Frames in order; what is malformed is its error. In a thread of its own."""
    frames: list[Frame | WireError | None] = []
    for sink, sample in work:
        try:
            frames.append(sink.encode(sample))
        except WireError as error:
            frames.append(error)
    return frames
