"""The camera's messages made by hand are, byte for byte, what rclpy would send."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage

from dialtone_core.cdr import read_compressed_image, read_stamp_ns
from dialtone_sensors.camera_node import camera_info
from dialtone_sensors.messages import CompressedImageEncoder, restamp
from dialtone_sensors.params import CameraParams

_stamps_ns = st.integers(0, 2**31 * 1_000_000_000 - 1)
_names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)


def _gaps(frame_id: str, image_format: str) -> set[int]:
    """Offsets of the padding behind the two strings (both start at a multiple of four)."""
    gaps: set[int] = set()
    at = 12
    for text in (frame_id, image_format):
        end = at + 4 + len(text.encode()) + 1
        at = end + -end % 4
        gaps |= set(range(end, at))
    return gaps


def _without(payload: bytes, gaps: set[int]) -> bytes:
    return bytes(byte for index, byte in enumerate(payload) if index not in gaps)


@given(_stamps_ns, _names, st.sampled_from(["jpeg", "png", "", "rgb8; jpeg compressed bgr8"]))
def test_a_picture_is_serialised_as_rclpy_does_it(
    stamp_ns: int, frame_id: str, image_format: str
) -> None:
    for size in (0, 1, 2, 3, 4, 1001):
        picture = bytes(index % 251 for index in range(size))
        message = CompressedImage(format=image_format, data=picture)
        message.header.frame_id = frame_id
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
        made = CompressedImageEncoder(frame_id, image_format).encode(stamp_ns, picture)
        theirs = serialize_message(message)
        assert deserialize_message(made, CompressedImage) == message
        # Fast CDR leaves what happens to be in memory between fields and behind the last one.
        gaps = _gaps(frame_id, image_format)
        assert _without(theirs[: len(made)], gaps) == _without(made, gaps)
        view = read_compressed_image(made)
        assert (view.stamp_ns, view.frame_id) == (stamp_ns, frame_id)
        assert made[view.start : view.stop] == picture


@given(_stamps_ns)
def test_a_restamped_camera_info_is_what_rclpy_would_send(stamp_ns: int) -> None:
    info = camera_info(CameraParams(), 640, 480)
    once = serialize_message(info)
    info.header.stamp.sec, info.header.stamp.nanosec = divmod(stamp_ns, 10**9)
    assert deserialize_message(restamp(once, stamp_ns), CameraInfo) == info
    assert read_stamp_ns(restamp(once, stamp_ns)) == stamp_ns


def test_camera_info_follows_the_size_that_the_camera_really_gives() -> None:
    params = CameraParams(width=640, height=480, hfov_deg=90.0)
    full, half = camera_info(params, 640, 480), camera_info(params, 320, 240)
    assert isinstance(full, CameraInfo)
    assert full.k[0] == pytest.approx(320)
    assert half.k[0] == pytest.approx(160)
    assert (full.k[2], full.k[5]) == (319.5, 239.5)
    assert full.header.frame_id == "camera_front_optical_frame"
