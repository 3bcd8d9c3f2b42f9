"""What clients ask of the server: topics, commands, services, parameters, graph, assets.

Everything runs on the loop. What takes time is counted by client and kind (``jobs``): no client
waits for another's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from dialtone_bridge.foxglove import messages
from dialtone_bridge.foxglove.commands import Commands
from dialtone_bridge.foxglove.complaints import Complaints, clean
from dialtone_bridge.foxglove.extras import Extras
from dialtone_bridge.foxglove.graph import GraphDesk
from dialtone_bridge.foxglove.jobs import Jobs
from dialtone_bridge.foxglove.knobs import ParameterDesk
from dialtone_bridge.foxglove.server import Server
from dialtone_bridge.foxglove.services import FoxgloveServices
from dialtone_bridge.foxglove.session import Requests, Session, Subscription, number
from dialtone_bridge.transports.base import Inbound, Log, ServiceInfo
from dialtone_core.errors import DialtoneError, WireError

_MAX_SUBSCRIPTIONS = 10_000
#: Calls of one service, and reads of parameters, under way for one client.
_CALLS, _PARAMETERS, _ASSETS = 8, 2, 1


class ClientRequests(Requests):
    """See ``session.Requests``."""

    def __init__(
        self, namespace: str, read_only: bool, inbound: Inbound, log: Log, extras: Extras
    ) -> None:
        self._extras = extras
        self._warn = Complaints(log.warning)
        self._server: Server | None = None
        self._services: FoxgloveServices | None = None
        self._jobs = Jobs(lambda error: self._warn(f"a client's request failed: {error!r}"))
        self._graph = GraphDesk(extras.graph, self._warn)
        self._parameters = ParameterDesk(extras.parameters, read_only)
        self.commands = Commands(namespace, inbound, log)

    @property
    def server(self) -> Server:
        if self._server is None:
            raise RuntimeError("bind the server first")
        return self._server

    def bind(self, server: Server) -> None:
        self._server = server

    async def run(self) -> None:
        """Keep those who want the graph told of it, until cancelled."""
        try:
            await self._graph.run(lambda: self.server.sessions)
        finally:
            self._jobs.close()

    # -- topics -----------------------------------------------------------------------------

    def subscribe(self, session: Session, subscription: int, channel: int) -> None:
        known = self.server.channels.get(channel)
        if known is None:
            raise WireError("no_channel", f"no channel {channel}")
        if subscription in session.subscriptions:
            raise WireError("bad_subscription", f"subscription {subscription} is no free id")
        if len(session.subscriptions) >= _MAX_SUBSCRIPTIONS:
            raise WireError("too_many", f"more than {_MAX_SUBSCRIPTIONS} subscriptions")
        known.join(session, subscription)

    def refused(self, error: WireError) -> None:
        self.commands.refusals.count(error.reason, error.detail)

    def unsubscribe(self, session: Session, subscription: Subscription) -> None:
        subscription.channel.leave(session, subscription)

    def left(self, session: Session) -> None:
        try:
            self.commands.left(session)
        finally:
            for subscription in list(session.subscriptions.values()):
                subscription.channel.leave(session, subscription)
            self._jobs.drop(session.id, "asset")  # calls that were made go on: one may be a stop
            self.server.parted(session)

    # -- commands ---------------------------------------------------------------------------

    def advertise(self, session: Session, channel: int, offer: dict[str, Any]) -> None:
        self.commands.advertise(session, channel, offer)

    def unadvertise(self, session: Session, channel: int) -> None:
        self.commands.unadvertise(session, channel)

    def publish(self, session: Session, channel: int, payload: bytes) -> None:
        self.commands.publish(session, channel, payload)

    def drives(self, session: Session) -> bool:
        return self.commands.drives(session)

    def halt(self, session: Session, why: str) -> None:
        self.commands.halt(session, why)

    # -- services ---------------------------------------------------------------------------

    def offer_services(self, services: FoxgloveServices, found: Sequence[ServiceInfo]) -> None:
        """Offer these and no others; from any thread."""
        if services.update(found):
            self._services = services
            self.server.offer_services_soon(services.offers())

    def call(self, session: Session, call: messages.ServiceCall) -> None:
        """Whatever becomes of it, the client is told with the ids of its call."""
        try:
            if self._services is None:
                raise DialtoneError("no services are offered")
            self._services.check(call)
            work = partial(self._call, self._services, session, call)
            kind = f"service {call.service}"
            self._jobs.start(session.id, kind, _CALLS, work, len(call.payload))
        except (DialtoneError, WireError) as error:
            self._fail(session, call, str(error))

    def _fail(self, session: Session, call: messages.ServiceCall, why: str) -> None:
        """Tell it twice: there are panels that know no failure of a call, and wait for ever."""
        session.send(messages.call_failure(call, clean(why)))
        session.refuse(f"service call failed: {clean(why)}")

    async def _call(
        self, services: FoxgloveServices, session: Session, call: messages.ServiceCall
    ) -> None:
        try:
            answer = messages.call_answer(call, await services.call(call))
        except Exception as error:  # a call without an answer hangs its panel for ever
            known = isinstance(error, DialtoneError | WireError)
            why = str(error) if known else f"{type(error).__name__}: {error}"
            if not known:
                self._warn(f"a service call of {session.link.peer} failed: {error!r}")
            self._fail(session, call, why)
            return
        session.send(answer)

    # -- parameters, graph, assets ----------------------------------------------------------

    def operate(self, session: Session, op: str, message: dict[str, Any], size: int) -> None:
        if op in ("getParameters", "setParameters"):
            self._parameters.check(op, message)
            work = partial(self._ask, session, op, message)
            self._jobs.start(session.id, "parameters", _PARAMETERS, work, size)
        elif op in ("subscribeParameterUpdates", "unsubscribeParameterUpdates"):
            self._parameters.follow(session, message, op.startswith("sub"))
        elif op in ("subscribeConnectionGraph", "unsubscribeConnectionGraph"):
            wanted = op.startswith("sub")
            self._graph.follow(session, wanted)
            if wanted:
                work = partial(self._graph.tell, [session])
                self._jobs.start(session.id, "graph", 1, work)
        elif op == "fetchAsset":
            self._fetch(session, message, size)
        else:
            raise WireError("unknown_op", f"{op[:40]} is not offered")

    async def _ask(self, session: Session, op: str, message: dict[str, Any]) -> None:
        try:
            values = await self._parameters.answer(session, op, message)
        except WireError as error:
            session.refuse(str(error))
            self.refused(error)
            await self._tell_unchanged(session, op, message)
            return
        except Exception as error:  # of ROS or our own: the client is told that it failed
            self._warn(f"{op} of {session.link.peer} failed: {error!r}")
            session.refuse(f"{op} failed")
            return
        if op == "setParameters":
            self._parameters.tell(self.server.sessions, values, but=session)

    async def _tell_unchanged(self, session: Session, op: str, message: dict[str, Any]) -> None:
        """What was not set is what it was: a panel shows what it asked for until it is told."""
        asked = message.get("parameters")
        if op != "setParameters" or not message.get("id") or not isinstance(asked, list):
            return
        names = [each.get("name") for each in asked if isinstance(each, dict)]
        values = {"parameterNames": [each for each in names if isinstance(each, str)]}
        if values["parameterNames"]:
            with suppress(WireError):
                await self._parameters.answer(
                    session, "getParameters", {**values, "id": message["id"]}
                )

    def tell_parameters(self, values: Sequence[dict[str, object]]) -> None:
        """To those who follow them; from any thread."""
        self.server.soon(lambda: self._parameters.tell(self.server.sessions, values))

    def _fetch(self, session: Session, message: dict[str, Any], size: int) -> None:
        """Whatever becomes of it, the client is told with the id of its request."""
        request = number(message["requestId"])
        try:
            uri = message.get("uri")
            if not isinstance(uri, str):
                raise WireError("bad_uri", f"{str(uri)[:80]} is no URI")
            work = partial(self._asset, session, uri, request)
            self._jobs.start(session.id, "asset", _ASSETS, work, size)
        except WireError as error:
            session.send(messages.asset_failure(request, clean(str(error))))

    async def _asset(self, session: Session, uri: str, request: int) -> None:
        try:
            if self._extras.asset is None:
                raise DialtoneError("assets are not offered")
            data = await asyncio.to_thread(self._extras.asset, uri)
        except Exception as error:  # a request without an answer hangs its panel for ever
            if not isinstance(error, DialtoneError | OSError):
                self._warn(f"{clean(uri, 80)} cannot be read: {error!r}")
            session.send(messages.asset_failure(request, clean(str(error))))
            return
        await session.send_asset(request, data)

    def broadcast_time(self, now_ns: int) -> None:
        self.server.broadcast(messages.time_message(now_ns))
