"""The neck's grammar: what is read, what is refused, what is written."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialtone_core.command import Twist
from dialtone_core.errors import WireError
from dialtone_teleop.neck_jog import Jog
from dialtone_teleop.neck_protocol import (
    Actuators,
    Attitude,
    Head,
    Pose,
    Word,
    is_neck,
    limit_tilt,
    parse,
    parse_health,
)
from dialtone_teleop.neck_targets import to_command, to_joints

angles = st.integers(-700, 700)
paces = st.floats(0, 10).map(lambda v: round(v, 3))
unit = st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: math.hypot(*q) > 0.1)


@st.composite
def heads(draw: st.DrawFn) -> Head:
    kind = draw(st.sampled_from(["angles", "quaternion", "lengths"]))
    if kind == "lengths":
        return Head(
            lengths=draw(st.dictionaries(st.integers(1, 6), st.integers(0, 70), min_size=1))
        )
    height, speed = draw(st.integers(0, 70)), draw(paces)
    if kind == "quaternion":
        q = draw(unit)
        w, x, y, z = (each / math.hypot(*q) for each in q)
        return Head(height_mm=height, speed=speed, wxyz=(w, x, y, z))
    five = (draw(angles), draw(angles), draw(angles), draw(angles), draw(angles))
    return Head(five, height, speed, draw(paces))


def reason(line: str) -> str:
    with pytest.raises(WireError) as caught:
        parse(line)
    return caught.value.reason


def test_words_moves_poses_and_quaternions_are_read() -> None:
    assert parse("HOME") == Word("HOME")
    assert parse(" HEALTH\r\n") == Word("HEALTH")
    assert parse("1:55,2:60") == Actuators({1: 55, 2: 60})
    assert parse("X50,Y-20,H10,S1.5") == Pose({"X": 50, "Y": -20, "H": 10, "S": 1.5})
    assert parse("Q:1,0,0,0,H30") == Attitude((1, 0, 0, 0), {"H": 30})


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("", "empty"),
        ("X1.5", "not_integer"),
        ("X50,X60", "duplicate_field"),
        ("1:10,1:20", "duplicate_field"),
        ("1:5.5", "not_integer"),
        ("7:10", "unknown_field"),
        ("X701", "out_of_range"),
        ("H-1", "out_of_range"),
        ("S10.5", "out_of_range"),
        ("Snan", "not_number"),
        ("X", "not_integer"),
        ("X50,", "unknown_field"),
        ("X50,1:20", "unknown_field"),
        ("home", "unknown_word"),
        ("HOME\nX50", "not_ascii"),
        ("X٣", "not_ascii"),
        ("X" + "1" * 200, "too_long"),
        ("Q:1,0,0", "too_few_parts"),
        ("Q:1,0,0,0,H1,S1,A1", "too_many_parts"),
        ("Q:1,1,0,0", "not_unit"),
        ("Q:0,0,0,0", "not_unit"),
        ("Q:1,0,0,0,X5", "unknown_field"),
    ],
)
def test_what_the_firmware_would_misread_is_refused_by_name(line: str, why: str) -> None:
    assert reason(line) == why


def test_a_field_that_is_left_out_keeps_what_it_was() -> None:
    head = Head().merged(parse("X50,H20,S2")).merged(parse("Y-20"))
    assert head.line() == "X50,Y-20,Z0,R0,P0,H20,S2,A1"
    assert head.merged(parse("Q:1,0,0,0")).line() == "Q:1,0,0,0,H20,S2"
    assert head.merged(parse("HOME_SOFT")) == Head()
    assert head.merged(parse("HEALTH")) == head


def test_moves_of_single_actuators_are_merged_and_clamped() -> None:
    head = Head().merged(parse("1:55")).merged(parse("2:500,3:-9")).clamped(0, 70)
    assert head.line() == "1:55,2:70,3:0"
    assert head.merged(parse("X5")).line().startswith("X5,Y0")


@given(heads())
def test_every_line_that_is_written_can_be_read_again(head: Head) -> None:
    line = head.line()
    assert len(line) <= 64
    again = Head().merged(parse(line))
    assert again.lengths == head.lengths
    if head.wxyz is not None:
        assert again.wxyz == pytest.approx(head.wxyz, abs=2e-4)
    elif not head.lengths:
        assert again == head


@given(st.text(max_size=150) | st.text("XYZRPHSAQ:,.-+0123456789e ", max_size=60))
def test_no_text_gets_through_but_as_a_line_within_the_ranges(text: str) -> None:
    try:
        command = parse(text)
    except WireError:
        return
    line = Head().merged(command).clamped(0, 70).line()
    assert line.isascii()
    assert line.isprintable()
    assert len(line) <= 64
    parse(line)


@given(unit, st.floats(0.05, 1.5))
def test_an_attitude_is_tilted_no_further_than_allowed_and_stays_a_rotation(
    q: tuple[float, float, float, float], most: float
) -> None:
    w, x, y, z = (each / math.hypot(*q) for each in q)
    held = limit_tilt((w, x, y, z), most)
    assert math.hypot(*held) == pytest.approx(1.0, abs=1e-6)
    up = held[0] ** 2 - held[1] ** 2 - held[2] ** 2 + held[3] ** 2
    assert math.acos(max(-1.0, min(1.0, up))) <= most + 1e-6


@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9), st.integers(0, 10**9)), max_size=40))
def test_jogging_stays_within_tilt_and_height(steps: list[tuple[float, float, int]]) -> None:
    jog, head, now_ns = Jog(0.5), Head(), 0
    for rate, lift, pause_ns in steps:
        now_ns += pause_ns
        head = jog.step(head, Twist(z=lift, roll=rate, yaw=-rate), now_ns)
        assert 0 <= head.height_mm <= 70
        parse(head.line())


def test_a_turn_of_one_radian_a_second_for_a_second_is_one_radian() -> None:
    jog, head = Jog(1.0), Head()
    for step in range(21):
        head = jog.step(head, Twist(z=0.01, yaw=1.0), step * 50_000_000)
    assert head.wxyz is not None
    assert 2 * math.atan2(head.wxyz[3], head.wxyz[0]) == pytest.approx(1.0)
    assert head.height_mm == 10


def test_joint_targets_become_fields_and_heads_become_joints() -> None:
    assert to_command({"neck_x": 0.0873, "neck_height": 0.02}) == Pose({"X": 50, "H": 20})
    assert to_command({"neck_actuator_1": 0.055}) == Actuators({1: 55})
    assert to_joints(Head().merged(parse("X50,H20")))["neck_x"] == pytest.approx(0.0873, abs=1e-4)
    for bad in ({"elbow": 0.1}, {"neck_x": 2.0}, {"neck_x": math.nan}, {}):
        with pytest.raises(WireError):
            to_command(bad)


def test_only_a_neck_of_our_protocol_is_taken_for_one() -> None:
    health = parse_health("HEALTH|DEVICE=NECK|ROLE=STEWART_NECK|PROTO=1|UPTIME_MS=5|x\r\n")
    assert health["UPTIME_MS"] == "5"
    assert is_neck(health)
    assert not is_neck(parse_health("HEALTH|DEVICE=ARM|PROTO=1"))
    assert not is_neck(parse_health("HEALTH|DEVICE=NECK|PROTO=2"))
    assert parse_health("ERR bad") == {}
