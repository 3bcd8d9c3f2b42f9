"""The camera node: a driver's pictures as ROS topics, with the stamp of their capture."""

from __future__ import annotations

import os
import signal

from rclpy.node import Node
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage

from dialtone_core.clock import SystemClock
from dialtone_ros.diagnostics import Diagnostics, Level, Report
from dialtone_ros.qos import SENSOR
from dialtone_ros.runtime import run
from dialtone_sensors.capture import Capture
from dialtone_sensors.drivers import Frame, make_camera
from dialtone_sensors.messages import CompressedImageEncoder, restamp
from dialtone_sensors.params import CameraParams


class CameraNode:
    """Publishes from the capture thread; the executor only reports."""

    def __init__(self, node: Node, params: CameraParams) -> None:
        self._node = node
        self._params = params
        camera = make_camera(params)
        topic = f"camera/{params.name}"
        self._images = node.create_publisher(
            CompressedImage, f"{topic}/image_raw/compressed", SENSOR
        )
        self._infos = node.create_publisher(CameraInfo, f"{topic}/camera_info", SENSOR)
        self._encoder = CompressedImageEncoder(params.frame)
        self._size = (0, 0)
        self._info = b""
        self._crash: BaseException | None = None
        self._capture = Capture(
            camera,
            self._publish,
            self._on_change,
            SystemClock(),
            params.retry_max_s,
            self._on_crash,
        )
        Diagnostics(node, hardware_id=params.source).add("camera", self._report)
        self._capture.start()

    def close(self) -> None:
        """Raises what ended the capture thread, so that the exit code tells of it."""
        self._capture.close()
        if self._crash is not None:
            raise self._crash

    def _publish(self, frame: Frame) -> None:
        if (frame.width, frame.height) != self._size:
            self._size = (frame.width, frame.height)
            self._info = serialize_message(camera_info(self._params, *self._size))
        self._images.publish(self._encoder.encode(frame.stamp_ns, frame.jpeg))
        self._infos.publish(restamp(self._info, frame.stamp_ns))

    def _on_change(self, text: str, ok: bool) -> None:
        line = f"camera {self._params.name}: {text}"
        if ok:
            self._node.get_logger().info(line)
        else:
            self._node.get_logger().error(f"{line}. Trying again until it is back")

    def _on_crash(self, error: BaseException) -> None:
        """A bug in a driver ends the node loudly, and the supervisor starts it again."""
        self._crash = error
        os.kill(os.getpid(), signal.SIGTERM)

    def _report(self) -> Report:
        state = self._capture.state()
        values = {
            "driver": self._params.driver,
            "source": self._params.source,
            "size": f"{self._size[0]}x{self._size[1]}",
            "frames": state.frames,
            "rate_hz": state.rate_hz,
            "expected_hz": self._params.rate_hz,
            "losses": state.losses,
        }
        if state.error:
            return Report(Level.ERROR, state.error, values)
        if state.note:
            return Report(Level.WARN, state.note, values)
        if state.frames and state.rate_hz < 0.8 * self._params.rate_hz:
            slow = f"{state.rate_hz:.1f} of {self._params.rate_hz:g} pictures a second"
            return Report(Level.WARN, slow, values)
        return Report(Level.OK, "ok" if state.frames else "starting", values)


def camera_info(params: CameraParams, width: int, height: int) -> CameraInfo:
    """A pinhole from the field of view, without distortion; the stamp is set later."""
    focal = params.focal_px() * width / params.width
    cx, cy = (width - 1) / 2, (height - 1) / 2
    info = CameraInfo(width=width, height=height, distortion_model="plumb_bob", d=[0.0] * 5)
    info.header.frame_id = params.frame
    info.k = [focal, 0.0, cx, 0.0, focal, cy, 0.0, 0.0, 1.0]
    info.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    info.p = [focal, 0.0, cx, 0.0, 0.0, focal, cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    return info


def main() -> None:
    """Entry point of the executable ``camera_node``."""
    run("camera_front", CameraParams, CameraNode)


if __name__ == "__main__":
    main()
