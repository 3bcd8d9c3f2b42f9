"""Offsets into CDR agree with a CDR writer for any lengths, and garbage never yields a slice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage

from dialtone_core.cdr import read_compressed_image, read_stamp_ns
from dialtone_core.errors import WireError


def _serialised(sec: int, nanosec: int, frame: str, fmt: str, data: bytes) -> bytes:
    message = CompressedImage(format=fmt, data=data)
    message.header.stamp.sec = sec
    message.header.stamp.nanosec = nanosec
    message.header.frame_id = frame
    return bytes(serialize_message(message))


_text = st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=40)


@given(
    st.integers(0, 2**31 - 1),
    st.integers(0, 999_999_999),
    _text,
    _text,
    st.binary(max_size=200),
)
def test_a_picture_is_cut_out_of_what_dds_serialises(
    sec: int, nanosec: int, frame: str, fmt: str, data: bytes
) -> None:
    payload = _serialised(sec, nanosec, frame, fmt, data)
    view = read_compressed_image(payload)
    assert payload[view.start : view.stop] == data
    assert (view.stamp_ns, view.frame_id, view.format) == (
        sec * 1_000_000_000 + nanosec,
        frame,
        fmt,
    )
    assert read_stamp_ns(payload) == view.stamp_ns


@given(st.binary(max_size=80))
def test_garbage_raises_a_wire_error_or_stays_inside_the_payload(payload: bytes) -> None:
    try:
        view = read_compressed_image(payload)
    except WireError:
        return
    assert 0 <= view.start <= view.stop <= len(payload)


@given(st.integers(0, 60))
def test_every_truncation_of_a_picture_is_refused(length: int) -> None:
    payload = _serialised(1, 2, "camera", "jpeg", b"x" * 40)
    with pytest.raises(WireError):
        read_compressed_image(payload[: min(length, len(payload) - 1)])
