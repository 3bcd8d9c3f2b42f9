"""The drive path that one would write in an afternoon, to measure ours against.

Two processes, as usual: a NATS subscriber that parses JSON and publishes a Twist, and a node with
a plain Twist callback that sends it with pymavlink. No checks, no limits, no stop.
"""

from __future__ import annotations

import os
import sys

os.environ["MAVLINK20"] = "1"


def _nats_to_ros(url: str) -> None:
    import asyncio
    import json

    import nats
    import rclpy
    from geometry_msgs.msg import Twist
    from rclpy.node import Node

    rclpy.init()
    node = Node("baseline_in")
    publisher = node.create_publisher(Twist, "baseline/cmd_vel", 10)

    async def serve() -> None:
        client = await nats.connect(url)

        async def on_message(message: nats.aio.msg.Msg) -> None:
            body = json.loads(message.data)
            twist = Twist()
            twist.linear.x = float(body["linear"]["x"])
            twist.angular.z = float(body["angular"]["z"])
            publisher.publish(twist)

        await client.subscribe("baseline.cmd_vel", cb=on_message)
        await client.flush()
        print("working", flush=True)
        await asyncio.Event().wait()

    asyncio.run(serve())


def _ros_to_mavlink(address: str) -> None:
    import rclpy
    from geometry_msgs.msg import Twist
    from pymavlink import mavutil
    from rclpy.node import Node

    rclpy.init()
    node = Node("baseline_out")
    link = mavutil.mavlink_connection(f"udpout:{address}", source_system=1, source_component=191)

    def on_twist(twist: Twist) -> None:
        link.mav.set_position_target_local_ned_send(
            0, 1, 1, 8, 0x5E7, 0, 0, 0, twist.linear.x, 0, 0, 0, 0, 0, 0, -twist.angular.z
        )

    node.create_subscription(Twist, "baseline/cmd_vel", on_twist, 10)
    print("working", flush=True)
    rclpy.spin(node)


if __name__ == "__main__":
    {"in": _nats_to_ros, "out": _ros_to_mavlink}[sys.argv[1]](sys.argv[2])
