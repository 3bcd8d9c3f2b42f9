"""The node ``bridge``: wires the ROS graph to the transports that its parameters name."""

from __future__ import annotations

import asyncio
import os
import sys

from rclpy.node import Node

from dialtone_bridge import ros_reports
from dialtone_bridge.exchange import Exchange
from dialtone_bridge.params import BridgeParams
from dialtone_bridge.ros_context import RosContext
from dialtone_bridge.ros_services import RosServices
from dialtone_bridge.ros_sink import RosInbound
from dialtone_bridge.ros_source import RosSource
from dialtone_bridge.routes import RouteTable
from dialtone_bridge.transports.registry import make_carriers, transport_names
from dialtone_core.aio import TaskGroup, end_task
from dialtone_core.naming import check_robot_name
from dialtone_core.paths import RobotFile
from dialtone_core.process import COMMANDS_FIRST, hurry, share_heaps
from dialtone_ros.runtime import run_async


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
            transports=transport_names(),
        )
        self._source = RosSource(node, params.discovery_period_s)
        self._services = RosServices(node, params.allow_services, self._source.post)
        self._inbound = RosInbound(node, table, params.read_only)
        context = RosContext(
            node=node,
            table=table,
            params=params,
            namespace=namespace,
            inbound=self._inbound,
            source=self._source,
            services=self._services,
            log=node.get_logger(),
        )
        self._carriers = make_carriers(context)
        self._transports = [each.transport for each in self._carriers]
        self._exchange = Exchange(self._source, self._transports, table)
        self._file: RobotFile | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Open everything and carry messages until ``stop``."""
        for transport in self._transports:
            await transport.open()
        for carrier in self._carriers:
            await carrier.opened(self._exchange)
        ros_reports.add_to(
            self._node, self._robot, self._transports, self._exchange, self._inbound
        )
        self._source.start(self._exchange, self._looked)
        async with TaskGroup() as group:
            tasks = [group.create_task(each.run()) for each in self._carriers]
            tasks.append(group.create_task(self._announce()))
            tasks.append(group.create_task(self._inbound.run()))
            await stop.wait()
            for task in tasks:
                await end_task(task)

    def _looked(self) -> None:
        if not self._params.read_only:  # nobody may call one then
            self._services.look()
        for carrier in self._carriers:
            carrier.looked()

    async def close(self) -> None:
        """Withdraw the runtime file, then hang up."""
        if self._file is not None:
            self._file.remove()
        for transport in self._transports:
            await transport.aclose()

    async def _announce(self) -> None:
        """Write the runtime file once clients reach every transport."""
        urls = {each.transport.name: await each.address() for each in self._carriers}
        self._file = RobotFile.at(
            urls,
            robot=self._robot,
            pid=os.getpid(),
            namespace=self._node.get_namespace(),
            nats_credentials=self._params.nats_credentials,
        )
        self._file.write()


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
