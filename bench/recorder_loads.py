"""The recorder bench's publisher, in a process of its own: it knows what it sent.

``python bench/recorder_loads.py SECONDS`` publishes four cameras and a 1 KB topic once every
topic has its subscriber, and says on stdout how many messages went to each. It begins when a line
comes on stdin and says ``sent {…}`` once the middleware has the acknowledgement of all.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

CAMERAS, CAMERA_HZ, CAMERA_BYTES = 4, 30, 200_000
SMALL_HZ, SMALL_BYTES = 5_000, 1_000
#: Ticks a second; a tick publishes what is due.
TICK_HZ = 500


def topics() -> dict[str, int]:
    """Name → messages a second."""
    cameras = {f"/load/camera{number}": CAMERA_HZ for number in range(CAMERAS)}
    return {**cameras, "/load/small": SMALL_HZ}


def main() -> None:
    import rclpy
    from rclpy.duration import Duration
    from rclpy.node import Node
    from rclpy.qos import QoSProfile
    from rclpy.serialization import serialize_message
    from sensor_msgs.msg import CompressedImage
    from std_msgs.msg import UInt8MultiArray

    rclpy.init()
    node = Node("recorder_load")
    picture = serialize_message(CompressedImage(format="jpeg", data=os.urandom(CAMERA_BYTES)))
    small = serialize_message(UInt8MultiArray(data=os.urandom(SMALL_BYTES)))
    made: dict[str, tuple[Any, bytes, int]] = {}
    for name, rate_hz in topics().items():
        camera = rate_hz == CAMERA_HZ
        qos = QoSProfile(depth=20 if camera else 5000)
        kind = CompressedImage if camera else UInt8MultiArray
        publisher = node.create_publisher(kind, name, qos)
        made[name] = (publisher, picture if camera else small, rate_hz)
    print("working", flush=True)
    sys.stdin.readline()
    deadline = time.monotonic() + 20
    while not all(each.get_subscription_count() for each, _, _ in made.values()):
        if time.monotonic() > deadline:
            raise SystemExit("nobody subscribed")
        time.sleep(0.01)
    time.sleep(1.0)  # the subscriber's side of the match, and its other topics
    counts = _publish(made, float(sys.argv[1]))
    acked = all(each.wait_for_all_acked(Duration(seconds=5)) for each, _, _ in made.values())
    print("sent " + json.dumps({"acked": acked, "counts": counts}), flush=True)
    sys.stdin.readline()


def _publish(made: dict[str, tuple[Any, bytes, int]], seconds: float) -> dict[str, int]:
    counts = dict.fromkeys(made, 0)
    began = time.monotonic()
    ticks = round(seconds * TICK_HZ)
    for tick in range(1, ticks + 1):
        for name, (publisher, data, rate_hz) in made.items():
            for _ in range(rate_hz * tick // TICK_HZ - counts[name]):
                publisher.publish(data)
                counts[name] += 1
        time.sleep(max(0.0, began + tick / TICK_HZ - time.monotonic()))
    return counts


if __name__ == "__main__":
    main()
