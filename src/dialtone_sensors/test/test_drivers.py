"""Drivers: what a camera delivers, what it compresses, and how it goes away."""

from __future__ import annotations

import errno
import itertools
import math
import queue
import socket
import statistics
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
import simplejpeg

from dialtone_core.clock import SystemClock
from dialtone_core.errors import ConfigError
from dialtone_core.ports import free_ports
from dialtone_sensors.capture import Capture
from dialtone_sensors.drivers import CameraError, Frame, driver_names, make_camera, v4l2
from dialtone_sensors.drivers.sim import SimCamera
from dialtone_sensors.drivers.v4l2 import MJPEG, YUYV, RawFrame, V4l2Camera, encode_yuyv
from dialtone_sensors.params import CameraParams
from dialtone_sim.camera import Intrinsics
from dialtone_sim.pose import Pose

GONE = OSError(errno.ENODEV, "No such device")


def _sim_params() -> CameraParams:
    (port,) = free_ports(1, kind=socket.SOCK_DGRAM)
    return CameraParams(pose_url=f"udp:127.0.0.1:{port}", width=160, height=120, rate_hz=60.0)


def _read(camera: SimCamera) -> Frame:
    frame = camera.read()
    assert frame is not None
    return frame


@pytest.fixture
def sim() -> Iterator[tuple[SimCamera, socket.socket]]:
    params = _sim_params()
    camera = SimCamera(params)
    camera.open()
    vehicle = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    vehicle.connect(("127.0.0.1", int(params.pose_url.rpartition(":")[2])))
    yield camera, vehicle
    camera.close()
    vehicle.close()


def test_the_simulated_picture_is_a_jpeg_of_the_asked_size_and_moves_with_the_pose(
    sim: tuple[SimCamera, socket.socket],
) -> None:
    camera, vehicle = sim
    before_ns = time.time_ns()
    still = _read(camera)
    assert before_ns <= still.stamp_ns <= time.time_ns()
    vehicle.send(b"junk")
    vehicle.send(Pose(0, math.nan).encode())
    vehicle.send(Pose(0, 0.7, 0.1, 0.2).encode())
    moved = _read(camera)
    one, two = (simplejpeg.decode_jpeg(each.jpeg).astype(int) for each in (still, moved))
    assert one.shape == (120, 160, 3)
    assert np.abs(one - two)[44:].mean() > 3


def test_the_simulated_camera_keeps_its_rate(sim: tuple[SimCamera, socket.socket]) -> None:
    """By the median: a busy machine takes beats from it, which it must not make up for."""
    camera, _ = sim
    stamps = [_read(camera).stamp_ns for _ in range(61)]
    gaps_s = [(later - sooner) / 1e9 for sooner, later in itertools.pairwise(stamps)]
    assert statistics.median(gaps_s) == pytest.approx(1 / 60, rel=0.25)
    assert statistics.mean(gaps_s) > 0.75 / 60


def test_a_taken_pose_address_is_a_camera_that_is_not_there_and_can_come_back() -> None:
    params = _sim_params()
    first, second = SimCamera(params), SimCamera(params)
    first.open()
    with pytest.raises(CameraError, match="cannot listen there"):
        second.open()
    second.close()
    first.close()
    second.open()
    second.close()


def test_the_pinhole_of_camera_info_is_the_one_that_draws() -> None:
    params = CameraParams()
    drawn = Intrinsics.from_fov(params.width, params.height, math.radians(params.hfov_deg))
    assert params.focal_px() == pytest.approx(drawn.fx)


def test_drivers_are_found_by_name_and_a_wrong_name_lists_them() -> None:
    assert {"sim", "v4l2"} <= set(driver_names())
    assert isinstance(make_camera(CameraParams(driver="v4l2")), V4l2Camera)
    with pytest.raises(ConfigError, match=r"give one of .*sim, v4l2"):
        make_camera(CameraParams(driver="webcam"))
    with pytest.raises(ConfigError, match="pose_url is 'there'"):
        make_camera(CameraParams(pose_url="there"))


class ScriptedStream:
    """A camera at the seam to the kernel: gives what it was told, then raises what it was told."""

    def __init__(self, fourcc: str, frames: list[RawFrame | None], end: OSError = GONE) -> None:
        self.fourcc, self.width, self.height = fourcc, 32, 16
        self._frames = frames
        self._end = end
        self.closed = False

    def read(self, timeout_s: float) -> RawFrame | None:
        if not self._frames:
            raise self._end
        return self._frames.pop(0)

    def close(self) -> None:
        self.closed = True


def _v4l2(monkeypatch: pytest.MonkeyPatch, stream: ScriptedStream) -> V4l2Camera:
    monkeypatch.setattr(v4l2, "open_stream", lambda params: stream)
    camera = V4l2Camera(CameraParams(driver="v4l2"))
    camera.open()
    return camera


def test_mjpeg_passes_untouched_with_the_stamp_of_its_capture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    picture = b"\xff\xd8 whatever the camera sent \xff\xd9\x00\x00"
    captured_ns = time.monotonic_ns() - 40_000_000
    camera = _v4l2(monkeypatch, ScriptedStream(MJPEG, [RawFrame(picture, captured_ns)]))
    before_ns = time.time_ns()
    frame = camera.read()
    assert frame is not None
    assert frame.jpeg == picture
    assert before_ns - frame.stamp_ns == pytest.approx(40_000_000, abs=20_000_000)
    assert (frame.width, frame.height) == (32, 16)


def test_yuyv_is_compressed_with_its_colours_kept() -> None:
    width, height = 64, 32
    pixels = np.zeros((height, width // 2, 4), np.uint8)
    pixels[:, : width // 4] = (76, 85, 76, 255)  # red in BT.601: Y, U, Y, V
    pixels[:, width // 4 :] = (149, 43, 149, 21)  # green
    jpeg = encode_yuyv(pixels.tobytes(), width, height, 95)
    back = simplejpeg.decode_jpeg(jpeg, "RGB").astype(int)
    assert back.shape == (height, width, 3)
    assert np.abs(back[:, :28].mean(axis=(0, 1)) - (255, 0, 0)).max() < 6
    assert np.abs(back[:, 36:].mean(axis=(0, 1)) - (0, 255, 0)).max() < 6


def test_damaged_and_short_frames_are_dropped_counted_and_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = RawFrame(bytes(32 * 16 * 2), None)
    frames = [RawFrame(b"", None), RawFrame(whole.data, None, True), whole]
    camera = _v4l2(monkeypatch, ScriptedStream(YUYV, [*frames]))
    assert camera.read() is None
    assert camera.read() is None
    frame = camera.read()
    assert frame is not None
    assert frame.note == "2 damaged frames dropped"


def test_a_pulled_plug_is_a_camera_error_that_names_the_device(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = ScriptedStream(MJPEG, [])
    camera = _v4l2(monkeypatch, stream)
    with pytest.raises(CameraError, match=r"/dev/video0: the camera went away.*plug it in"):
        camera.read()
    camera.close()
    camera.close()
    assert stream.closed


def test_a_device_that_does_not_exist_is_a_camera_error_from_the_real_driver() -> None:
    camera = V4l2Camera(CameraParams(driver="v4l2", device="/dev/video4711"))
    with pytest.raises(CameraError, match="/dev/video4711: cannot open the camera"):
        camera.open()
    camera.close()


def test_a_file_that_is_no_camera_is_a_camera_error_from_the_real_driver() -> None:
    camera = V4l2Camera(CameraParams(driver="v4l2", device="/dev/null"))
    with pytest.raises(CameraError, match="/dev/null: cannot open the camera"):
        camera.open()
    camera.close()


class UnreliableCamera:
    """Absent, there, pulled, there again: one list of actions, each for one call."""

    def __init__(self, actions: list[str]) -> None:
        self.actions = actions
        self.opened = self.closed = 0
        self.idle = threading.Event()
        self.tried_often = threading.Event()

    def _next(self) -> str:
        if not self.actions:
            self.idle.set()
            return "wait"
        return self.actions.pop(0)

    def open(self) -> None:
        self.opened += 1
        if self.opened > 3:
            self.tried_often.set()
        if self.actions and self.actions[0] == "absent":
            self.actions.pop(0)
            raise CameraError("not there", where="/dev/video0", fix="plug it in")

    def read(self) -> Frame | None:
        action = self._next()
        if action == "pulled":
            raise CameraError("went away", where="/dev/video0", fix="plug it in again")
        if action == "bug":
            raise KeyError("a bug")
        if action == "wait":
            time.sleep(0.01)
            return None
        return Frame(b"\xff\xd8", 1, 2, 3)

    def close(self) -> None:
        self.closed += 1


def _capture(camera: UnreliableCamera) -> tuple[Capture, list[str], queue.Queue[object]]:
    lines: list[str] = []
    crashes: queue.Queue[object] = queue.Queue()
    capture = Capture(
        camera,
        lambda frame: None,
        lambda text, ok: lines.append(text),
        SystemClock(),
        0.02,
        crashes.put,
    )
    return capture, lines, crashes


def test_a_camera_that_goes_is_tried_again_and_each_change_is_told_once() -> None:
    camera = UnreliableCamera(["absent", "absent", "absent", "frame", "frame", "pulled", "frame"])
    capture, lines, _ = _capture(camera)
    capture.start()
    assert camera.idle.wait(5)
    state = capture.state()
    capture.close()
    assert state.frames == 3
    assert state.error == ""
    assert state.losses == 2
    assert camera.opened == camera.closed == 5
    assert [line.split(".")[0] for line in lines] == [
        "/dev/video0: not there",
        "delivers pictures again",
        "/dev/video0: went away",
        "delivers pictures again",
    ]


def test_while_the_camera_is_away_the_state_says_why_and_closing_is_quick() -> None:
    camera = UnreliableCamera(["absent"] * 10_000)
    capture, lines, _ = _capture(camera)
    capture.start()
    assert camera.tried_often.wait(5)
    assert "Fix: plug it in" in capture.state().error
    begun = time.monotonic()
    capture.close()
    assert time.monotonic() - begun < 0.5
    assert len(lines) == 1


def test_a_bug_in_a_driver_is_not_taken_for_an_unplugged_camera() -> None:
    camera = UnreliableCamera(["frame", "bug"])
    capture, _, crashes = _capture(camera)
    capture.start()
    assert isinstance(crashes.get(timeout=5), KeyError)
    capture.close()
    assert camera.closed == 1


def test_a_camera_name_that_no_topic_can_have_is_refused() -> None:
    with pytest.raises(ValueError, match="name is 'Front Camera'"):
        CameraParams(name="Front Camera")
