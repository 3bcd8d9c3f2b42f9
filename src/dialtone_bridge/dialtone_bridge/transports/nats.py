"""NATS: telemetry out raw with headers, commands in as JSON. The contract is docs/wire.md.

Three connections, so that a command never waits behind a picture: one publishes telemetry, one
what durable routes store, one carries commands. While the server is away telemetry is dropped and
counted, not buffered: nats-py would deliver the stale buffer after a reconnect.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from nats.aio.client import Client

from dialtone_bridge.durable import DurableSender
from dialtone_bridge.durable_stream import DurableSettings
from dialtone_bridge.nats_server import HOST, ServerPorts
from dialtone_bridge.stats import Troubles
from dialtone_bridge.transports.base import Health, Inbound, Log, Topic, Want
from dialtone_bridge.transports.interest import Interest, InterestWatch
from dialtone_bridge.transports.nats_calls import NatsCalls
from dialtone_bridge.transports.nats_commands import NatsCommands
from dialtone_bridge.transports.nats_hub import HubLink
from dialtone_bridge.transports.nats_sender import NatsSender
from dialtone_bridge.transports.nats_sink import NatsSink
from dialtone_bridge.transports.nats_status import Status
from dialtone_core import wire
from dialtone_core.aio import TaskGroup
from dialtone_core.natsauth import Login, find_login
from dialtone_core.natslink import NO_REPLAY, connect
from dialtone_core.natsretry import remedy


@dataclass(frozen=True, slots=True)
class NatsSettings:
    """Where and as whom; ``namespace`` is the robot's in ROS, ``backlog_bytes`` may wait."""

    robot: str
    url: str
    credentials: str = ""
    namespace: str = "/"
    leaf: str = ""
    backlog_bytes: int = 64 << 20
    durable: DurableSettings = field(default_factory=DurableSettings)


class NatsTransport:
    """See ``base.Transport``."""

    name = "nats"

    def __init__(self, settings: NatsSettings, inbound: Inbound, log: Log) -> None:
        self._settings = settings
        self._log = log
        self._out = NatsSender(log, settings.backlog_bytes)
        self._in = NatsCommands(settings.robot, self.name, inbound, log, settings.namespace)
        self._durable = DurableSender(settings.robot, settings.durable, log)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._commands: Client | None = None
        self._storing: Client | None = None
        self._link_up = False
        self._said: str | None = None
        self._troubles = Troubles()
        self._tasks: set[asyncio.Task[None]] = set()
        self._why = "connecting"
        self._interest: Interest | None = None
        self._keeps_last = False
        self._watch = InterestWatch(
            self._leaf_address,
            f"{settings.robot} interest",
            f"dt.{settings.robot}.tlm",
            self._on_interest,
        )
        self.calls = NatsCalls(settings.robot, settings.namespace)
        self._status = Status(settings.robot, self._describe, self._on_buckets, self._on_trouble)
        self._hub = HubLink(self._hub_address, self._status.hub_answered_s, self._on_hub)
        self.connected = asyncio.Event()
        self.refusals = self._in.refusals
        self._figures: dict[str, Callable[[], Mapping[str, int]]] = {}

    @property
    def received(self) -> int:
        """Commands that were passed on."""
        return self._in.received

    def tell(self, name: str, figures: Callable[[], Mapping[str, int]]) -> None:
        """Have ``figures`` in ``health``, as ``<name>.<key>``."""
        self._figures[name] = figures

    async def open(self) -> None:
        """Connect; returns also while the server is away, the link then follows."""
        settings = self._settings
        self._loop = asyncio.get_running_loop()
        self._out.bind(self._loop)
        self._in.bind(self._loop)
        self._durable.outbox.bind(self._loop)
        self._out.client = await connect(
            settings.url,
            f"{settings.robot} telemetry",
            on_state=self._on_state,
            on_trouble=self._on_trouble,
            credentials=settings.credentials,
            live=True,
        )
        self._commands = await connect(
            settings.url,
            f"{settings.robot} commands",
            pending_bytes=NO_REPLAY,
            on_trouble=self._on_trouble,
            credentials=settings.credentials,
        )
        self._storing = await connect(
            settings.url,
            f"{settings.robot} durable",
            pending_bytes=NO_REPLAY,
            on_trouble=self._on_trouble,
            credentials=settings.credentials,
        )
        await self._commands.subscribe(
            wire.command_subject(settings.robot, ">"), cb=self._in.on_message
        )
        await self.calls.bind(self._commands)

    async def run(self) -> None:
        """Send what the lanes hold, and follow what is wanted, until cancelled."""
        async with TaskGroup() as group:
            group.create_task(self._in.run())
            group.create_task(self._watch.run())
            if self._storing is not None:
                group.create_task(self._durable.run(self._storing))
            if self._commands is not None:
                group.create_task(self._status.run(self._commands))
                group.create_task(self._hub.run())
            await self._out.run()

    @property
    def has_durable(self) -> bool:
        """Whether any route goes through the robot's JetStream."""
        return bool(self._durable.sinks)

    def attach(self, topic: Topic, want: Want) -> NatsSink:
        subject = wire.telemetry_subject(
            self._settings.robot, topic.name, self._settings.namespace
        )
        if topic.route.durable:
            sink = self._durable.revive(topic, want) or NatsSink(
                topic, subject, self._durable.outbox, want, self._forget
            )
            self._durable.attach(sink)
            want(True)
            self._soon(self._status.hurry)
            return sink
        self._durable.release(subject)
        outbox = self._out.outbox_of(topic.route.encoding)
        sink = NatsSink(topic, subject, outbox, want, self._forget)
        sink.keep_last(self._settings.robot)
        self._out.sinks[sink.lane] = sink
        self._soon(lambda: sink.follow(self._interest, self._keeps_last))
        return sink

    def _soon(self, work: Callable[[], object]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(work)

    def _on_interest(self, interest: Interest | None) -> None:
        self._interest = interest
        self._follow()

    async def _on_buckets(self, there: bool) -> None:
        """Whether the server keeps the newest messages: what it keeps is wanted."""
        self._keeps_last = there
        self._follow()
        if there:
            await self._out.fill_last()

    def _follow(self) -> None:
        """Subscribe to what is wanted now and to nothing else."""
        for sink in list(self._out.sinks.values()):
            sink.follow(self._interest, self._keeps_last)

    def _describe(self) -> dict[str, Any]:
        """What presence says of us; a robot may have hundreds of topics, so no more than names."""
        sinks = [*self._out.sinks.values(), *self._durable.sinks.values()]
        return {
            "durable": self.has_durable,
            "namespace": self._settings.namespace,
            "capabilities": ["telemetry", "commands", "services", "actions", "last"],
            "routes": {sink.topic.path: sink.topic.type for sink in sinks[:256]},
        }

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

    def _hub_address(self) -> tuple[str, str] | None:
        """The hub that our embedded server joins, and with which credentials."""
        ports = ServerPorts.read(self._settings.robot)
        if ports is None or ports.nats_url != self._settings.url or not ports.hub_url:
            return None
        return ports.hub_url, ports.hub_credentials

    def _on_hub(self, state: str, why: str) -> None:
        if state in ("refused", "away"):
            self._log.warning(f"the hub is {state}: {why}; trying on")
        elif state == "joined":
            self._log.info("joined the hub")
        body = {"state": state, "why": why, "stamp_ns": time.time_ns()}
        self._spawn(self.calls.publish_event("hub", body))

    def _forget(self, sink: NatsSink) -> None:
        if sink.topic.route.durable:
            self._durable.retire(sink)
            return
        self._out.remove(sink)
        if sink.last_subject:
            self._soon(lambda: self._spawn(self._out.forget_last(sink)))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` beside everything else; on the loop."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def health(self) -> Health:
        values: dict[str, object] = {
            "url": self._settings.url,
            "interest": self._watch.state,
            "jetstream": self._status.jetstream,
            "rtt_ms": self._status.rtt_ms,
            "hub": self._hub.state,
            "hub_rtt_ms": self._status.hub_rtt_ms,
            **self._out.figures(),
            **self._in.figures(),
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
                "durable_dropped": self._durable.dropped(),
            }
        for name, figures in self._figures.items():
            values |= {f"{name}.{key}": value for key, value in figures().items()}
        if self._troubles.total:
            values |= {"troubles": self._troubles.total, "last_trouble": self._troubles.last}
        if not self._link_up:
            return Health(False, f"no link: {self._why}", values)
        if self._troubles.recent(time.monotonic()):
            return Health(False, f"connected, but {self._troubles.last}", values)
        if not self._durable.ok:
            return Health(False, f"durable routes are {self._durable.state}", values)
        if not self._hub.ok:
            return Health(False, f"the hub is {self._hub.state}: {self._hub.why}", values)
        return Health(True, "connected", values)

    async def aclose(self) -> None:
        telemetry, self._out.client = self._out.client, None
        commands, self._commands = self._commands, None
        storing, self._storing = self._storing, None
        await self.calls.aclose()
        if commands is not None:
            await self._status.leave(commands)
        for client in (commands, telemetry, storing):
            if client is not None:
                await client.close()

    def _on_state(self, connected: bool, why: str) -> None:
        self._why = why
        if connected:
            self._log.info(f"connected to {self._settings.url}")
            self.connected.set()
            self._spawn(self._out.make_up())
            if not self._link_up:
                self._status.poke()
            self._said = None
        else:
            self._say_why(why)
        self._link_up = connected

    def _on_trouble(self, words: str) -> None:
        """Something goes wrong though the link is up: say each thing once."""
        if self._troubles.count(words, time.monotonic()):
            fix = (
                ". Fix: give nats_credentials of the robot there, with the permissions in "
                "docs/wire.md"
                if "permissions violation" in words.lower()
                else ""
            )
            self._log.warning(f"{self._settings.url}: {words}{fix}")

    def _say_why(self, why: str) -> None:
        """Warn when the link goes or is not there, and again where a person can mend that."""
        fix = remedy(why)
        if self._said is None or (fix and fix != self._said):
            self._said = fix
            line = f"no link to {self._settings.url} ({why}); trying on"
            self._log.warning(f"{line}. Fix: {fix}" if fix else line)
