"""Foxglove: the live WebSocket of foxglove-sdk, raw CDR out, client publish in.

The SDK calls its listener on the client's own poll loop, where half a second of work stalls that
client and slows the others (measured on 0.30.3): the listener only notes and enqueues. Panels send
nothing when a stick is let go, and a laptop that closes sends nothing at all, so a client that
vanishes or unadvertises while its last velocity was not zero is followed by one zero velocity.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from foxglove import Channel, Context, Schema, start_server
from foxglove.websocket import (
    Capability,
    ChannelView,
    Client,
    ClientChannel,
    ServerListener,
    StatusLevel,
    WebSocketServer,
)

from dialtone_bridge.stats import Refusals
from dialtone_bridge.transports.base import (
    Health,
    Inbound,
    Log,
    ServiceInfo,
    SinkStats,
    Topic,
    Want,
)
from dialtone_bridge.transports.foxglove_services import FoxgloveServices
from dialtone_core.delivery import Lane, Outbox, Policy, Priority
from dialtone_core.errors import DialtoneError, WireError
from dialtone_core.naming import normalize_type
from dialtone_core.ports import is_free
from dialtone_core.sample import Sample

TWIST = "geometry_msgs/msg/Twist"
_ZERO = b'{"linear":{},"angular":{}}'
_FROM_CLIENT = Policy("queue", 256, 16 * 1024 * 1024)


@dataclass(frozen=True, slots=True)
class FoxgloveSettings:
    """Where to listen (port 0: any free one) and under which name; ``backlog`` is per client."""

    robot: str
    host: str = "127.0.0.1"
    port: int = 8765
    backlog: int = 1024
    namespace: str = "/"


@dataclass(slots=True)
class _Publication:
    """What one client advertised on one of its channels."""

    path: str
    type: str
    encoding: str
    moving: bool = False


@dataclass(frozen=True, slots=True)
class _Inbox:
    """One client: its channels and the lane that its messages wait in."""

    lane: Lane[_Received]
    channels: dict[int, _Publication] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Received:
    """A message of a client; ``payload`` is None when its channel is gone."""

    client: int
    publication: _Publication
    payload: bytes | None


class FoxgloveSink:
    """One topic as a channel. ``Channel.log`` copies into the clients' backlogs, never blocks."""

    def __init__(
        self, topic: Topic, channel: Channel, want: Want, on_close: Callable[[FoxgloveSink], None]
    ) -> None:
        self.topic = topic
        self.channel = channel
        self.clients: set[int] = set()
        self.sent = 0
        self._want = want
        self._on_close = on_close
        self._last: Sample | None = None

    def put(self, sample: Sample) -> None:
        if self.topic.route.latched:
            self._last = sample
        self.channel.log(sample.payload, log_time=sample.receive_ns)
        self.sent += 1

    def stats(self) -> SinkStats:
        return SinkStats(self.sent, clients=len(self.clients))

    def close(self) -> None:
        self._on_close(self)
        self.channel.close()

    def join(self, client: int) -> None:
        """A client subscribed; where others had already, it alone gets what is latched."""
        if self.clients and self._last is not None:
            last = self._last
            self.channel.log(last.payload, log_time=last.receive_ns, sink_id=client)
        self.clients.add(client)
        self._want(True)

    def leave(self, client: int) -> None:
        self.clients.discard(client)
        if not self.clients:
            self._last = None
            self._want(False)


class FoxgloveTransport(ServerListener):
    """See ``base.Transport``. The ``on_…`` methods run on the SDK's threads."""

    name = "foxglove"

    def __init__(self, settings: FoxgloveSettings, inbound: Inbound, log: Log) -> None:
        self._settings = settings
        self._inbound = inbound
        self._log = log
        self._context = Context()
        self._server: WebSocketServer | None = None
        self._lock = threading.Lock()
        self._sinks: dict[int, FoxgloveSink] = {}
        self._clients: dict[int, _Inbox] = {}
        self._outbox: Outbox[_Received] = Outbox()
        self.refusals = Refusals()
        self.received = 0

    @property
    def url(self) -> str:
        """``ws://host:port``, once open."""
        if self._server is None:
            return ""
        return f"ws://{self._settings.host}:{self._server.port}"

    async def open(self) -> None:
        """Listen; raises ``DialtoneError`` where the port is taken."""
        settings = self._settings
        self._outbox.bind(asyncio.get_running_loop())
        problem = ""
        if settings.port and not is_free(settings.port, settings.host):
            problem = "the port is in use or not ours to open"
        else:
            try:
                self._server = start_server(
                    name=settings.robot,
                    host=settings.host,
                    port=settings.port,
                    capabilities=[Capability.ClientPublish, Capability.Services],
                    supported_encodings=["json", "cdr"],
                    server_listener=self,
                    context=self._context,
                    message_backlog_size=settings.backlog,
                )
            except Exception as error:  # the SDK raises its own and the runtime's errors
                problem = str(error)
        if problem:
            raise DialtoneError(
                f"cannot serve Foxglove on {settings.host}:{settings.port} ({problem})",
                fix="stop what listens there, or set foxglove_port to another port or 0",
            )
        self._log.info(f"Foxglove on {self.url}")

    async def run(self) -> None:
        """Pass on what clients publish until cancelled."""
        while True:
            await self._outbox.wait()
            for _, received in self._outbox.drain():
                self._handle(received)
            await asyncio.sleep(0)

    def attach(self, topic: Topic, want: Want) -> FoxgloveSink:
        schema = Schema(name=topic.type, encoding="ros2msg", data=topic.definition.encode())
        with self._lock:  # a client may subscribe before the sink is known
            channel = Channel(
                topic.name, message_encoding="cdr", schema=schema, context=self._context
            )
            sink = FoxgloveSink(topic, channel, want, self._forget)
            self._sinks[channel.id()] = sink
        return sink

    def offer_services(self, services: FoxgloveServices, found: Sequence[ServiceInfo]) -> None:
        """Offer what the graph has now; from the source's thread."""
        server = self._server
        if server is not None:
            services.offer(server, found)

    def health(self) -> Health:
        with self._lock:
            subscribed = {client for sink in self._sinks.values() for client in sink.clients}
            sent = sum(sink.sent for sink in self._sinks.values())
            clients = subscribed | self._clients.keys()
            dropped = sum(inbox.lane.dropped for inbox in self._clients.values())
        values: dict[str, object] = {
            "url": self.url,
            "clients": len(clients),
            "sent": sent,
            "commands": self.received,
            "commands_dropped": dropped,
            "commands_refused": self.refusals.total(),
        }
        values |= {f"refused.{reason}": n for reason, n in self.refusals.by_reason.items()}
        if self.refusals.last:
            values["last_refusal"] = self.refusals.last
        return Health(self._server is not None, "listening", values)

    async def aclose(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            await asyncio.to_thread(server.stop)

    # -- the SDK's threads ------------------------------------------------------------------

    def on_subscribe(self, client: Client, channel: ChannelView) -> None:
        with self._lock:
            sink = self._sinks.get(channel.id)
            if sink is not None:
                sink.join(client.id)

    def on_unsubscribe(self, client: Client, channel: ChannelView) -> None:
        with self._lock:
            sink = self._sinks.get(channel.id)
            if sink is not None:
                sink.leave(client.id)

    def on_client_advertise(self, client: Client, channel: ClientChannel) -> None:
        publication = _Publication(
            self._path(channel.topic), _normal(channel.schema_name), channel.encoding
        )
        with self._lock:
            inbox = self._clients.get(client.id)
            if inbox is None:
                name = f"client {client.id}"
                inbox = _Inbox(self._outbox.open_lane(name, _FROM_CLIENT, Priority.COMMAND))
                self._clients[client.id] = inbox
            inbox.channels[channel.id] = publication
        if not self._inbound.accepts(publication.path):
            self._complain(f"{channel.topic} takes no messages from clients")

    def on_client_unadvertise(self, client: Client, client_channel_id: int) -> None:
        with self._lock:
            inbox = self._clients.get(client.id)
            publication = inbox.channels.pop(client_channel_id, None) if inbox else None
            if inbox is not None and publication is not None:
                inbox.lane.put(_Received(client.id, publication, None), 0)

    def on_message_data(self, client: Client, client_channel_id: int, data: bytes) -> None:
        with self._lock:
            inbox = self._clients.get(client.id)
            publication = inbox.channels.get(client_channel_id) if inbox else None
        if inbox is not None and publication is not None:
            inbox.lane.put(_Received(client.id, publication, data), len(data))

    # -- the loop ---------------------------------------------------------------------------

    def _handle(self, received: _Received) -> None:
        publication = received.publication
        if received.payload is None:
            self._gone(received.client, publication)
            return
        try:
            self._inbound.message(
                publication.path, publication.type, publication.encoding, received.payload
            )
            self.received += 1
            publication.moving = publication.type == TWIST
        except WireError as error:
            if self.refusals.total() == 0:
                self._log.warning(f"refused a message on {publication.path}: {error}")
            self.refusals.count(error.reason, error.detail)

    def _gone(self, client: int, publication: _Publication) -> None:
        """A channel was unadvertised or its client vanished: stop what it drove."""
        if publication.moving:
            publication.moving = False
            self._inbound.message(publication.path, TWIST, "json", _ZERO)
            self._log.info(f"stopped {publication.path}: its Foxglove client is gone")
        with self._lock:
            inbox = self._clients.get(client)
            if inbox is not None and not inbox.channels and not len(inbox.lane):
                self._outbox.close_lane(inbox.lane)
                del self._clients[client]

    def _forget(self, sink: FoxgloveSink) -> None:
        with self._lock:
            self._sinks.pop(sink.channel.id(), None)

    def _path(self, topic: str) -> str:
        """A client's name for a topic: full as the channels have it, or relative."""
        prefix = self._settings.namespace.rstrip("/") + "/"
        return topic[len(prefix) :] if topic.startswith(prefix) else topic

    def _complain(self, line: str) -> None:
        """Tell it to every client, from a thread where the server may be asked."""
        self._log.warning(line)
        server = self._server
        if server is not None:
            threading.Thread(
                target=server.publish_status, args=(line, StatusLevel.Warning), daemon=True
            ).start()


def _normal(type_name: str) -> str:
    try:
        return normalize_type(type_name)
    except ValueError:
        return type_name
