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

from dialtone_bridge.jetstream import JetStreamError, ask, ensure_stream
from dialtone_bridge.transports.base import Log, Topic, Want
from dialtone_bridge.transports.nats_sink import NatsSink
from dialtone_core.aio import end_if_cancelled, timeout
from dialtone_core.clock import NS_PER_S
from dialtone_core.delivery import Lane, Outbox
from dialtone_core.errors import WireError
from dialtone_core.natslink import flush_frames, publish_request
from dialtone_core.sample import Sample

CONSUMER = "hub"
#: Messages that may wait for their acknowledgement; at 1,000/s a local server needs a few.
_WINDOW = 256
#: Given again when nothing was acknowledged for this long; far below the duplicate window.
_AGAIN_S = 2.0
_DUPLICATES_S = 120
#: Biggest message with its headers. It is also what the server lets through at once before the
#: rate limit of the consumer holds (nats-server 2.15: the limiter's burst, else ``max_payload``).
MAX_BYTES = 1024 * 1024


def stream_name(robot: str) -> str:
    """The stream on the robot."""
    return f"dt_{robot}_durable"


def deliver_subject(robot: str) -> str:
    """Where the consumer ``hub`` sends what a hub sources."""
    return f"dt.{robot}.sync.durable"


@dataclass(frozen=True, slots=True)
class DurableSettings:
    """Limits of the stream, and of how fast a hub catches up (Mbit/s, 0: as fast as it can)."""

    max_bytes: int = 1 << 30
    max_age_s: float = 7 * 86400.0
    catchup_mbps: float = 16.0


@dataclass(frozen=True, slots=True)
class _Frame:
    """One message as it was first sent; sent again it must be the same."""

    subject: bytes
    head: bytes
    more: bytes
    payload: bytes


class DurableSender:
    """``attach`` from the source's thread, the rest on the loop."""

    def __init__(self, robot: str, settings: DurableSettings, log: Log) -> None:
        self.outbox: Outbox[Sample] = Outbox()
        self.sinks: dict[Lane[Sample], NatsSink] = {}
        self.stored = 0
        self.repeated = 0
        self.refused = 0
        self.state = "no durable route"
        self._robot = robot
        self._settings = settings
        self._log = log
        self._boot = secrets.token_hex(6)
        self._inbox = f"_INBOX.{secrets.token_hex(8)}"
        self._next = 0
        self._dropped_before = 0
        self._told_drops = False
        self._unacked: OrderedDict[int, _Frame] = OrderedDict()
        self._acked = asyncio.Event()
        self._subjects: set[str] = set()
        self._ready: frozenset[str] = frozenset()

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
            await self.outbox.wait()
            self._tell_drops()
            if not client.is_connected or not await self._prepare(client):
                await asyncio.sleep(0.2)
                continue
            for lane, sample in self.outbox.drain(_WINDOW):
                sink = self.sinks.get(lane)
                if sink is not None:
                    self._send(client, sink, sample)
            self._bury()
            await self._flush(client)
            await self._until_acked(client)

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

    async def _prepare(self, client: Client) -> bool:
        """Have the stream take every durable subject, and the consumer that a hub reads."""
        subjects = frozenset(self._subjects)
        if subjects == self._ready:
            return True
        limits = self._settings
        stream = {
            "name": stream_name(self._robot),
            "storage": "file",
            "max_bytes": limits.max_bytes,
            "max_age": round(limits.max_age_s * NS_PER_S),
            "max_msg_size": MAX_BYTES,
            "discard": "old",
            "duplicate_window": _DUPLICATES_S * NS_PER_S,
        }
        try:
            known = await self._known_subjects(client)
            await ensure_stream(client, {**stream, "subjects": sorted(subjects | known)})
            await self._ensure_consumer(client)
        except JetStreamError as error:
            if self.state != str(error):
                self.state = str(error)
                self._log.warning(f"durable routes wait: {error}")
            return False
        self._ready = subjects
        self.state = "stored"
        return True

    async def _known_subjects(self, client: Client) -> set[str]:
        """Those that an earlier run stored: kept, for what a hub has not fetched yet."""
        try:
            info = await ask(client, f"STREAM.INFO.{stream_name(self._robot)}")
        except JetStreamError as error:
            if error.code == 0:
                raise
            return set()
        return set(info["config"].get("subjects", ()))

    async def _ensure_consumer(self, client: Client) -> None:
        config: dict[str, object] = {
            "name": CONSUMER,
            "durable_name": CONSUMER,
            "deliver_subject": deliver_subject(self._robot),
            "deliver_policy": "all",
            "replay_policy": "instant",
            "ack_policy": "flow_control",
            "flow_control": True,
            "idle_heartbeat": NS_PER_S,
            "max_ack_pending": 1000,
        }
        if self._settings.catchup_mbps:
            config["rate_limit_bps"] = round(self._settings.catchup_mbps * 1e6)
        stream = stream_name(self._robot)
        await ask(
            client,
            f"CONSUMER.CREATE.{stream}.{CONSUMER}",
            {"stream_name": stream, "config": config},
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
        try:
            self._publish(client, self._next, frame)
        except nats.errors.MaxPayloadError:
            self._refuse(sink, len(payload))
            return
        self._unacked[self._next] = frame
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

    async def _flush(self, client: Client) -> None:
        if client.is_connected:
            await flush_frames(client, wait=True)

    async def _until_acked(self, client: Client) -> None:
        """Wait for the whole window, giving again in order what nobody acknowledged in time."""
        while self._unacked:
            end_if_cancelled()
            self._acked.clear()
            before = len(self._unacked)
            try:
                async with timeout(_AGAIN_S):
                    await self._acked.wait()
            except asyncio.TimeoutError:
                if len(self._unacked) == before and client.is_connected:
                    self.repeated += before
                    for number, frame in list(self._unacked.items()):
                        self._publish(client, number, frame)
                    await self._flush(client)

    async def _on_ack(self, message: Msg) -> None:
        number = int(message.subject.rpartition(".")[2])
        try:
            said = orjson.loads(message.data)
        except orjson.JSONDecodeError:
            return
        if "error" in said:
            self.state = f"not stored: {said['error'].get('description', '?')}"
            return  # given again, in order, until there is room
        if self._unacked.pop(number, None) is not None:
            self.stored += 1
            self.state = "stored"
        if not self._unacked:
            self._acked.set()
