"""Does this machine carry a whole robot? Start one, drive it, watch it, record it, end it.

Every figure comes from outside of the robot: from a NATS client, a Foxglove client, the episode on
disk and the process table.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import cv2
import numpy as np
import orjson
from nats.aio.msg import Msg

from dialtone_bridge.clients.foxglove_client import open_client
from dialtone_bringup.rig import CAMERA, Operator, Rig, running
from dialtone_core.errors import DialtoneError
from dialtone_core.wire import SEQ
from dialtone_recorder.reader import episode_counts
from dialtone_ros.types import decode

#: The overlay (time, pose) changes by itself; it lies in these topmost rows of the picture.
_OVERLAY_ROWS = 64
_CAMERA_WATCH_S = 4.0
_DRIVE_S = 2.0
_SPEED_M_S = 0.6
#: What must at least be there to call it driving: a third of speed × time leaves room for the
#: vehicle's own acceleration.
_LEAST_DRIVE_M = _SPEED_M_S * _DRIVE_S / 3
_LEAST_CAMERA_HZ = 25.0
#: Mean absolute difference of grey levels (0–255); a moved camera makes it, JPEG noise does not.
_LEAST_PICTURE_CHANGE = 3.0
#: Every episode of a driven robot holds these.
_MUST_RECORD = (f"/{CAMERA}", "/odom", "/imu/data", "/teleop/applied")


@dataclass
class SelftestReport:
    """What ``dialtone selftest --json`` prints; ``problems`` is empty when ``ok``."""

    ok: bool = False
    first_frame_s: float | None = None
    camera_hz: float = 0.0
    camera_lost: int = 0
    picture_change: float = 0.0
    drive_m_nats: float = 0.0
    drive_m_foxglove: float = 0.0
    episode_messages: dict[str, int] = field(default_factory=dict)
    stop_s: float = 0.0
    leftover_processes: int = 0
    problems: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The figures, rounded to what they are worth."""
        return {
            name: round(value, 3) if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }

    def judge(self) -> None:
        """Fill ``problems`` and ``ok`` from the figures."""
        checks = (
            (self.first_frame_s is not None, "no picture arrived over NATS"),
            (self.camera_hz >= _LEAST_CAMERA_HZ, f"the camera runs at {self.camera_hz:.1f} Hz"),
            (self.camera_lost == 0, f"{self.camera_lost} pictures were lost"),
            (self.drive_m_nats >= _LEAST_DRIVE_M, f"NATS drove {self.drive_m_nats:.2f} m"),
            (
                self.drive_m_foxglove >= _LEAST_DRIVE_M,
                f"Foxglove drove {self.drive_m_foxglove:.2f} m",
            ),
            (
                self.picture_change >= _LEAST_PICTURE_CHANGE,
                f"the picture changed by {self.picture_change:.1f} grey levels",
            ),
            (self.leftover_processes == 0, f"{self.leftover_processes} processes were left"),
            *(
                (self.episode_messages.get(topic, 0) > 0, f"the episode has no {topic}")
                for topic in _MUST_RECORD
            ),
        )
        self.problems += [what for good, what in checks if not good]
        self.ok = not self.problems


async def run_selftest(progress: Callable[[str], None]) -> SelftestReport:
    """Run all steps; a step that fails ends the run and is named in ``problems``."""
    report = SelftestReport()
    rig: Rig | None = None
    try:
        async with running() as rig:
            await _exercise(rig, report, progress)
            progress("stopping the robot")
            report.stop_s = await rig.stop()
            report.leftover_processes = len(rig.leftovers())
    except (DialtoneError, OSError, asyncio.TimeoutError) as error:
        report.problems.append(str(error) or type(error).__name__)
    report.judge()
    return report


async def _exercise(rig: Rig, report: SelftestReport, progress: Callable[[str], None]) -> None:
    progress("starting a simulated robot")
    await rig.ready()
    operator = Operator(rig, await rig.nats())
    first = await operator.next(CAMERA)
    report.first_frame_s = time.monotonic() - rig.started_s
    progress("watching the camera")
    await _watch_camera(operator, report)
    progress("recording, and driving over NATS")
    _expect_ok(await operator.call("recorder", "start", b'{"task":"selftest"}'))
    odometry = _Odometry(operator)
    await odometry.start()
    report.drive_m_nats = await odometry.distance(
        operator.drive(_SPEED_M_S, 0.0, _DRIVE_S), _DRIVE_S
    )
    report.picture_change = _difference(first.data, (await operator.next(CAMERA)).data)
    progress("driving over Foxglove")
    report.drive_m_foxglove = await odometry.distance(_drive_foxglove(rig.foxglove_url), _DRIVE_S)
    episode = _expect_ok(await operator.call("recorder", "stop"))
    progress("reading the episode")
    report.episode_messages = episode_counts(episode["path"])


def _expect_ok(reply: bytes) -> dict[str, Any]:
    body: dict[str, Any] = orjson.loads(reply)
    if not body.get("ok"):
        raise DialtoneError(str(body.get("error", body)), where="recorder")
    return body


async def _watch_camera(operator: Operator, report: SelftestReport) -> None:
    arrivals: list[float] = []
    sequence: list[int] = []

    async def on_frame(message: Msg) -> None:
        arrivals.append(time.monotonic())
        sequence.append(int((message.headers or {})[SEQ]))

    await operator.watch(CAMERA, on_frame)
    await asyncio.sleep(_CAMERA_WATCH_S)
    if len(arrivals) < 2:
        raise DialtoneError(f"{len(arrivals)} pictures in {_CAMERA_WATCH_S:g} s", where=CAMERA)
    report.camera_hz = (len(arrivals) - 1) / (arrivals[-1] - arrivals[0])
    report.camera_lost = sequence[-1] - sequence[0] + 1 - len(sequence)


class _Odometry:
    """The way travelled, summed over odometry samples."""

    def __init__(self, operator: Operator) -> None:
        self._operator = operator
        self._last: tuple[float, float] | None = None
        self._way_m = 0.0

    async def start(self) -> None:
        await self._operator.watch("odom", self._on_odometry)

    async def _on_odometry(self, message: Msg) -> None:
        position = decode("nav_msgs/msg/Odometry", message.data).pose.pose.position
        here = (position.x, position.y)
        if self._last is not None:
            self._way_m += float(np.hypot(here[0] - self._last[0], here[1] - self._last[1]))
        self._last = here

    async def distance(self, driving: Any, duration_s: float) -> float:
        """Metres travelled while ``driving`` runs and until the vehicle stands again."""
        before = self._way_m
        await asyncio.wait_for(driving, duration_s + 5)
        while True:
            way = self._way_m
            await asyncio.sleep(0.3)
            if self._way_m - way < 0.005:
                return self._way_m - before


async def _drive_foxglove(url: str) -> None:
    """Drive as Foxglove's Teleop panel does: JSON Twists under the type's short name."""
    async with open_client(url) as client:
        channel = await client.advertise("/cmd_vel", "geometry_msgs/Twist", "json")
        body = {"linear": {"x": -_SPEED_M_S, "y": 0, "z": 0}, "angular": {"x": 0, "y": 0, "z": 0}}
        for _ in range(round(_DRIVE_S * 10)):
            await client.publish(channel, body)
            await asyncio.sleep(0.1)


def _difference(before: bytes, after: bytes) -> float:
    """Mean absolute difference in grey levels of two JPEGs, without the overlay."""
    pictures = [
        cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
        for jpeg in (before, after)
    ]
    if any(picture is None for picture in pictures):
        raise DialtoneError("a picture is no JPEG", where=CAMERA)
    one, two = (np.asarray(each, np.int16)[_OVERLAY_ROWS:] for each in pictures)
    return float(np.abs(one - two).mean())
