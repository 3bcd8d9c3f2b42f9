"""A node that our executor spins in a thread, and what ended it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import rclpy
from rclpy.node import Node
from std_msgs.msg import String

from dialtone_ros.executor import DrainingExecutor

KIND = ("std_msgs/msg/String", String)


class Spinning:
    """A node that a thread spins; ``failure`` is what ended it."""

    def __init__(self) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = Node("spun", context=self.context)
        self.executor = DrainingExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.failure: BaseException | None = None
        self.thread = threading.Thread(target=self._spin)
        self.cpu_s = 0.0

    def start(self) -> None:
        self.thread.start()

    def _spin(self) -> None:
        try:
            self.executor.spin()
        except BaseException as failure:
            self.failure = failure
        self.cpu_s = time.thread_time()

    def until(self, done: Callable[[], Any], timeout_s: float = 10.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not done():
            assert time.monotonic() < deadline, f"not within {timeout_s} s ({self.failure})"
            time.sleep(0.01)

    def close(self) -> None:
        self.executor.shutdown()
        if self.thread.ident is not None:
            self.thread.join(5)
        assert not self.thread.is_alive()
        self.node.destroy_node()
        self.context.try_shutdown()
