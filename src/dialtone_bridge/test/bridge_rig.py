"""A real bridge beside a real NATS server, and a ROS node to talk to it from the other side."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

from dialtone_core.paths import RobotFile
from dialtone_core.ports import free_ports


async def until(condition: Callable[[], Any], timeout_s: float = 15.0) -> Any:
    """Poll ``condition`` until it is true; its value, or ``AssertionError`` at the deadline."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline_s, f"not within {timeout_s} s"
        await asyncio.sleep(0.02)


class Child:
    """A process of this test; its output is kept for the failure report."""

    def __init__(self, log: Path, *command: str) -> None:
        self.log = log
        with log.open("ab") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)

    def stop(self, signum: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signum)
        return self.process.wait(10)

    def text(self) -> str:
        return self.log.read_text(errors="replace")


class Rig:
    """Starts servers and bridges, each with a robot name of its own."""

    _count = 0

    def __init__(self, folder: Path) -> None:
        Rig._count += 1
        self.robot = f"bridge{Rig._count}_{os.getpid()}"
        self.folder = folder
        (self.port,) = free_ports(1)
        self.nats_url = f"nats://127.0.0.1:{self.port}"
        self.children: list[Child] = []

    def module(self, name: str, *arguments: str) -> Child:
        log = self.folder / f"{name}-{len(self.children)}.log"
        child = Child(log, sys.executable, "-m", f"dialtone_bridge.{name}", *arguments)
        self.children.append(child)
        return child

    def start_server(self, *options: str) -> Child:
        """The embedded server, open to this machine."""
        common = ("--robot", self.robot, "--port", str(self.port))
        return self.module("nats_server", *common, *(options or ("--open-loopback",)))

    def start_closed_server(self) -> Child:
        """One that wants credentials of everybody."""
        return self.start_server("--http-port", "0")

    def start_bridge(self, **params: Any) -> Child:
        params = {
            "robot": self.robot,
            "nats_url": self.nats_url,
            "foxglove_port": 0,
            **params,
        }
        options = [word for key, value in params.items() for word in ("-p", f"{key}:={value}")]
        return self.module("node", "--ros-args", *options)

    async def file(self) -> RobotFile:
        """The runtime file of the running bridge."""

        def look() -> RobotFile | None:
            for child in self.children:
                assert child.process.poll() is None, f"it ended:\n{child.text()}"
            return RobotFile.read(self.robot)

        found: RobotFile = await until(look)
        return found

    def stop(self) -> None:
        for child in reversed(self.children):
            child.stop(signal.SIGKILL)


class Peer:
    """A ROS node on the other side of the bridge, spinning in a thread of its own."""

    def __init__(self) -> None:
        self.context = rclpy.Context()
        self.context.init()
        self.node = Node("peer", context=self.context)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            return

    def listen(self, kind: type[Any], topic: str, qos: Any = 10) -> list[Any]:
        """Messages of ``topic``, growing as they come."""
        heard: list[Any] = []
        self.node.create_subscription(kind, topic, heard.append, qos)
        return heard

    def close(self) -> None:
        self._executor.shutdown(timeout_sec=2)
        self._thread.join(2)
        self.node.destroy_node()
        self.context.try_shutdown()


def values(array: DiagnosticArray, part: str) -> dict[str, str]:
    for status in array.status:
        if status.name == part:
            return {each.key: each.value for each in status.values}
    return {}


async def refusals(heard: list[Any], total: int, part: str = "bridge: nats") -> dict[str, str]:
    """The values of ``part`` once ``total`` commands were refused, or gave way unread."""

    def enough() -> dict[str, str] | None:
        found = values(heard[-1], part) if heard else {}
        gone = sum(int(found.get(f"commands_{how}", 0)) for how in ("refused", "overrun"))
        return found if gone >= total else None

    found: dict[str, str] = await until(enough)
    return found
