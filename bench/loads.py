"""Load generators: fixed work in processes of their own, so that they do not share our clock.

``python bench/loads.py cameras`` publishes pictures as busy cameras do; ``… viewer`` takes them
over NATS and Foxglove as two clients that keep up.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from dialtone_core.process import die_with_parent

if TYPE_CHECKING:
    from dialtone_bridge.clients.foxglove_client import FoxgloveClient

CAMERAS = 4
RATE_HZ = 30.0
PICTURE_BYTES = 200_000


def camera_topics(count: int = CAMERAS) -> list[str]:
    """Topics of the load cameras, relative."""
    return [f"camera/load{number}/image_raw/compressed" for number in range(count)]


@contextmanager
def process(
    *arguments: str, domain: int, script: str = __file__
) -> Iterator[subprocess.Popen[str]]:
    """One process in a ROS domain; returns once it says ``working``, ends it on leaving."""
    with subprocess.Popen(
        [sys.executable, script, *arguments],
        env={**os.environ, "ROS_DOMAIN_ID": str(domain)},
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=die_with_parent(),
    ) as load:
        assert load.stdout is not None
        try:
            if load.stdout.readline().strip() != "working":
                raise RuntimeError(f"the load {arguments[0]} did not start")
            yield load
        finally:
            load.kill()  # it holds nothing, and rclpy would swallow a SIGTERM


def publish_cameras(count: int, rate_hz: float, size: int) -> None:
    """Publish ``count`` pictures of ``size`` bytes at ``rate_hz``, evenly spread over a period."""
    import rclpy
    from rclpy.node import Node
    from sensor_msgs.msg import CompressedImage

    from dialtone_ros.qos import SENSOR

    rclpy.init()
    node = Node("camera_load")
    publishers = [node.create_publisher(CompressedImage, t, SENSOR) for t in camera_topics(count)]
    message = CompressedImage(format="jpeg", data=os.urandom(size))
    period_s = 1 / (rate_hz * count)
    start = time.monotonic()
    print("working", flush=True)
    step = 0
    while rclpy.ok():
        message.header.stamp = node.get_clock().now().to_msg()
        publishers[step % count].publish(message)
        step += 1
        time.sleep(max(0.0, start + step * period_s - time.monotonic()))


@asynccontextmanager
async def discarding(client: FoxgloveClient) -> AsyncIterator[None]:
    """Take and forget every message of ``client``, as a viewer that keeps up."""

    async def discard() -> None:
        while True:
            await client.receive(timeout_s=3600)

    task = asyncio.create_task(discard())
    try:
        yield
    finally:
        task.cancel()


async def view(robot: str, nats_url: str, foxglove_url: str, topics: Sequence[str]) -> None:
    """Take ``topics`` over both transports and throw them away."""
    from dialtone_bridge.clients.foxglove_client import open_client
    from dialtone_core.natslink import connect
    from dialtone_core.wire import telemetry_subject

    client = await connect(nats_url, "viewer")

    async def ignore(_: object) -> None:
        return

    for topic in topics:
        await client.subscribe(telemetry_subject(robot, f"/{topic}"), cb=ignore)
    async with open_client(foxglove_url) as foxglove, discarding(foxglove):
        for topic in topics:
            await foxglove.subscribe(f"/{topic}")
        print("working", flush=True)
        await asyncio.Event().wait()


def _main() -> None:
    parser = argparse.ArgumentParser()
    kinds = parser.add_subparsers(dest="kind", required=True)
    cameras = kinds.add_parser("cameras")
    cameras.add_argument("--count", type=int, default=CAMERAS)
    cameras.add_argument("--rate", type=float, default=RATE_HZ)
    cameras.add_argument("--bytes", type=int, default=PICTURE_BYTES)
    viewer = kinds.add_parser("viewer")
    for name in ("--robot", "--nats-url", "--foxglove-url"):
        viewer.add_argument(name, required=True)
    viewer.add_argument("topics", nargs="+")
    options = parser.parse_args()
    if options.kind == "cameras":
        publish_cameras(options.count, options.rate, options.bytes)
    else:
        asyncio.run(view(options.robot, options.nats_url, options.foxglove_url, options.topics))


if __name__ == "__main__":
    _main()
