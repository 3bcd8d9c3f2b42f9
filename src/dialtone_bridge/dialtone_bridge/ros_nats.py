"""Gives NATS what it wants of ROS: services, parameters, actions, and requests of our own."""

from __future__ import annotations

from dialtone_bridge import services
from dialtone_bridge.actions import ActionDesk
from dialtone_bridge.durable_stream import DurableSettings
from dialtone_bridge.exchange import Exchange
from dialtone_bridge.requests import Forwarder, resolve
from dialtone_bridge.ros_actions import RosActions
from dialtone_bridge.ros_context import RosContext
from dialtone_bridge.ros_params import RosParameters
from dialtone_bridge.ros_requests import RosRequests
from dialtone_bridge.transports.carrier import Carrier
from dialtone_bridge.transports.nats import NatsSettings, NatsTransport
from dialtone_bridge.transports.nats_services import ServiceDesk
from dialtone_core.aio import TaskGroup


class RosNats(Carrier):
    """Makes the transport, and what stands between it and ROS beside topics."""

    def __init__(self, context: RosContext) -> None:
        node, params, ros_services = context.node, context.params, context.services
        self._nats = NatsTransport(_settings(context), context.inbound, context.log)
        super().__init__(self._nats)
        self._inbound = context.inbound
        self._calls = self._nats.calls
        self._writable = not params.read_only
        self._services = ros_services
        self._service_desk = ServiceDesk(self._calls, ros_services.call_json)
        self._parameters = RosParameters(
            node, ros_services.call_ros, params.allow_parameters, params.settable_parameters
        )
        allowed = params.allow_actions if self._writable else []
        self._actions = RosActions(node, allowed, ros_services, context.source.post)
        self._desk = ActionDesk(self._actions, self._calls)
        self._actions.lane = self._desk.lane
        self._forwarder = Forwarder(self._calls.ask)
        table = resolve(params.robot, params.requests)
        RosRequests(node, table, self._forwarder.put, context.source.post)
        self._nats.tell("requests", self._forwarder.figures)
        self._nats.tell("actions", self._desk.figures)

    async def opened(self, exchange: Exchange) -> None:
        """Answer requests."""
        await self._calls.serve(services.PACKAGE, services.handlers(exchange, self._inbound))
        verbs = services.parameter_handlers(self._parameters, self._writable)
        await self._calls.serve(services.PARAMETERS, verbs)

    def looked(self) -> None:
        """Tell NATS which actions and services are there now."""
        self._desk.offer(self._actions.available())
        if self._writable:
            self._service_desk.offer(self._services.offered)

    async def run(self) -> None:
        """Carry topics, actions and requests until cancelled."""
        async with TaskGroup() as group:
            group.create_task(self._nats.run())
            group.create_task(self._forwarder.run())
            group.create_task(self._service_desk.run())
            await self._desk.run()

    async def address(self) -> str:
        """Once there is a link to the server for the first time."""
        await self._nats.connected.wait()
        return await super().address()


def create(context: RosContext) -> Carrier | None:
    """See ``transports.registry``."""
    return RosNats(context) if context.params.nats_url else None


def _settings(context: RosContext) -> NatsSettings:
    params = context.params
    return NatsSettings(
        params.robot,
        params.nats_url,
        params.nats_credentials,
        context.namespace,
        params.nats_leaf,
        params.nats_backlog_bytes,
        DurableSettings(params.durable_max_bytes, params.durable_max_age_s, params.catchup_mbps),
    )
