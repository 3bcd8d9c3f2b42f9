"""The nodes on real DDS: stamped pictures, an unplugged camera, the machine's figures."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage

from dialtone_core.ports import free_ports
from dialtone_ros.executor import DrainingExecutor
from dialtone_ros.qos import SENSOR


class Listener:
    """A node of the test that collects what it subscribed to."""

    def __init__(self) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = Node("listener", context=self.context)
        self._executor = DrainingExecutor(context=self.context)
        self._executor.add_node(self.node)

    def collect(self, kind: type[Any], topic: str) -> list[Any]:
        found: list[Any] = []
        self.node.create_subscription(kind, topic, found.append, SENSOR)
        return found

    def until(self, true: Callable[[], bool], within_s: float = 10) -> None:
        deadline = time.monotonic() + within_s
        while not true():
            assert time.monotonic() < deadline, "it did not happen in time"
            self._executor.spin_once(timeout_sec=0.1)

    def close(self) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    yield made
    made.close()


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def begin(module: str, *params: str) -> subprocess.Popen[str]:
        words = [word for each in params for word in ("-p", each)]
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", f"dialtone_sensors.{module}", "--ros-args", *words],
                stderr=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=os.environ,
            )
        )
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def _status(arrays: list[DiagnosticArray], name: str) -> DiagnosticStatus | None:
    found = [each for array in arrays for each in array.status if each.name == name]
    return found[-1] if found else None


def test_the_camera_node_publishes_pictures_and_infos_with_one_stamp(
    listener: Listener, start: Callable[..., subprocess.Popen[str]]
) -> None:
    (port,) = free_ports(1, kind=socket.SOCK_DGRAM)
    images = listener.collect(CompressedImage, "camera/front/image_raw/compressed")
    infos = listener.collect(CameraInfo, "camera/front/camera_info")
    process = start("camera_node", f"pose_url:=udp:127.0.0.1:{port}", "width:=320", "height:=240")
    listener.until(lambda: len(images) > 20 and len(infos) > 20)
    by_stamp = {(m.header.stamp.sec, m.header.stamp.nanosec): m for m in infos}
    paired = [
        (image, by_stamp[key])
        for image in images
        if (key := (image.header.stamp.sec, image.header.stamp.nanosec)) in by_stamp
    ]
    assert len(paired) > 15
    image, info = paired[-1]
    assert image.format == "jpeg"
    assert bytes(image.data[:2]) == b"\xff\xd8"
    assert image.header.frame_id == info.header.frame_id == "camera_front_optical_frame"
    assert (info.width, info.height) == (320, 240)
    process.send_signal(signal.SIGTERM)
    assert process.wait(3) == 0


def test_an_unplugged_camera_is_reported_retried_and_comes_back(
    listener: Listener, start: Callable[..., subprocess.Popen[str]]
) -> None:
    blocker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    blocker.bind(("127.0.0.1", 0))
    port = blocker.getsockname()[1]
    diagnostics = listener.collect(DiagnosticArray, "diagnostics")
    images = listener.collect(CompressedImage, "camera/front/image_raw/compressed")
    process = start("camera_node", f"pose_url:=udp:127.0.0.1:{port}", "retry_max_s:=0.2")

    def level() -> bytes | None:
        status = _status(diagnostics, "camera_front: camera")
        return status.level if status else None

    listener.until(lambda: level() == DiagnosticStatus.ERROR)
    status = _status(diagnostics, "camera_front: camera")
    assert status is not None
    assert "Fix: give a free port" in status.message
    assert not images
    blocker.close()
    listener.until(lambda: bool(images))
    listener.until(lambda: level() != DiagnosticStatus.ERROR)
    process.send_signal(signal.SIGINT)
    assert process.wait(3) == 0
    assert process.stderr is not None
    lines = [line for line in process.stderr.read().splitlines() if "camera front" in line]
    assert len(lines) == 2
    assert "delivers pictures again" in lines[1]


def test_a_missing_video_device_leaves_the_node_alive_and_says_so(
    listener: Listener, start: Callable[..., subprocess.Popen[str]]
) -> None:
    diagnostics = listener.collect(DiagnosticArray, "diagnostics")
    process = start("camera_node", "driver:=v4l2", "device:=/dev/video4711")
    listener.until(lambda: _status(diagnostics, "camera_front: camera") is not None)
    status = _status(diagnostics, "camera_front: camera")
    assert status is not None
    assert status.level == DiagnosticStatus.ERROR
    assert status.message.startswith("/dev/video4711: cannot open the camera (No such file")
    assert process.poll() is None


def test_a_driver_that_does_not_exist_is_one_line_and_code_2(
    start: Callable[..., subprocess.Popen[str]],
) -> None:
    process = start("camera_node", "driver:=webcam")
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 2
    assert "driver is 'webcam'. Fix: give one of sim, v4l2" in errors
    assert "Traceback" not in errors


def test_the_host_reports_all_its_parts_once_a_second(
    listener: Listener, start: Callable[..., subprocess.Popen[str]]
) -> None:
    diagnostics = listener.collect(DiagnosticArray, "diagnostics")
    process = start("host_metrics_node")
    listener.until(lambda: len(diagnostics) >= 2)
    names = {each.name for each in diagnostics[-1].status}
    parts = ("cpu", "memory", "disk", "temperature", "network", "processes")
    assert names == {f"host_metrics: {part}" for part in parts}
    process.send_signal(signal.SIGTERM)
    assert process.wait(3) == 0
