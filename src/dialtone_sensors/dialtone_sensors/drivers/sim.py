"""The simulated camera: renders what the rover would see from the pose that it sends."""

from __future__ import annotations

import math
import socket
import time
from datetime import datetime

import cv2
import simplejpeg

from dialtone_core.errors import ConfigError, WireError
from dialtone_sensors.drivers.base import CameraError, Frame
from dialtone_sensors.params import CameraParams
from dialtone_sim.camera import Intrinsics, Mount, Renderer
from dialtone_sim.links import bind_udp, parse_udp
from dialtone_sim.pose import Pose, decode_pose

#: A vehicle sends its pose 60 times a second; silence for so long is worth a word.
_SILENCE_NS = 1_000_000_000


class SimCamera:
    """Paces itself at the rate; a picture is stamped with the instant that it shows."""

    def __init__(self, params: CameraParams) -> None:
        self._params = params
        try:
            self._address = parse_udp(params.pose_url, "pose_url")
        except ValueError as error:
            raise ConfigError(
                str(error), where=f"camera {params.name}", fix="correct that value"
            ) from error
        self._interval_ns = round(1e9 / params.rate_hz)
        self._renderer: Renderer | None = None
        self._socket: socket.socket | None = None
        self._pose = Pose()
        self._heard_ns = 0
        self._due_ns = 0

    def open(self) -> None:
        try:
            self._socket = bind_udp(self._address, "pose_url")
        except ConfigError as error:
            raise CameraError(error.what, where=error.where, fix=error.fix) from error
        if self._renderer is None:
            cv2.setNumThreads(1)  # a pool of spinning threads costs more than it draws
            self._renderer = _renderer(self._params)
        self._due_ns = self._heard_ns = time.monotonic_ns()

    def read(self) -> Frame | None:
        assert self._socket is not None
        assert self._renderer is not None
        wait_ns = self._due_ns - time.monotonic_ns()
        if wait_ns > 500_000_000:  # slower than the seam allows to block
            time.sleep(0.5)
            return None
        time.sleep(max(0, wait_ns) / 1e9)
        stamp_ns, now_ns = time.time_ns(), time.monotonic_ns()
        self._due_ns = max(self._due_ns + self._interval_ns, now_ns)
        self._listen(self._socket, now_ns)
        note = ""
        if now_ns - self._heard_ns > _SILENCE_NS:
            note = f"no pose from the vehicle for {(now_ns - self._heard_ns) // 1_000_000_000} s"
        pose = self._pose.at(now_ns)
        picture = self._renderer.render(pose, _caption(pose, stamp_ns), note)
        jpeg = simplejpeg.encode_jpeg(picture, self._params.quality, "BGR", "420")
        return Frame(jpeg, stamp_ns, self._params.width, self._params.height, note)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _listen(self, receiver: socket.socket, now_ns: int) -> None:
        """Take the newest pose of what waits; what is no pose is passed over."""
        for _ in range(256):
            try:
                datagram = receiver.recv(256)
            except BlockingIOError:
                return
            except OSError as error:
                raise CameraError(
                    f"cannot hear the vehicle ({error.strerror})", where=str(self._address)
                ) from error
            try:
                self._pose = decode_pose(datagram)
            except WireError:
                continue
            self._heard_ns = now_ns


def create(params: CameraParams) -> SimCamera:
    """The driver ``sim``."""
    return SimCamera(params)


def _renderer(params: CameraParams) -> Renderer:
    fov = math.radians(params.hfov_deg)
    mount = Mount(
        params.mount_x_m,
        params.mount_y_m,
        params.mount_z_m,
        math.radians(params.mount_yaw_deg),
        math.radians(params.mount_pitch_deg),
    )
    return Renderer(Intrinsics.from_fov(params.width, params.height, fov), mount)


def _caption(pose: Pose, stamp_ns: int) -> str:
    clock = datetime.fromtimestamp(stamp_ns // 1_000_000 / 1000)
    yaw = math.degrees(math.remainder(pose.yaw, math.tau))
    return (
        f"{clock:%Y-%m-%d %H:%M:%S}.{clock.microsecond // 1000:03d}   x {pose.x:.2f}  "
        f"y {pose.y:.2f} m  yaw {yaw:.1f} deg   {pose.speed:.2f} m/s"
    )
