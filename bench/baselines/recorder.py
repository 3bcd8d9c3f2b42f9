"""The recorder that one would write in an afternoon, to measure ours against.

A node with a plain rclpy callback a topic that hands each message to ``mcap``'s writer, chunked
and zstd-compressed as it comes. No thread, no fsync, no recovery, no counts of what was lost.
``python bench/baselines/recorder.py FILE TOPIC=TYPE…``; a signal closes the file.
"""

from __future__ import annotations

import contextlib
import sys
import time


def main() -> None:
    import rclpy
    from mcap.writer import CompressionType, Writer
    from rclpy.executors import ExternalShutdownException
    from rclpy.node import Node
    from rclpy.qos import QoSProfile

    from dialtone_ros.types import message_class, message_definition

    path, *topics = sys.argv[1:]
    rclpy.init()
    node = Node("baseline_recorder")
    with open(path, "wb") as file:
        writer = Writer(file, compression=CompressionType.ZSTD)
        writer.start("ros2")
        for each in topics:
            name, type_name = each.split("=")
            definition = message_definition(type_name).encode()
            schema = writer.register_schema(type_name, "ros2msg", definition)
            channel = writer.register_channel(name, "cdr", schema)

            def record(data: bytes, channel: int = channel) -> None:
                now_ns = time.time_ns()
                writer.add_message(channel, now_ns, data, now_ns)

            node.create_subscription(
                message_class(type_name), name, record, QoSProfile(depth=1000), raw=True
            )
        print("working", flush=True)
        with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
            rclpy.spin(node)
        writer.finish()


if __name__ == "__main__":
    main()
