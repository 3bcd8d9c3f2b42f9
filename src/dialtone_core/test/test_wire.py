"""A velocity command is well formed and finite, or it is refused by a name."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialtone_core.command import Envelope, Twist
from dialtone_core.errors import WireError
from dialtone_core.wire import (
    MAX_COMMAND_BYTES,
    command_topic,
    decode_velocity,
    service_subject,
    telemetry_subject,
)

_finite = st.floats(allow_nan=False, allow_infinity=False)


def test_the_one_line_command_of_the_readme_is_whole() -> None:
    twist, envelope = decode_velocity(b'{"linear":{"x":0.4},"angular":{"z":0.1}}')
    assert twist == Twist(x=0.4, yaw=0.1)
    assert envelope == Envelope()


@given(st.tuples(*[_finite] * 6))
def test_any_finite_command_survives_json(axes: tuple[float, ...]) -> None:
    x, y, z, roll, pitch, yaw = axes
    body = {"linear": {"x": x, "y": y, "z": z}, "angular": {"x": roll, "y": pitch, "z": yaw}}
    assert decode_velocity(json.dumps(body).encode())[0].as_tuple() == axes
    assert decode_velocity(json.dumps({"twist": body}).encode())[0].as_tuple() == axes


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "not_json"),
        (b'{"linear":{"x":0.4', "not_json"),
        (b'{"linear":{"x":NaN}}', "not_json"),
        (b'{"linear":{"x":1e999}}', "not_json"),
        (b'{"linear":{"x":"fast"}}', "not_number"),
        (b'{"linear":{"x":true}}', "not_number"),
        (b'{"linear":{"x":null}}', "not_number"),
        (b'{"linear":[1,2,3]}', "not_object"),
        (b"[1]", "not_object"),
        (b'"go"', "not_object"),
        (b"{}", "empty"),
        (b'{"linaer":{"x":1}}', "unknown_field"),
        (b'{"linear":{"w":1}}', "unknown_field"),
        (b'{"linear":{"x":1},"operator":7}', "not_string"),
        (b'{"linear":{"x":1},"seq":1.5}', "not_number"),
        (b'{"linear":{"x":1},"ttl_ms":"soon"}', "not_number"),
        (b" " * (MAX_COMMAND_BYTES + 1), "too_big"),
        (b"\xff\xfe", "not_json"),
    ],
)
def test_a_bad_command_is_refused_by_name(payload: bytes, reason: str) -> None:
    with pytest.raises(WireError) as caught:
        decode_velocity(payload)
    assert caught.value.reason == reason


@given(st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
def test_no_bytes_whatsoever_yield_a_command_that_is_not_finite(payload: bytes) -> None:
    try:
        twist, _ = decode_velocity(payload)
    except WireError:
        return
    assert twist.is_finite()


@given(
    st.text(max_size=64),
    st.none() | st.integers(0, 2**62),
    st.none() | st.integers(0, 10_000).map(lambda ms: ms * 1_000_000),
    st.none() | st.integers(0, 2**62),
)
def test_an_envelope_survives_the_frame_id(
    operator: str, seq: int | None, ttl_ns: int | None, issued_ns: int | None
) -> None:
    envelope = Envelope(operator, seq, ttl_ns, issued_ns)
    assert Envelope.from_frame_id(envelope.to_frame_id("base_link")) == ("base_link", envelope)


def test_a_plain_frame_is_an_empty_envelope_and_a_broken_one_is_refused() -> None:
    assert Envelope.from_frame_id("base_link") == ("base_link", Envelope())
    for broken in ("base_link?seq=x", "base_link?ttl_ms=inf", "b?" + "&".join(["a=1"] * 20)):
        with pytest.raises(WireError):
            Envelope.from_frame_id(broken)


def test_subjects_follow_the_contract() -> None:
    assert telemetry_subject("rover", "/camera/front/image_raw/compressed") == (
        "dt.rover.tlm.camera.front.image_raw.compressed"
    )
    assert telemetry_subject("r2", "/robot2/odom", "/robot2") == "dt.r2.tlm.odom"
    assert telemetry_subject("r2", "/odom", "/robot2") == "dt.r2.tlm._root.odom"
    assert command_topic("rover", "dt.rover.cmd.cmd_vel.nats") == "cmd_vel/nats"
    assert command_topic("r2", "dt.r2.cmd._root.goal", "/robot2") == "/goal"
    assert service_subject("rover", "recorder", "start") == "dt.rover.srv.recorder.start"
    with pytest.raises(WireError):
        command_topic("rover", "dt.other.cmd.cmd_vel")


@pytest.mark.parametrize(
    "tail", ["/cmd_vel", "cmd_vel/", "_root.robot2.cmd_vel", "a/b", "", "_root"]
)
def test_a_command_topic_has_one_subject(tail: str) -> None:
    with pytest.raises(WireError, match="foreign_subject"):
        command_topic("r2", f"dt.r2.cmd.{tail}", "/robot2")


def test_infinity_does_not_hide_in_a_twist() -> None:
    assert not Twist(x=math.inf).is_finite()
    assert not Twist(yaw=math.nan).is_finite()
    assert Twist(x=-0.0).is_zero()
