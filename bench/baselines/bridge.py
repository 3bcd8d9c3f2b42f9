"""The ROS to NATS bridge that one would write in an afternoon, to measure ours against.

A plain rclpy callback, the message deserialised, JSON, nats-py on a loop of its own.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from typing import Any

import nats
import rclpy
from rclpy.node import Node
from std_msgs.msg import String


async def _serve(url: str, topic: str) -> None:
    rclpy.init()
    node = Node("baseline_bridge")
    client = await nats.connect(url)
    loop = asyncio.get_running_loop()

    def on_message(message: Any) -> None:
        body = json.dumps({"data": message.data}).encode()
        asyncio.run_coroutine_threadsafe(client.publish(f"baseline.{topic}", body), loop)

    node.create_subscription(String, topic, on_message, 1000)
    threading.Thread(target=rclpy.spin, args=(node,), daemon=True).start()
    print("working", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], sys.argv[2]))
