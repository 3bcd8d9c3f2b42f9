"""The live gate's colours, with a clock that the test moves."""

from __future__ import annotations

import struct

import pytest

from dialtone_core.config import build
from dialtone_core.errors import ConfigError
from dialtone_core.sample import Sample
from dialtone_recorder.gate import Colour, Gate, GateRule, has_header
from dialtone_recorder.params import RecorderParams

S = 1_000_000_000
T0 = 1_700_000_000 * S
FLOOR, FREE = 500_000_000, 10_000_000_000


def stamped(at_ns: int, stamp_ns: int) -> Sample:
    payload = b"\0\1\0\0" + struct.pack("<iI", stamp_ns // S, stamp_ns % S) + bytes(4)
    return Sample("/odom", "nav_msgs/msg/Odometry", "cdr", payload, at_ns, at_ns, 1)


def fed(gate: Gate, rate_hz: float, seconds: float, skew_ns: int = 0, start_ns: int = T0) -> int:
    """Feed ``seconds`` at ``rate_hz``; returns the stamp of the last message."""
    at_ns = start_ns
    for number in range(round(rate_hz * seconds)):
        at_ns = start_ns + round(number / rate_hz * S)
        gate.see(stamped(at_ns, at_ns - skew_ns))
    return at_ns


def gate_of(**rule: float) -> Gate:
    gate = Gate({"odom": GateRule("odom", **rule)})
    gate.told("/odom", "std_msgs/Header header\nstring child_frame_id\n")
    gate.restart(T0)
    return gate


@pytest.mark.parametrize(
    ("rate_hz", "colour"), [(50, Colour.GREEN), (40, Colour.YELLOW), (20, Colour.RED)]
)
def test_a_rate_below_nine_tenths_is_yellow_and_below_half_red(
    rate_hz: float, colour: Colour
) -> None:
    gate = gate_of(rate_hz=50)
    now_ns = fed(gate, rate_hz, 4)
    verdict = gate.judge(now_ns, FREE, FLOOR)
    assert verdict.colour is colour
    assert bool(verdict.reasons) is (colour is not Colour.GREEN)


def test_silence_is_red_while_it_lasts_and_yellow_for_a_while_after() -> None:
    gate = gate_of(max_gap_s=0.5)
    now_ns = fed(gate, 50, 1)
    assert gate.judge(now_ns, FREE, FLOOR).colour is Colour.GREEN
    silent = gate.judge(now_ns + S, FREE, FLOOR)
    assert silent.colour is Colour.RED
    assert silent.reasons == ("/odom: silent for 1.00 s",)
    now_ns = fed(gate, 50, 1, start_ns=now_ns + S)
    assert gate.judge(now_ns, FREE, FLOOR).colour is Colour.YELLOW
    now_ns = fed(gate, 50, 4, start_ns=now_ns + S // 50)
    assert gate.judge(now_ns, FREE, FLOOR).colour is Colour.GREEN


def test_a_topic_that_never_came_is_red() -> None:
    gate = gate_of(rate_hz=50, max_gap_s=0.5)
    assert gate.judge(T0 + S // 10, FREE, FLOOR).colour is Colour.GREEN
    verdict = gate.judge(T0 + 2 * S, FREE, FLOOR)
    assert verdict.colour is Colour.RED
    assert "/odom: 0.0 Hz of 50" in verdict.reasons


def test_header_stamps_far_from_their_receipt_are_red() -> None:
    gate = gate_of(max_skew_s=0.2)
    now_ns = fed(gate, 50, 1, skew_ns=S // 10)
    assert gate.judge(now_ns, FREE, FLOOR).colour is Colour.GREEN
    now_ns = fed(gate, 50, 1, skew_ns=170 * S, start_ns=now_ns)
    verdict = gate.judge(now_ns, FREE, FLOOR)
    assert verdict.colour is Colour.RED
    assert "170.000 s off" in verdict.reasons[0]


def test_the_disk_and_losses_are_judged_too() -> None:
    gate = Gate({})
    assert gate.judge(T0, FREE, FLOOR).colour is Colour.GREEN
    assert gate.judge(T0, int(1.5 * FLOOR), FLOOR).colour is Colour.YELLOW
    assert gate.judge(T0, FLOOR - 1, FLOOR).colour is Colour.RED
    assert gate.judge(T0, FREE, FLOOR, lost=3).colour is Colour.YELLOW


def test_a_definition_tells_whether_a_header_comes_first() -> None:
    assert has_header("# what\nstd_msgs/Header header # when\nfloat64 x\n")
    assert not has_header("float64 x\nstd_msgs/Header header\n")
    assert not has_header(None)


def test_rules_are_parameters_and_a_wrong_one_is_named() -> None:
    params = build(RecorderParams, {"gate": {"odom": {"topic": "odom", "rate_hz": 50}}})
    assert Gate(params.gate, "/robot2").topics == {"/robot2/odom"}
    with pytest.raises(ConfigError, match=r"gate\.odom\.rate_hz"):
        build(RecorderParams, {"gate": {"odom": {"rate_hz": -1}}})
