"""The node ``recorder``: wires parameters, ROS, NATS and the recorder together."""

from __future__ import annotations

import asyncio
import os
import platform
import socket
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import orjson
from rclpy.node import Node
from rclpy.utilities import get_rmw_implementation_identifier

from dialtone_core import __version__, natslink, natsserve
from dialtone_core.errors import DialtoneError
from dialtone_core.naming import check_robot_name
from dialtone_core.wire import event_subject
from dialtone_recorder.control import Recorder
from dialtone_recorder.facts import MB
from dialtone_recorder.folder import open_directory, recover_in_background
from dialtone_recorder.gate import Gate
from dialtone_recorder.params import RecorderParams
from dialtone_recorder.preroll import Preroll
from dialtone_recorder.ros_services import RosServices, report_episode, report_gate
from dialtone_recorder.ros_source import RosSource
from dialtone_recorder.topics import TopicFilter
from dialtone_ros.diagnostics import Diagnostics
from dialtone_ros.runtime import run_async


def _software() -> dict[str, Any]:
    return {
        "dialtone": __version__,
        "ros_distro": os.environ.get("ROS_DISTRO", ""),
        "rmw": get_rmw_implementation_identifier(),
        "python": platform.python_version(),
        "host": socket.gethostname(),
    }


class RecorderNode:
    """Owns the recorder and its ways of being asked."""

    def __init__(self, node: Node, params: RecorderParams) -> None:
        check_robot_name(params.robot)
        self._node = node
        self._params = params
        self._client: Any = None
        self._link = "off"
        namespace = node.get_namespace()
        wanted = TopicFilter(params.topics_allow, params.topics_deny, params.types_deny, namespace)
        gate = Gate(params.gate, namespace)
        preroll = Preroll(params.preroll_s, params.preroll_mb * MB) if params.preroll_s else None
        self.recorder = Recorder(
            open_directory(params.directory),
            params.robot,
            RosSource(node, wanted, params.discovery_period_s, params.history_depth, gate),
            params.limits(),
            labels=({"task": params.task} if params.task else {}) | params.label.given(),
            force=params.gate_force,
            software=_software(),
            config=asdict(params),
            gate=gate,
            preroll=preroll,
            on_event=self._event,
        )
        RosServices(node, self.recorder)
        diagnostics = Diagnostics(node, params.robot)
        diagnostics.add("episode", lambda: report_episode(self.recorder, self._link))
        diagnostics.add("gate", lambda: report_gate(self.recorder))

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until ``stop``."""
        recovering = recover_in_background(self.recorder.directory, self._told)
        tasks = [asyncio.create_task(each) for each in (recovering, self.recorder.run())]
        if self._params.nats_url:
            tasks.append(asyncio.create_task(self._serve()))
        try:
            if self._params.autostart:
                await self._autostart()
            await stop.wait()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.recorder.aclose(self._params.close_budget_s)
            if self._client is not None:
                await self._client.close()

    async def _autostart(self) -> None:
        """Begin an episode; a robot whose disk is full is better driven than off the line."""
        try:
            await self.recorder.start({"force": True})
        except DialtoneError as error:
            self._node.get_logger().error(f"not recording: {error}")

    async def _serve(self) -> None:
        params = self._params
        self._client = await natslink.connect(
            params.nats_url,
            f"{params.robot}-recorder",
            on_state=self._link_changed,
            credentials=params.nats_credentials,
        )
        await natsserve.serve(
            self._client, params.robot, "recorder", __version__, self.recorder.handlers()
        )

    def _link_changed(self, connected: bool, why: str) -> None:
        self._link = "connected" if connected else why

    async def _event(self, event: str, said: Mapping[str, Any]) -> None:
        log = self._node.get_logger()
        if event == "gate":
            log.warning(f"gate {said['gate']}: {'; '.join(said['reasons']) or 'all is well'}")
        else:
            log.info(f"episode {said['episode']}: {event}")
        if self._client is None or not self._client.is_connected:
            return
        stamp_ns = self._node.get_clock().now().nanoseconds
        body = orjson.dumps({"event": event, **said, "stamp_ns": stamp_ns})
        await self._client.publish(event_subject(self._params.robot, "recorder"), body)

    async def _told(self, told: dict[str, Any]) -> None:
        if "error" in told:
            self.recorder.failures.append(told["error"])
            self._node.get_logger().error(f"not recovered: {told['error']}")
            return
        name = os.path.basename(told["path"])
        await self._event("recovered", {"episode": name, "messages": told["messages"]})


async def _main(node: Node, params: RecorderParams, stop: asyncio.Event) -> None:
    await RecorderNode(node, params).run(stop)


def main() -> None:
    """Entry point of ``recorder_node``."""
    run_async("recorder", RecorderParams, _main)


if __name__ == "__main__":
    main()
