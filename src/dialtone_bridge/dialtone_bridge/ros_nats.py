"""Gives NATS what it wants of ROS: services, parameters, actions, and requests of our own."""

from __future__ import annotations

from rclpy.node import Node

from dialtone_bridge import services
from dialtone_bridge.actions import ActionDesk
from dialtone_bridge.durable import DurableSettings
from dialtone_bridge.exchange import Exchange
from dialtone_bridge.params import BridgeParams
from dialtone_bridge.requests import Forwarder, resolve
from dialtone_bridge.ros_actions import RosActions
from dialtone_bridge.ros_params import RosParameters
from dialtone_bridge.ros_requests import RosRequests
from dialtone_bridge.ros_services import RosServices
from dialtone_bridge.ros_sink import RosInbound
from dialtone_bridge.ros_source import RosSource
from dialtone_bridge.transports.nats import NatsSettings, NatsTransport
from dialtone_core.aio import TaskGroup


class RosNats:
    """Makes the transport, and what stands between it and ROS beside topics."""

    def __init__(
        self,
        node: Node,
        params: BridgeParams,
        inbound: RosInbound,
        source: RosSource,
        ros_services: RosServices,
    ) -> None:
        settings = NatsSettings(
            params.robot,
            params.nats_url,
            params.nats_credentials,
            node.get_namespace(),
            params.nats_leaf,
            params.nats_backlog_bytes,
            DurableSettings(
                params.durable_max_bytes, params.durable_max_age_s, params.catchup_mbps
            ),
        )
        self.transport = NatsTransport(settings, inbound, node.get_logger())
        self._inbound = inbound
        self._calls = self.transport.calls
        self._writable = not params.read_only
        self._services = ros_services
        self._parameters = RosParameters(
            node, ros_services.call_ros, params.allow_parameters, params.settable_parameters
        )
        allowed = params.allow_actions if self._writable else []
        self._actions = RosActions(node, allowed, ros_services, source.post)
        self._desk = ActionDesk(self._actions, self._calls)
        self._actions.lane = self._desk.lane
        self._forwarder = Forwarder(self._calls.ask)
        table = resolve(params.robot, params.requests)
        RosRequests(node, table, self._forwarder.put, source.post)
        self.transport.tell("requests", self._forwarder.figures)
        self.transport.tell("actions", self._desk.figures)

    async def serve(self, exchange: Exchange) -> None:
        """Answer requests, once the transport is open."""
        await self._calls.serve(services.PACKAGE, services.handlers(exchange, self._inbound))
        if self._writable:
            await self._calls.serve_calls(self._services.call_json)
        verbs = services.parameter_handlers(self._parameters, self._writable)
        await self._calls.serve(services.PARAMETERS, verbs)

    def offer(self) -> None:
        """Tell NATS which actions are there now; in the executor's thread."""
        self._desk.offer(self._actions.available())

    async def run(self) -> None:
        """Carry actions and requests until cancelled."""
        async with TaskGroup() as group:
            group.create_task(self._forwarder.run())
            await self._desk.run()
