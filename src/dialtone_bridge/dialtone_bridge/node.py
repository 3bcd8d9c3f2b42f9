"""The node ``bridge``: wires the ROS graph to NATS and Foxglove."""

from __future__ import annotations

import asyncio
import os
import sys
from importlib.metadata import entry_points

from rclpy.node import Node

from dialtone_bridge import ros_reports
from dialtone_bridge.exchange import Exchange
from dialtone_bridge.foxglove.services import FoxgloveServices
from dialtone_bridge.params import BridgeParams
from dialtone_bridge.ros_foxglove import RosFoxglove
from dialtone_bridge.ros_nats import RosNats
from dialtone_bridge.ros_services import RosServices
from dialtone_bridge.ros_sink import RosInbound
from dialtone_bridge.ros_source import RosSource
from dialtone_bridge.routes import RouteTable
from dialtone_bridge.transports.base import Transport
from dialtone_core.aio import TaskGroup, end_task
from dialtone_core.naming import check_robot_name
from dialtone_core.paths import RobotFile
from dialtone_core.process import COMMANDS_FIRST, hurry, share_heaps
from dialtone_ros.runtime import run_async

#: Entry points of transports beside the two that are built in.
TRANSPORTS = "dialtone.transports"


class Bridge:
    """All parts of one bridge. ``open`` may fail with a ``DialtoneError``; ``close`` undoes it."""

    def __init__(self, node: Node, params: BridgeParams) -> None:
        self._node = node
        self._params = params
        namespace = node.get_namespace()
        self._robot = check_robot_name(params.robot)
        table = RouteTable(
            params.routes,
            allow=params.allow_topics,
            deny=params.deny_topics,
            commands=params.command_topics,
            namespace=namespace,
            include_hidden=params.include_hidden,
            transports=_known_transports(),
        )
        inbound = self._inbound = RosInbound(node, table, params.read_only)
        self._transports: list[Transport] = []
        self._source = RosSource(node, params.discovery_period_s)
        self._services = RosServices(node, params.allow_services, self._source.post)
        self._nats: RosNats | None = None
        if params.nats_url:
            self._nats = RosNats(node, params, inbound, self._source, self._services)
            self._transports.append(self._nats.transport)
        self._foxglove: RosFoxglove | None = None
        if params.foxglove_enabled:
            self._foxglove = RosFoxglove(node, params, inbound, self._source, self._services)
            self._transports.append(self._foxglove.transport)
        self._exchange = Exchange(self._source, self._transports, table)
        self._callable = FoxgloveServices(self._services.call_cdr)
        self._file: RobotFile | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Open everything and carry messages until ``stop``."""
        for transport in self._transports:
            await transport.open()
        if self._nats is not None:
            await self._nats.serve(self._exchange)
        ros_reports.add_to(
            self._node, self._robot, self._transports, self._exchange, self._inbound
        )
        if self._foxglove is not None:
            self._foxglove.start()
        self._source.start(self._exchange, self._offer_services)
        async with TaskGroup() as group:
            tasks = [group.create_task(each.run()) for each in self._transports]
            tasks.append(group.create_task(self._announce()))
            tasks.append(group.create_task(self._inbound.run()))
            if self._nats is not None:
                tasks.append(group.create_task(self._nats.run()))
            await stop.wait()
            for task in tasks:
                await end_task(task)

    def _offer_services(self) -> None:
        if self._nats is not None:
            self._nats.offer()
        if self._foxglove is not None and not self._params.read_only:
            self._foxglove.transport.offer_services(self._callable, self._services.available())

    async def close(self) -> None:
        """Withdraw the runtime file, then hang up."""
        if self._file is not None:
            self._file.remove()
        for transport in self._transports:
            await transport.aclose()

    async def _announce(self) -> None:
        """Write the runtime file once both sides listen."""
        if self._nats is not None:
            await self._nats.transport.connected.wait()
        self._file = RobotFile(
            robot=self._robot,
            pid=os.getpid(),
            nats_url=self._params.nats_url,
            foxglove_url=self._foxglove.transport.url if self._foxglove is not None else "",
            namespace=self._node.get_namespace(),
            nats_credentials=self._params.nats_credentials,
        )
        self._file.write()


def _known_transports() -> list[str]:
    return ["nats", "foxglove", *(each.name for each in entry_points(group=TRANSPORTS))]


async def _main(node: Node, params: BridgeParams, stop: asyncio.Event) -> None:
    bridge = Bridge(node, params)
    try:
        await bridge.run(stop)
    finally:
        await bridge.close()


def main() -> None:
    """Entry point of ``bridge_node``."""
    # A thread that drains a flood gives way to a command after 0.5 ms instead of Python's 5.
    sys.setswitchinterval(0.0005)
    hurry(COMMANDS_FIRST)
    share_heaps()
    run_async("bridge", BridgeParams, _main)


if __name__ == "__main__":
    main()
