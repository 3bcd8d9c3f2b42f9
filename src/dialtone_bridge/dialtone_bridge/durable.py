"""Store and forward: what must not be lost goes through the robot's own JetStream.

The stream lies on the robot. A hub that the robot's server joins as a leaf node sources it through
the consumer ``hub``, whose rate limit caps the catch-up after an outage, so that live commands
find room on the link. Every message has an id and waits here for the stream's acknowledgement: a
server that was killed is given it again, and keeps it once.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from dataclasses import dataclass

import nats.errors
import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg

from dialtone_bridge.durable_stream import MAX_BYTES, DurableSettings, DurableStream
from dialtone_bridge.jetstream import JetStreamError
from dialtone_bridge.transports.base import Log, Topic, Want
from dialtone_bridge.transports.nats_sink import NatsSink
from dialtone_core.aio import end_if_cancelled, timeout
from dialtone_core.delivery import Lane, Outbox
from dialtone_core.errors import WireError
from dialtone_core.natslink import flush_frames, publish_request
from dialtone_core.sample import Sample

#: Messages, and bytes, that may wait for their acknowledgement; at 1,000/s a local server needs a
#: few.
_WINDOW, _WINDOW_BYTES = 256, 4 * 1024 * 1024
#: Given again when nothing was acknowledged for this long.
_AGAIN_S = 2.0
#: Given again so often without any answer, it is said.
_STALLS = 2
#: Stream and consumer are looked at so often: somebody may delete them.
_CHECK_S = 10.0
_RETRY_S = 0.5
#: Reasons that are said in one outage; more would only be more of the same.
_MOST_SAID = 4
_SILENT = (
    "the server acknowledges nothing. Fix: see that its disk has room, then restart the NATS "
    "server (2.15 stores nothing more after a full disk); what waits is kept until then"
)


@dataclass(frozen=True, slots=True)
class _Frame:
    """One message as it was first sent; sent again it must be the same."""

    subject: bytes
    head: bytes
    more: bytes
    payload: bytes


class DurableSender:
    """``attach``, ``retire`` and ``release`` from the source's thread, the rest on the loop."""

    def __init__(self, robot: str, settings: DurableSettings, log: Log) -> None:
        self.outbox: Outbox[Sample] = Outbox()
        self.sinks: dict[Lane[Sample], NatsSink] = {}
        self.stored = 0
        self.repeated = 0
        self.refused = 0
        self.state = "no durable route"
        self._stream = DurableStream(robot, settings)
        self._log = log
        self._boot = secrets.token_hex(6)
        self._inbox = f"_INBOX.{secrets.token_hex(8)}"
        self._next = 0
        self._dropped_before = 0
        self._told_drops = False
        self._unacked: OrderedDict[int, _Frame] = OrderedDict()
        self._answered = asyncio.Event()
        self._stalls = 0
        self._said: set[str] = set()
        self._subjects: set[str] = set()
        self._released: set[str] = set()
        self._ready: tuple[frozenset[str], frozenset[str]] | None = None
        self._check_s = 0.0

    @property
    def ok(self) -> bool:
        """Whether what durable routes bring is stored, as far as we know."""
        return not self._said

    def attach(self, sink: NatsSink) -> None:
        self.sinks[sink.lane] = sink
        self._subjects.add(sink.subject)

    def revive(self, topic: Topic, want: Want) -> NatsSink | None:
        """The sink of a topic that is back while its messages wait, so that all stay in order."""
        for sink in list(self.sinks.values()):
            known = sink.topic
            if sink.retired and (known.name, known.type) == (topic.name, topic.type):
                sink.topic, sink.want, sink.retired = topic, want, False
                return sink
        return None

    def retire(self, sink: NatsSink) -> None:
        """Its topic is gone. What waits is stored all the same, whenever that is possible."""
        sink.retired = True

    def release(self, subject: str) -> None:
        """Its route is not durable. Where it was, in an earlier run, the stream lets it go: it
        would store for ever what nobody asked for. What it has already stays for the hub."""
        self._released.add(subject)

    def dropped(self) -> int:
        """What found no room while nothing could be stored."""
        return self._dropped_before + sum([lane.dropped for lane in list(self.sinks)])

    def waiting(self) -> int:
        """Sent and not yet acknowledged."""
        return len(self._unacked)

    async def run(self, client: Client) -> None:
        """Store what the lanes hold until cancelled."""
        await client.subscribe(f"{self._inbox}.*", cb=self._on_ack)
        while True:
            end_if_cancelled()
            await self._until_due()
            self._tell_drops()
            try:
                await self._prepare(client)
                await self._give(client)
            except JetStreamError as error:
                self._fail(str(error))
            if self._ready is None:
                await asyncio.sleep(_RETRY_S)

    async def _until_due(self) -> None:
        """Until something waits, or the stream is to be looked at."""
        if self._unacked:
            return
        try:
            async with timeout(_CHECK_S):
                await self.outbox.wait()
        except asyncio.TimeoutError:
            return

    async def _prepare(self, client: Client) -> None:
        """Have the stream and the consumer that a hub reads, or leave ``_ready`` at ``None``."""
        if not client.is_connected:
            self._ready = None
            return
        wanted, released = frozenset(self._subjects), frozenset(self._released)
        now_s = asyncio.get_running_loop().time()
        if self._ready == (wanted, released) and (not wanted or now_s < self._check_s):
            return
        self._ready = None
        try:
            await self._stream.ensure(client, wanted, released - wanted)
        except JetStreamError:
            if wanted:
                raise
            return  # nobody's loss, and perhaps a server without JetStream
        self._ready = wanted, released
        self._check_s = now_s + _CHECK_S
        if wanted and not self._unacked:
            self._note_stored()

    async def _give(self, client: Client) -> None:
        """One window: what nobody acknowledged, else what the lanes hold; and its answers."""
        if self._ready is None:
            return
        if self._unacked:
            await self._again(client)
        else:
            for lane, sample in self.outbox.drain(_WINDOW, _WINDOW_BYTES):
                sink = self.sinks.get(lane)
                if sink is not None:
                    self._send(client, sink, sample)
            self._bury()
        if client.is_connected:
            await flush_frames(client, wait=True)
        await self._until_acked()

    def _bury(self) -> None:
        """Forget the topics that are gone and have nothing more to store."""
        for lane, sink in list(self.sinks.items()):
            if sink.retired and not len(lane):
                self._dropped_before += lane.dropped
                self.outbox.close_lane(lane)
                del self.sinks[lane]

    def _tell_drops(self) -> None:
        dropped = self.dropped()
        if dropped and not self._told_drops:
            self._told_drops = True
            self._log.warning(
                f"durable routes lost {dropped} messages and go on losing: nothing could be "
                f"stored for too long ({self.state}). Fix: see the NATS server, or raise "
                "max_messages and max_bytes of the route"
            )

    def _send(self, client: Client, sink: NatsSink, sample: Sample) -> None:
        try:
            head, more, payload = sink.encode(sample)
        except WireError:
            sink.failed += 1
            return
        self._next += 1
        more += b"Nats-Msg-Id: %s.%d\r\n" % (self._boot.encode(), self._next)
        frame = _Frame(sink.subject_bytes, head, more, payload)
        if len(head) + len(more) + len(payload) + 2 > MAX_BYTES:
            self._refuse(sink, len(payload))
            return
        self._unacked[self._next] = frame  # before it is sent: a link that breaks loses nothing
        try:
            self._publish(client, self._next, frame)
        except nats.errors.MaxPayloadError:
            del self._unacked[self._next]
            self._refuse(sink, len(payload))
            return
        sink.sent += 1

    def _refuse(self, sink: NatsSink, size: int) -> None:
        sink.failed += 1
        self.refused += 1
        if self.refused == 1:
            self._log.warning(
                f"{sink.topic.name}: a message of {size} bytes is too big to be stored "
                f"({MAX_BYTES} with its headers) and was dropped. Fix: take durable off its route"
            )

    def _publish(self, client: Client, number: int, frame: _Frame) -> None:
        reply = f"{self._inbox}.{number}".encode()
        publish_request(client, frame.subject, reply, frame.head, frame.more, frame.payload)

    async def _again(self, client: Client) -> None:
        """Give again, in order, what is not in the stream.

        The server knows ids for ``DUPLICATES_S`` only, and may have been away for longer with
        messages whose acknowledgement was lost: what it has is asked, not assumed.
        """
        for message_id, seq in await self._stream.since(client, 4 * _WINDOW):
            boot, _, text = message_id.rpartition(".")
            if boot == self._boot:
                self._acknowledge(int(text), seq)
        if not client.is_connected:
            return
        self.repeated += len(self._unacked)
        for number, frame in list(self._unacked.items()):
            self._publish(client, number, frame)

    async def _until_acked(self) -> None:
        """Until the whole window is acknowledged, refused, or nothing comes for ``_AGAIN_S``."""
        while self._unacked and self._ready is not None:
            end_if_cancelled()
            self._answered.clear()
            before = len(self._unacked)
            try:
                async with timeout(_AGAIN_S):
                    await self._answered.wait()
            except asyncio.TimeoutError:
                if len(self._unacked) == before:
                    self._stalls += 1
                    if self._stalls > _STALLS:
                        self._fail(_SILENT)
                    return

    async def _on_ack(self, message: Msg) -> None:
        if (message.headers or {}).get("Status"):
            self._fail("the server has no stream for it")
            return
        try:
            said = orjson.loads(message.data)
        except orjson.JSONDecodeError:
            return
        if "error" in said:
            self._fail(said["error"].get("description", "?"))
            return  # given again, in order, until there is room
        self._acknowledge(int(message.subject.rpartition(".")[2]), said.get("seq", 0))

    def _acknowledge(self, number: int, seq: int) -> None:
        self._stream.last_seq = max(self._stream.last_seq, seq)
        if self._unacked.pop(number, None) is not None:
            self.stored += 1
            self._stalls = 0
            self._note_stored()
        if not self._unacked:
            self._answered.set()

    def _note_stored(self) -> None:
        self.state = "stored"
        if self._said:
            self._said.clear()
            self._log.info("durable routes are stored again")

    def _fail(self, why: str) -> None:
        """Nothing is stored now: have stream and consumer looked at, and give all again."""
        self._ready = None
        self._answered.set()
        self.state = f"not stored: {why}"
        if why not in self._said and len(self._said) < _MOST_SAID:
            self._said.add(why)
            self._log.warning(f"durable routes are {self.state}")
