"""What clients ask of the server: topics, commands, services, parameters, graph, assets.

Everything runs on the loop. What takes time is a task of its own, a bounded number of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any

from dialtone_bridge.foxglove import messages
from dialtone_bridge.foxglove.extras import Extras, Graph, graph_update
from dialtone_bridge.foxglove.messages import Level, ServiceCall
from dialtone_bridge.foxglove.server import Server
from dialtone_bridge.foxglove.services import FoxgloveServices
from dialtone_bridge.foxglove.session import Publication, Requests, Session, Subscription
from dialtone_bridge.stats import Refusals
from dialtone_bridge.transports.base import Inbound, Log, ServiceInfo
from dialtone_core.errors import DialtoneError, WireError
from dialtone_core.naming import normalize_type

TWIST = "geometry_msgs/msg/Twist"
_ZERO = b'{"linear":{},"angular":{}}'
_MAX_CHANNELS = 256
_MAX_SUBSCRIPTIONS = 10_000
_MAX_TASKS = 64
_GRAPH_PERIOD_S = 1.0


class ClientRequests(Requests):
    """See ``session.Requests``."""

    def __init__(
        self, namespace: str, read_only: bool, inbound: Inbound, log: Log, extras: Extras
    ) -> None:
        self._prefix = namespace.rstrip("/") + "/"
        self._read_only = read_only
        self._inbound = inbound
        self._log = log
        self._extras = extras
        self._server: Server | None = None
        self._services: FoxgloveServices | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.refusals = Refusals()
        self.received = 0

    @property
    def server(self) -> Server:
        if self._server is None:
            raise RuntimeError("bind the server first")
        return self._server

    def bind(self, server: Server) -> None:
        self._server = server

    async def run(self) -> None:
        """Keep those who want the graph told of it, until cancelled."""
        self._loop = asyncio.get_running_loop()
        try:
            while True:
                await asyncio.sleep(_GRAPH_PERIOD_S)
                watching = [each for each in self.server.sessions if each.graph is not None]
                if watching and self._extras.graph is not None:
                    await self._tell_graph(watching)
        finally:
            for task in self._tasks:
                task.cancel()

    # -- topics -----------------------------------------------------------------------------

    def subscribe(self, session: Session, subscription: int, channel: int) -> None:
        known = self.server.channels.get(channel)
        if known is None:
            raise WireError("no_channel", f"no channel {channel}")
        if subscription in session.subscriptions or not 0 <= subscription < 1 << 32:
            raise WireError("bad_subscription", f"subscription {subscription} is no free id")
        if len(session.subscriptions) >= _MAX_SUBSCRIPTIONS:
            raise WireError("too_many", f"more than {_MAX_SUBSCRIPTIONS} subscriptions")
        known.join(session, subscription)

    def unsubscribe(self, session: Session, subscription: Subscription) -> None:
        subscription.channel.leave(session, subscription)

    def left(self, session: Session) -> None:
        for subscription in list(session.subscriptions.values()):
            subscription.channel.leave(session, subscription)
        for publication in session.publications.values():
            self._stop(publication)
        session.publications.clear()
        self.server.parted(session)

    # -- commands ---------------------------------------------------------------------------

    def advertise(self, session: Session, channel: int, offer: dict[str, Any]) -> None:
        if len(session.publications) >= _MAX_CHANNELS:
            raise WireError("too_many", f"more than {_MAX_CHANNELS} channels")
        topic = str(offer["topic"])
        made = Publication(
            topic[len(self._prefix) :] if topic.startswith(self._prefix) else topic,
            _normal(str(offer["schemaName"])),
            str(offer["encoding"]),
        )
        session.publications[channel] = made
        if not self._inbound.accepts(made.path):
            line = f"{topic} takes no messages from clients"
            session.send(messages.status(Level.WARNING, line))
            self._log.warning(line)

    def unadvertise(self, session: Session, channel: int) -> None:
        publication = session.publications.pop(channel, None)
        if publication is not None:
            self._stop(publication)

    def publish(self, session: Session, channel: int, payload: bytes) -> None:
        known = session.publications.get(channel)
        if known is None:
            raise WireError("no_channel", f"nothing was advertised as channel {channel}")
        try:
            self._inbound.message(known.path, known.type, known.encoding, payload, known)
            self.received += 1
            known.moving = known.type == TWIST
        except WireError as error:
            if self.refusals.total() == 0:
                self._log.warning(f"refused a message on {known.path}: {error}")
            if self.refusals.by_reason[error.reason] < 10:
                line = f"{known.path}: {error}"
                session.send(messages.status(Level.ERROR, line, f"refused {known.path}"))
            self.refusals.count(error.reason, error.detail)

    def _stop(self, publication: Publication) -> None:
        """A channel was unadvertised or its client vanished: stop what it drove."""
        if publication.moving:
            publication.moving = False
            self._inbound.message(publication.path, TWIST, "json", _ZERO, publication)
            self._log.info(f"stopped {publication.path}: its Foxglove client is gone")
        self._inbound.left(publication)

    # -- services ---------------------------------------------------------------------------

    def offer_services(self, services: FoxgloveServices, found: Sequence[ServiceInfo]) -> None:
        """Offer these and no others; from any thread."""
        if services.update(found):
            self._services = services
            self.server.offer_services_soon(services.offers())

    def call(self, session: Session, call: ServiceCall) -> None:
        async def answer() -> None:
            try:
                if self._services is None:
                    raise DialtoneError("no services are offered")
                payload = await self._services.call(call)
                session.send(messages.call_answer(call, payload))
            except (DialtoneError, WireError) as error:
                session.send(messages.call_failure(call, str(error)))

        self._start(session, answer())

    # -- parameters, graph, assets ----------------------------------------------------------

    def operate(self, session: Session, op: str, message: dict[str, Any]) -> None:
        if op in ("getParameters", "setParameters"):
            self._start(session, self._parameters(session, op, message))
        elif op == "subscribeParameterUpdates":
            session.parameters |= set(message["parameterNames"])
        elif op == "unsubscribeParameterUpdates":
            session.parameters -= set(message["parameterNames"])
        elif op in ("subscribeConnectionGraph", "unsubscribeConnectionGraph"):
            if op.startswith("un"):
                session.graph = None
            elif self._extras.graph is None:
                raise WireError("unknown_op", "the connection graph is not offered")
            else:
                session.graph = Graph()
                self._start(session, self._tell_graph([session]))
        elif op == "fetchAsset":
            self._start(
                session, self._asset(session, str(message["uri"]), int(message["requestId"]))
            )
        else:
            raise WireError("unknown_op", f"{op[:40]} is not offered")

    async def _parameters(self, session: Session, op: str, message: dict[str, Any]) -> None:
        known = self._extras.parameters
        if known is None:
            raise WireError("unknown_op", "parameters are not offered")
        if op == "getParameters":
            values = await known.get([str(each) for each in message["parameterNames"]])
        elif self._read_only:
            raise WireError("read_only", "parameters cannot be set")
        else:
            values = await known.set(message["parameters"])
            self.tell_parameters(values, but=session)
        if op == "getParameters" or message.get("id"):
            reply = {"op": "parameterValues", "parameters": values}
            if message.get("id"):
                reply["id"] = message["id"]
            session.send(messages.text(reply))

    def tell_parameters(
        self, values: Sequence[dict[str, object]], but: Session | None = None
    ) -> None:
        """To those who subscribed to them; from any thread."""
        for session in self.server.sessions:
            wanted = [each for each in values if each["name"] in session.parameters]
            if wanted and session is not but:
                update = messages.text({"op": "parameterValues", "parameters": wanted})
                session.send(update)

    async def _tell_graph(self, watching: Sequence[Session]) -> None:
        """Tell each what changed since it was told; the whole graph at first."""
        if self._extras.graph is None:
            raise WireError("unknown_op", "the connection graph is not offered")
        now = await self._extras.graph()
        for session in watching:
            if session.graph is None:  # it left meanwhile
                continue
            update = graph_update(session.graph, now)
            session.graph = now
            if update is not None:
                session.send(messages.text(update))

    async def _asset(self, session: Session, uri: str, request: int) -> None:
        try:
            if self._extras.asset is None:
                raise DialtoneError("assets are not offered")
            data = await asyncio.to_thread(self._extras.asset, uri)
            session.send(messages.asset(request, data))
        except (DialtoneError, OSError) as error:
            session.send(messages.asset_failure(request, str(error)))

    def broadcast_time(self, now_ns: int) -> None:
        self.server.broadcast(messages.time_message(now_ns))

    def _start(self, session: Session, work: Coroutine[Any, Any, None]) -> None:
        if len(self._tasks) >= _MAX_TASKS:
            work.close()
            raise WireError("busy", f"{_MAX_TASKS} requests are being answered")
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(partial(self._done, session))

    def _done(self, session: Session, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        failure = None if task.cancelled() else task.exception()
        if failure is not None:
            session.send(messages.status(Level.ERROR, str(failure)[:200]))
            if not isinstance(failure, WireError):
                self._log.warning(f"a Foxglove client's request failed: {failure!r}")


def _normal(type_name: str) -> str:
    try:
        return normalize_type(type_name)
    except ValueError:
        return type_name
