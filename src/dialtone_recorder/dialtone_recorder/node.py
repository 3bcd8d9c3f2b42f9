"""The node ``recorder``: wires parameters, ROS, NATS and the recorder together."""

from __future__ import annotations

import asyncio
import os
import platform
import socket
from dataclasses import asdict
from typing import Any

import orjson
from rclpy.node import Node
from rclpy.task import Future
from rclpy.utilities import get_rmw_implementation_identifier
from std_srvs.srv import Trigger

from dialtone_core import __version__, natslink
from dialtone_core.errors import DialtoneError
from dialtone_core.naming import check_robot_name
from dialtone_core.wire import event_subject
from dialtone_recorder.control import Recorder
from dialtone_recorder.folder import open_directory, recover_in_background
from dialtone_recorder.params import RecorderParams
from dialtone_recorder.ros_source import RosSource
from dialtone_recorder.session import MB, Limits
from dialtone_recorder.topics import TopicFilter
from dialtone_ros.diagnostics import Diagnostics, Level, Report
from dialtone_ros.runtime import run_async


def _limits(params: RecorderParams) -> Limits:
    return Limits(
        fsync_period_s=params.fsync_period_s,
        queue_messages=params.queue_messages,
        queue_bytes=params.queue_mb * MB,
        min_free_bytes=params.min_free_mb * MB,
        split_bytes=params.split_mb * MB,
        split_s=params.split_s,
    )


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
        self._loop = asyncio.get_running_loop()
        self._client: Any = None
        self._link = "off"
        wanted = TopicFilter(
            params.topics_allow, params.topics_deny, params.types_deny, node.get_namespace()
        )
        source = RosSource(node, wanted, params.discovery_period_s, params.history_depth)
        self.recorder = Recorder(
            open_directory(params.directory),
            params.robot,
            source,
            _limits(params),
            task=params.task,
            software=_software(),
            config=asdict(params),
            on_event=self._event,
        )
        for verb in ("start", "stop"):
            node.create_service(Trigger, f"recorder/{verb}", self._trigger(verb))
        Diagnostics(node, params.robot).add("episode", self._report)

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until ``stop``."""
        tasks = [asyncio.create_task(recover_in_background(self.recorder.directory, self._told))]
        if self._params.nats_url:
            tasks.append(asyncio.create_task(self._serve()))
        try:
            if self._params.autostart:
                await self.recorder.start({})
            await stop.wait()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.recorder.aclose(self._params.close_budget_s)
            if self._client is not None:
                await self._client.close()

    async def _serve(self) -> None:
        params = self._params
        self._client = await natslink.connect(
            params.nats_url,
            f"{params.robot}-recorder",
            on_state=self._link_changed,
            credentials=params.nats_credentials,
        )
        await natslink.serve(
            self._client, params.robot, "recorder", __version__, self.recorder.handlers()
        )

    def _link_changed(self, connected: bool, why: str) -> None:
        self._link = "connected" if connected else why

    async def _event(self, event: str, episode: str) -> None:
        self._node.get_logger().info(f"episode {episode}: {event}")
        if self._client is None or not self._client.is_connected:
            return
        stamp_ns = self._node.get_clock().now().nanoseconds
        body = orjson.dumps({"event": event, "episode": episode, "stamp_ns": stamp_ns})
        await self._client.publish(event_subject(self._params.robot, "recorder"), body)

    def _told(self, told: dict[str, Any]) -> None:
        if "error" in told:
            self.recorder.failures.append(told["error"])
            self._node.get_logger().error(f"not recovered: {told['error']}")
        else:
            self._node.get_logger().warning(
                f"recovered {told['path']}: {told['messages']} messages"
            )

    def _trigger(self, verb: str) -> Any:
        """A ROS service that runs a verb on the loop without holding up the executor."""

        async def answer(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            executor = self._node.executor
            waiting = Future(executor=executor)
            handler = self.recorder.handlers()[verb]
            asked = asyncio.run_coroutine_threadsafe(_reply(handler({})), self._loop)
            # The empty task wakes the executor, which then looks at the future again.
            asked.add_done_callback(
                lambda done: (waiting.set_result(done.result()), executor.create_task(_nothing))
            )
            response.success, response.message = await waiting
            return response

        return answer

    def _report(self) -> Report:
        recorder, session = self.recorder, self.recorder.session
        values: dict[str, Any] = {"link": self._link, "directory": str(recorder.directory)}
        if session is None:
            if recorder.failures:
                return Report(Level.ERROR, recorder.failures[-1], values)
            return Report(Level.OK, "idle", values)
        lost = session.lost
        values |= {
            "episode": session.facts.name,
            "messages": session.messages,
            "lost": lost,
            "bytes": session.bytes,
            "waiting_bytes": session.waiting_bytes,
            "duration_s": session.duration_s,
        }
        if session.error:
            return Report(Level.ERROR, session.error, values)
        if lost or session.warning:
            return Report(Level.WARN, session.warning or f"{lost} messages lost", values)
        return Report(Level.OK, "paused" if session.paused else "recording", values)


async def _reply(verb: Any) -> tuple[bool, str]:
    try:
        return True, orjson.dumps(await verb).decode()
    except DialtoneError as error:
        return False, str(error)


def _nothing() -> None:
    """Only wakes whoever waits."""


async def _main(node: Node, params: RecorderParams, stop: asyncio.Event) -> None:
    await RecorderNode(node, params).run(stop)


def main() -> None:
    """Entry point of ``recorder_node``."""
    run_async("recorder", RecorderParams, _main)


if __name__ == "__main__":
    main()
