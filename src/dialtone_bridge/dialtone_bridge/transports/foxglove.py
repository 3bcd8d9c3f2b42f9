"""Foxglove: raw CDR out to each client at its own pace, checked commands in.

The server is our own (docs/decisions/0005): a bounded lane per client and topic, and a bound in
bytes per client. Panels send nothing when a stick is let go, and a laptop that closes sends
nothing at all, so a client that vanishes or unadvertises while its last velocity was not zero is
followed by one zero velocity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dialtone_bridge.foxglove.channel import ServerChannel
from dialtone_bridge.foxglove.complaints import Complaints
from dialtone_bridge.foxglove.entrance import Address
from dialtone_bridge.foxglove.extras import Extras
from dialtone_bridge.foxglove.frames import FrameTransforms
from dialtone_bridge.foxglove.params import ORIGINS
from dialtone_bridge.foxglove.requests import ClientRequests
from dialtone_bridge.foxglove.server import Server
from dialtone_bridge.foxglove.services import FoxgloveServices
from dialtone_bridge.foxglove.session import Message
from dialtone_bridge.transports.base import (
    Health,
    Inbound,
    Log,
    ServiceInfo,
    SinkStats,
    Topic,
    Want,
)
from dialtone_core.aio import TaskGroup
from dialtone_core.sample import Sample

#: How the text of a type begins that is there as IDL alone.
IDL = f"{'=' * 80}\nIDL: "
ODOMETRY = "nav_msgs/msg/Odometry"
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class FoxgloveSettings:
    """Where to listen (port 0: any free one) and under which name; ``client_bytes`` may wait for
    one client; ``public`` is a second address, for clients with a token; ``distro`` is that of
    ROS."""

    robot: str
    host: str = "127.0.0.1"
    port: int = 8765
    client_bytes: int = 16 * MIB
    namespace: str = "/"
    read_only: bool = False
    public: Address | None = None
    origins: Sequence[str] = tuple(ORIGINS)
    token: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    distro: str = ""
    max_clients: int = 64


@dataclass
class SimTime:
    """The robot's simulated time as it was told last, ns; ``None`` where its time is real.

    Clients then take it for the log time of each message: the one time source of the session.
    """

    now_ns: int | None = None

    def messages(self, burst: Sequence[Sample]) -> list[Message]:
        now_ns = self.now_ns
        if now_ns is not None:
            return [(each.payload, now_ns) for each in burst]
        return [(each.payload, each.receive_ns) for each in burst]


class FoxgloveSink:
    """One topic as a channel; odometry also as a frame transform.

    ``stand_in`` is offered again when the topic goes.
    """

    def __init__(
        self,
        topic: Topic,
        want: Want,
        server: Server,
        time: SimTime,
        stand_in: ServerChannel | None = None,
    ) -> None:
        self.topic = topic
        self._stand_in = stand_in
        self._want = want
        self._server = server
        self._time = time
        route = topic.route
        self.channel = ServerChannel(
            topic.name,
            topic.type,
            topic.definition,
            schema_encoding="ros2idl" if topic.definition.startswith(IDL) else "ros2msg",
            policy=route.policy,
            priority=route.priority,
            latched=route.latched,
            on_wanted=self._wanted,
            replay=lambda give: topic.replay(lambda burst: give(time.messages(burst))),
        )
        self.frames: FrameTransforms | None = None
        if topic.type == ODOMETRY:
            self.frames = FrameTransforms(topic.name, self._wanted)
            server.add(self.frames.channel)
        server.add(self.channel)

    def put(self, burst: Sequence[Sample]) -> None:
        self.channel.put(self._time.messages(burst))
        if self.frames is not None:
            self.frames.put(burst, self._time.now_ns)

    def stats(self) -> SinkStats:
        channel = self.channel
        clients = len({id(each.lane._outbox) for each in channel.subscribers})
        return SinkStats(channel.sent(), channel.dropped(), channel.waiting(), clients)

    def close(self) -> None:
        self._server.remove(self.channel)
        if self.frames is not None:
            self._server.remove(self.frames.channel)
        stand_in, self._stand_in = self._stand_in, None
        if stand_in is not None:
            self._server.add(stand_in)

    def _wanted(self, _: bool) -> None:
        frames = self.frames is not None and bool(self.frames.channel.subscribers)
        wanted = bool(self.channel.subscribers) or frames
        if not wanted:
            self.channel.forget()
        self._want(wanted)


class FoxgloveTransport:
    """See ``base.Transport``."""

    name = "foxglove"

    def __init__(
        self, settings: FoxgloveSettings, inbound: Inbound, log: Log, extras: Extras | None = None
    ) -> None:
        self._settings = settings
        self._log = log
        self._extras = extras or Extras()
        self._time = SimTime(0 if self._extras.sim_time else None)
        self._requests = ClientRequests(
            settings.namespace, settings.read_only, inbound, log, self._extras
        )
        self._server = Server(
            settings.robot,
            self._extras.capabilities(settings.read_only),
            self._requests,
            settings.origins,
            settings.client_bytes,
            Complaints(log.warning),
            settings.distro,
            settings.max_clients,
        )
        self._requests.bind(self._server)
        self._port = 0
        self._sinks: dict[str, FoxgloveSink] = {}
        self._offered: dict[str, ServerChannel] = {}
        self.refusals = self._requests.commands.refusals
        self.public_port = 0

    @property
    def url(self) -> str:
        """``ws://host:port``, once open."""
        scheme = "wss" if self._settings.tls_cert else "ws"
        return f"{scheme}://{self._settings.host}:{self._port}" if self._port else ""

    @property
    def clients(self) -> int:
        return len(self._server.sessions)

    async def open(self) -> None:
        """Listen; raises ``DialtoneError`` where a port is taken."""
        settings = self._settings
        address = Address(
            settings.host, settings.port, settings.token, settings.tls_cert, settings.tls_key
        )
        self._port = await self._server.listen(address)
        self._log.info(f"Foxglove on {self.url}")
        if settings.public is not None:
            self.public_port = await self._server.listen(settings.public)
            where = f"{settings.public.host}:{self.public_port}"
            self._log.info(f"Foxglove for clients with a token on {where}")

    async def run(self) -> None:
        """Serve until cancelled."""
        async with TaskGroup() as group:
            group.create_task(self._server.watch())
            await self._requests.run()

    def attach(self, topic: Topic, want: Want) -> FoxgloveSink:
        stand_in = self._offered.get(topic.name)
        if stand_in is not None:  # the graph has it itself now
            self._server.remove(stand_in)
        sink = FoxgloveSink(topic, want, self._server, self._time, stand_in)
        self._sinks[topic.name] = sink
        return sink

    def offer_channel(self, channel: ServerChannel) -> None:
        """Offer something that is no topic of the graph; from any thread."""
        if channel.topic not in self._sinks:
            self._offered[channel.topic] = channel
            self._server.add(channel)

    def broadcast_time(self, now_ns: int) -> None:
        """Tell the robot's simulated time; messages bear it from now on. From any thread."""
        self._time.now_ns = now_ns
        self._requests.broadcast_time(now_ns)

    def tell_parameters(self, values: Sequence[dict[str, object]]) -> None:
        """Parameters changed; those who subscribed to them are told. From any thread."""
        self._requests.tell_parameters(values)

    def offer_services(self, services: FoxgloveServices, found: Sequence[ServiceInfo]) -> None:
        """Offer what the graph has now; from any thread."""
        self._requests.offer_services(services, found)

    def health(self) -> Health:
        stats = [sink.stats() for sink in list(self._sinks.values())]
        values: dict[str, object] = {
            "url": self.url,
            "clients": self.clients,
            "turned_away": self._server.refused,
            "sent": sum(each.sent for each in stats),
            "dropped": sum(each.dropped for each in stats),
            "commands": self._requests.commands.received,
            **self.refusals.figures(),
        }
        return Health(bool(self._port), "listening", values)

    async def aclose(self) -> None:
        self._port = 0
        await self._server.aclose()
