"""NATS: telemetry out raw with headers, commands in as JSON. The contract is docs/wire.md.

Two connections, so that a command never waits behind a picture: one publishes telemetry, the
other carries commands. While the server is away telemetry is dropped and counted, not buffered:
nats-py would deliver the stale buffer after a reconnect.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg

from dialtone_bridge.durable import DurableSender, DurableSettings
from dialtone_bridge.nats_server import HOST, ServerPorts
from dialtone_bridge.stats import Refusals
from dialtone_bridge.transports.base import Health, Inbound, Log, Topic, Want
from dialtone_bridge.transports.interest import InterestWatch, wants
from dialtone_bridge.transports.nats_calls import NatsCalls
from dialtone_bridge.transports.nats_sink import NatsSink
from dialtone_bridge.transports.nats_status import Status
from dialtone_core import wire
from dialtone_core.aio import TaskGroup
from dialtone_core.chunks import CHUNK_BYTES, split
from dialtone_core.delivery import Lane, Outbox
from dialtone_core.errors import WireError
from dialtone_core.natsauth import Login, find_login
from dialtone_core.natslink import (
    NO_REPLAY,
    connect,
    flush_frames,
    publish_frame,
    remedy,
)
from dialtone_core.sample import Sample

VELOCITY = "cmd_vel"
#: How much may wait between the lanes and the socket.
_AHEAD_BYTES = 1024 * 1024
#: What headers may take of ``max_payload``.
HEADER_ROOM = 1024


@dataclass(frozen=True, slots=True)
class NatsSettings:
    """Where and as whom; ``namespace`` is the robot's in ROS."""

    robot: str
    url: str
    credentials: str = ""
    namespace: str = "/"
    leaf: str = ""
    durable: DurableSettings = field(default_factory=DurableSettings)


class NatsTransport:
    """See ``base.Transport``."""

    name = "nats"

    def __init__(self, settings: NatsSettings, inbound: Inbound, log: Log) -> None:
        self._settings = settings
        self._inbound = inbound
        self._log = log
        self._outbox: Outbox[Sample] = Outbox()
        self._durable = DurableSender(settings.robot, settings.durable, log)
        self._sinks: dict[Lane[Sample], NatsSink] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._telemetry: Client | None = None
        self._commands: Client | None = None
        self._link_up = False
        self._complained = False
        self._why = "connecting"
        self._patterns: frozenset[str] | None = None
        self._watch = InterestWatch(
            self._leaf_address,
            f"{settings.robot} interest",
            f"dt.{settings.robot}.tlm",
            self._on_interest,
        )
        self.calls = NatsCalls(settings.robot)
        self._status = Status(settings.robot, self._describe, self._fill_last)
        self.connected = asyncio.Event()
        self.refusals = Refusals()
        self.received = 0
        self._sent = 0
        self._offline = 0
        self._oversize: dict[str, int] = {}
        self._dropped_oversize = 0
        self._malformed = Refusals()
        self._figures: dict[str, Callable[[], Mapping[str, int]]] = {}

    def tell(self, name: str, figures: Callable[[], Mapping[str, int]]) -> None:
        """Have ``figures`` in ``health``, as ``<name>.<key>``."""
        self._figures[name] = figures

    async def open(self) -> None:
        """Connect; returns also while the server is away, the link then follows."""
        settings = self._settings
        self._loop = asyncio.get_running_loop()
        self._outbox.bind(self._loop)
        self._durable.outbox.bind(self._loop)
        self._telemetry = await connect(
            settings.url,
            f"{settings.robot} telemetry",
            on_state=self._on_state,
            credentials=settings.credentials,
        )
        self._commands = await connect(
            settings.url,
            f"{settings.robot} commands",
            pending_bytes=NO_REPLAY,
            credentials=settings.credentials,
        )
        await self._commands.subscribe(
            wire.command_subject(settings.robot, ">"), cb=self._on_command
        )
        await self.calls.bind(self._commands)

    async def run(self) -> None:
        """Send what the lanes hold, and follow what is wanted, until cancelled."""
        async with TaskGroup() as group:
            group.create_task(self._watch.run())
            if self._commands is not None:
                group.create_task(self._durable.run(self._commands))
                group.create_task(self._status.run(self._commands))
            await self._send_all()

    @property
    def has_durable(self) -> bool:
        """Whether any route goes through the robot's JetStream."""
        return bool(self._durable.sinks)

    async def _send_all(self) -> None:
        while True:
            await self._outbox.wait()
            waiting = 0
            for lane, sample in self._outbox.drain(max_bytes=_AHEAD_BYTES):
                sink = self._sinks.get(lane)
                if sink is not None:
                    waiting = self._send(sink, sample)
            if waiting and self._telemetry is not None:
                # Ahead of the socket by more than that, what waits stays in the lanes, where the
                # routes' bounds and priorities hold.
                await flush_frames(self._telemetry, waiting > _AHEAD_BYTES)
            await asyncio.sleep(0)  # the command connection's turn, however much waits here

    def attach(self, topic: Topic, want: Want) -> NatsSink:
        subject = wire.telemetry_subject(
            self._settings.robot, topic.name, self._settings.namespace
        )
        outbox = self._durable.outbox if topic.route.durable else self._outbox
        sink = NatsSink(topic, subject, outbox, want, self._forget)
        if topic.route.durable:
            self._durable.attach(sink)
            want(True)
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._status.hurry)
            return sink
        sink.keep_last(self._settings.robot)
        self._sinks[sink.lane] = sink
        want(topic.route.latched or wants(self._patterns, subject))
        return sink

    def _on_interest(self, patterns: frozenset[str] | None) -> None:
        """Subscribe to what is wanted now and to nothing else."""
        self._patterns = patterns
        for sink in list(self._sinks.values()):
            sink.want(sink.topic.route.latched or wants(patterns, sink.subject))

    def _describe(self) -> dict[str, Any]:
        """What presence says of us; a robot may have hundreds of topics, so no more than names."""
        sinks = [*self._sinks.values(), *self._durable.sinks.values()]
        return {
            "durable": self.has_durable,
            "namespace": self._settings.namespace,
            "capabilities": ["telemetry", "commands", "services", "actions", "last"],
            "routes": {sink.topic.path: sink.topic.type for sink in sinks[:256]},
        }

    async def _fill_last(self) -> None:
        """The bucket of newest messages is new: what is latched belongs into it."""
        client = self._telemetry
        if client is None or not client.is_connected:
            return
        for sink in list(self._sinks.values()):
            if sink.last_frame is not None:
                publish_frame(client, sink.last_subject, *sink.last_frame)
        await flush_frames(client, wait=True)

    def _leaf_address(self) -> tuple[str, int, Login] | None:
        """Where the server takes leaf nodes: as set, or as the embedded server wrote it."""
        if self._settings.leaf:
            host, _, port = self._settings.leaf.rpartition(":")
            login = find_login(self._settings.url, self._settings.credentials)
            return host, int(port), login
        ports = ServerPorts.read(self._settings.robot)
        if ports is None or ports.nats_url != self._settings.url:
            return None
        return HOST, ports.leaf_port, ports.leaf_login()

    def _forget(self, sink: NatsSink) -> None:
        for outbox, sinks in (
            (self._outbox, self._sinks),
            (self._durable.outbox, self._durable.sinks),
        ):
            outbox.close_lane(sink.lane)
            sinks.pop(sink.lane, None)

    def health(self) -> Health:
        values: dict[str, object] = {
            "url": self._settings.url,
            "interest": self._watch.state,
            "jetstream": self._status.jetstream,
            "rtt_ms": self._status.rtt_ms,
            "hub_rtt_ms": self._status.hub_rtt_ms,
            "sent": self._sent,
            "dropped_offline": self._offline,
            "dropped_slow": sum(lane.dropped for lane in self._outbox.lanes),
            "oversize": sum(self._oversize.values()),
            "dropped_oversize": self._dropped_oversize,
            "dropped_malformed": self._malformed.total(),
            "commands": self.received,
            "commands_refused": self.refusals.total(),
            "calls_refused": self.calls.refused_busy,
            "events_lost": self.calls.lost_events,
        }
        if self._durable.sinks:
            values |= {
                "durable": self._durable.state,
                "durable_stored": self._durable.stored,
                "durable_waiting": self._durable.waiting(),
                "durable_repeated": self._durable.repeated,
                "durable_too_big": self._durable.refused,
            }
        for name, figures in self._figures.items():
            values |= {f"{name}.{key}": value for key, value in figures().items()}
        values |= {f"refused.{reason}": n for reason, n in self.refusals.by_reason.items()}
        if self.refusals.last:
            values["last_refusal"] = self.refusals.last
        message = "connected" if self._link_up else f"no link: {self._why}"
        return Health(self._link_up, message, values)

    async def aclose(self) -> None:
        telemetry, self._telemetry = self._telemetry, None
        commands, self._commands = self._commands, None
        await self.calls.aclose()
        if commands is not None:
            await self._status.leave(commands)
        for client in (commands, telemetry):
            if client is not None:
                await client.close()

    def _send(self, sink: NatsSink, sample: Sample) -> int:
        """Queue one sample at the client; the bytes that wait there now."""
        client = self._telemetry
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

    def _send_oversize(
        self, client: Client, sink: NatsSink, frame: tuple[bytes, bytes, bytes]
    ) -> int:
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

    async def _on_command(self, message: Msg) -> None:
        """Judge one command and pass it on; whatever is wrong with it is counted, never raised."""
        try:
            self._take(message)
            self.received += 1
        except WireError as error:
            if self.refusals.total() == 0:
                self._log.warning(f"refused a command on {message.subject}: {error}")
            self.refusals.count(error.reason, error.detail)

    def _take(self, message: Msg) -> None:
        path = wire.command_topic(self._settings.robot, message.subject)
        if path == VELOCITY:
            twist, envelope = wire.decode_velocity(message.data)
            operator = (message.headers or {}).get(wire.OPERATOR, "")
            if operator and not envelope.operator:
                envelope = replace(envelope, operator=operator[:64])
            self._inbound.velocity(self.name, twist, envelope)
            return
        if not self._inbound.accepts(path):
            raise WireError("topic_not_allowed", path[:80])
        headers = message.headers or {}
        encoding = headers.get(wire.ENCODING, "json")
        self._inbound.message(path, headers.get(wire.TYPE, ""), encoding, message.data)

    def _on_state(self, connected: bool, why: str) -> None:
        self._why = why
        if connected:
            self._log.info(f"connected to {self._settings.url}")
            self.connected.set()
            if not self._link_up:
                self._status.poke()
        elif self._link_up or why != "disconnected":
            fix = remedy(why)
            line = f"no link to {self._settings.url} ({why}); trying on"
            self._say_once(f"{line}. Fix: {fix}" if fix else line)
        self._link_up = connected

    def _say_once(self, line: str) -> None:
        """Warn when the link goes, and once where there never was one."""
        if self._link_up or not self._complained:
            self._complained = True
            self._log.warning(line)
