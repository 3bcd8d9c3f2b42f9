"""The node's process, a publisher in this one, and a NATS server: what the node's tests share."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nats
import orjson
import rclpy
from geometry_msgs.msg import TwistStamped
from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import String
from std_srvs.srv import Trigger

from dialtone_ros.executor import DrainingExecutor

DEADLINE_S = 15.0


async def until(what: str, ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not ready():
        assert time.monotonic() < deadline, f"never happened: {what}"
        await asyncio.sleep(0.02)


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


class Publisher:
    """Publishes odometry, what was applied and pictures at 50 Hz, and one latched text."""

    def __init__(self) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = Node("publisher", context=self.context)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._text = self.node.create_publisher(String, "description", latched)
        self._text.publish(String(data="a rover"))
        self._odom = self.node.create_publisher(Odometry, "odom", 10)
        self._applied = self.node.create_publisher(TwistStamped, "teleop/applied", 10)
        self._image = self.node.create_publisher(CompressedImage, "image", 10)
        self._pixels = os.urandom(20_000)
        self.node.create_timer(0.02, self._publish)
        self.executor = DrainingExecutor(context=self.context)
        self.executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        with contextlib.suppress(rclpy.executors.ExternalShutdownException):
            self.executor.spin()

    def _publish(self) -> None:
        odom = Odometry()
        odom.header.stamp = self.node.get_clock().now().to_msg()
        self._odom.publish(odom)
        self._applied.publish(TwistStamped())
        self._image.publish(CompressedImage(format="jpeg", data=self._pixels))

    async def call(self, service: str, kind: type[Any] = Trigger, request: Any = None) -> Any:
        client = self.node.create_client(kind, service)
        try:
            await until(f"service {service}", client.service_is_ready)
            asked = client.call_async(request or kind.Request())
            await until(f"answer of {service}", asked.done)
            return asked.result()
        finally:
            self.node.destroy_client(client)

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)
        self._thread.join(5)


class Recorder:
    """The node's process and a NATS client of its services."""

    def __init__(self, directory: Path, url: str, *parameters: str) -> None:
        self.directory = directory
        self.url = url
        self._parameters = parameters
        self.process: subprocess.Popen[str]
        self.start_process()

    def start_process(self) -> None:
        server = (f"nats_url:={self.url}",) if self.url else ()
        parameters = (f"directory:={self.directory}", *server, *self._parameters)
        arguments = [word for each in parameters for word in ("-p", each)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dialtone_recorder.node", "--ros-args", *arguments],
            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        )  # fmt: skip

    async def call(self, verb: str, **request: Any) -> dict[str, Any]:
        client = await nats.connect(self.url)
        try:
            deadline = time.monotonic() + DEADLINE_S
            while True:
                try:
                    reply = await client.request(
                        f"dt.rover.srv.recorder.{verb}", orjson.dumps(request), timeout=5
                    )
                    return dict(orjson.loads(reply.data))
                except nats.errors.NoRespondersError:
                    assert time.monotonic() < deadline, "the recorder never served"
                    await asyncio.sleep(0.05)
        finally:
            await client.close()

    async def record(self, messages: int, **request: Any) -> str:
        """Start and wait until so many messages are in; returns the episode's path."""
        started = await self.call("start", **request)
        assert started["ok"], started
        deadline = time.monotonic() + DEADLINE_S
        while (await self.call("status"))["messages"] < messages:
            assert time.monotonic() < deadline, "too few messages"
        return str(started["path"])

    def close(self) -> None:
        """End it politely: a killed node's services would haunt the next test's discovery."""
        self.process.terminate()
        self.process.communicate(timeout=10)


@contextlib.contextmanager
def running_server(port: int) -> Iterator[str]:
    server = Path(sys.executable).with_name("nats-server")
    process = subprocess.Popen(
        [str(server), "-a", "127.0.0.1", "-p", str(port)], stderr=subprocess.DEVNULL
    )
    try:
        yield f"nats://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()
