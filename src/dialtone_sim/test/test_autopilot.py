"""The simulated autopilot takes and refuses what an ArduRover takes and refuses."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymavlink.dialects.v20 import common as mavlink

from dialtone_sim.answers import handle
from dialtone_sim.autopilot import GUIDED, HOLD, MANUAL, Autopilot, SetpointEvent
from dialtone_sim.params import VehicleParams

S = 1_000_000_000
VELOCITY_AND_YAW_RATE, MAVROS_VELOCITY_AND_YAW_RATE = 0x5E7, 0x5C7
VELOCITY, YAW_RATE, VELOCITY_AND_YAW = 0xDC7, 0x5FF, 0x9C7


class Bench:
    """An autopilot with a clock of its own; every message crosses the real codec."""

    def __init__(self, **params: Any) -> None:
        self.events: list[SetpointEvent] = []
        self.autopilot = Autopilot(VehicleParams(**params), 0, self.events.append)
        self.now_ns = 0
        self._sender = mavlink.MAVLink(None, srcSystem=255, srcComponent=190)
        self._receiver = mavlink.MAVLink(None)

    def send(self, message: Any) -> list[Any]:
        (received,) = self._receiver.parse_buffer(message.pack(self._sender))
        return handle(self.autopilot, received, self.now_ns, 0)

    def command(self, number: int, *params: float) -> list[Any]:
        padded = [*params, *([0.0] * (7 - len(params)))]
        return self.send(mavlink.MAVLink_command_long_message(1, 1, number, 0, *padded))

    def drive(
        self,
        mask: int = VELOCITY_AND_YAW_RATE,
        frame: int = mavlink.MAV_FRAME_BODY_NED,
        vx: float = 0.0,
        vy: float = 0.0,
        yaw: float = 0.0,
        yaw_rate: float = 0.0,
    ) -> list[Any]:
        return self.send(
            mavlink.MAVLink_set_position_target_local_ned_message(
                0, 1, 1, frame, mask, 0, 0, 0, vx, vy, 0, 0, 0, 0, yaw, yaw_rate
            )
        )

    def ready(self) -> Bench:
        assert self.command(mavlink.MAV_CMD_DO_SET_MODE, 1, GUIDED)[0].result == 0
        assert self.command(mavlink.MAV_CMD_COMPONENT_ARM_DISARM, 1)[0].result == 0
        return self

    def wait(self, seconds: float) -> list[Any]:
        said = []
        for _ in range(round(seconds * 100)):
            self.now_ns += S // 100
            said += self.autopilot.advance(self.now_ns, self.now_ns)
        return said

    @property
    def reason(self) -> str:
        return self.events[-1].reason


def test_a_guided_and_armed_rover_drives_forward_and_turns_clockwise() -> None:
    bench = Bench(heading_deg=0.0).ready()
    assert bench.drive(vx=1.0, yaw_rate=0.5) == []
    bench.wait(2)
    assert bench.autopilot.state.speed == pytest.approx(1.0, abs=0.01)
    assert bench.autopilot.state.yaw_rate == pytest.approx(0.5, abs=0.01)
    assert bench.autopilot.state.yaw > 0.5


@pytest.mark.parametrize("mask", [VELOCITY_AND_YAW_RATE, MAVROS_VELOCITY_AND_YAW_RATE])
@pytest.mark.parametrize("frame", [1, 7, 8, 9])
def test_every_documented_mask_and_frame_is_taken(mask: int, frame: int) -> None:
    bench = Bench().ready()
    bench.drive(mask, frame, vx=1.0)
    assert bench.reason == ""
    bench.wait(0.5)
    assert bench.autopilot.state.speed > 0.3


def test_frame_12_is_dropped_without_a_word() -> None:
    bench = Bench().ready()
    assert bench.drive(frame=12, vx=1.0) == []
    bench.wait(1)
    assert bench.reason == "frame"
    assert bench.autopilot.state.speed == 0


def test_setpoints_outside_of_guided_or_disarmed_move_nothing() -> None:
    bench = Bench()
    bench.drive(vx=1.0)
    assert bench.reason == "not_guided"
    bench.command(mavlink.MAV_CMD_DO_SET_MODE, 1, GUIDED)
    bench.drive(vx=1.0)
    assert bench.reason == "not_armed"
    bench.wait(1)
    assert bench.autopilot.state.speed == 0
    assert bench.autopilot.refused == {"not_guided": 1, "not_armed": 1}


def test_before_it_has_a_position_the_rover_neither_arms_nor_drives_nor_tells_where_it_is() -> (
    None
):
    bench = Bench(ready_after_s=1.0)
    assert bench.command(mavlink.MAV_CMD_COMPONENT_ARM_DISARM, 1)[0].result != 0
    bench.command(mavlink.MAV_CMD_DO_SET_MODE, 1, GUIDED)
    assert bench.command(mavlink.MAV_CMD_COMPONENT_ARM_DISARM, 1, 21196)[0].result == 0
    bench.drive(vx=1.0)
    assert bench.reason == "no_position"
    names = {message.get_type() for message in bench.wait(0.5)}
    assert "ATTITUDE" in names
    assert "LOCAL_POSITION_NED" not in names
    assert "LOCAL_POSITION_NED" in {message.get_type() for message in bench.wait(1)}


def test_acceleration_that_is_not_ignored_is_refused() -> None:
    bench = Bench().ready()
    bench.drive(VELOCITY_AND_YAW_RATE & ~0x1C0, vx=1.0)
    assert bench.reason == "type_mask"


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("axis", ["vx", "vy", "yaw_rate"])
def test_what_is_not_finite_is_refused(axis: str, bad: float) -> None:
    bench = Bench().ready()
    wishes: dict[str, Any] = {axis: bad}
    bench.drive(MAVROS_VELOCITY_AND_YAW_RATE, **wishes)
    assert bench.reason == "not_finite"
    bench.wait(0.5)
    assert bench.autopilot.state.speed == 0


def test_speed_is_the_length_of_the_velocity_with_the_sign_of_vx() -> None:
    bench = Bench().ready()
    bench.drive(MAVROS_VELOCITY_AND_YAW_RATE, vx=-0.6, vy=0.8)
    bench.wait(3 - 0.1)
    assert bench.autopilot.state.speed == pytest.approx(-1.0, abs=0.01)


def test_velocity_alone_turns_the_nose_to_where_it_points() -> None:
    bench = Bench(heading_deg=0.0).ready()
    for _ in range(4):
        bench.drive(VELOCITY, mavlink.MAV_FRAME_LOCAL_NED, vx=0.0, vy=1.0)
        bench.wait(1)
    assert bench.autopilot.state.yaw == pytest.approx(math.pi / 2, abs=0.05)
    assert bench.autopilot.state.east > 1.0


def test_a_heading_in_a_body_frame_is_relative() -> None:
    bench = Bench(heading_deg=90.0).ready()
    bench.drive(VELOCITY_AND_YAW, vx=0.5, yaw=0.3)
    assert bench.events[-1].setpoint is not None
    assert bench.events[-1].setpoint.heading == pytest.approx(math.pi / 2 + 0.3)


def test_thrust_and_yaw_rate_drive_too() -> None:
    bench = Bench().ready()
    bench.send(
        mavlink.MAVLink_set_attitude_target_message(0, 1, 1, 0x83, [1, 0, 0, 0], 0, 0, 0.4, 0.5)
    )
    bench.wait(2)
    assert bench.autopilot.state.speed == pytest.approx(1.0, abs=0.01)
    assert bench.autopilot.state.yaw_rate == pytest.approx(0.4, abs=0.01)


def test_after_silence_it_drives_on_at_full_speed_for_three_seconds_and_then_stops() -> None:
    bench = Bench().ready()
    bench.drive(vx=1.0)
    bench.wait(2.9)
    assert bench.autopilot.state.speed == pytest.approx(1.0, abs=0.01)
    said = bench.wait(1.5)
    assert bench.autopilot.state.speed == pytest.approx(0.0, abs=0.01)
    assert any(m.get_type() == "STATUSTEXT" and "stopping" in m.text for m in said)


@pytest.mark.parametrize("mode", [MANUAL, HOLD])
def test_leaving_guided_stops_and_coming_back_does_not_resume(mode: int) -> None:
    bench = Bench().ready()
    bench.drive(vx=1.0)
    bench.wait(1)
    bench.command(mavlink.MAV_CMD_DO_SET_MODE, 1, mode)
    bench.wait(1)
    assert bench.autopilot.state.speed == pytest.approx(0, abs=0.01)
    bench.command(mavlink.MAV_CMD_DO_SET_MODE, 1, GUIDED)
    bench.wait(0.5)
    assert bench.autopilot.state.speed == pytest.approx(0, abs=0.01)


def test_disarming_stops() -> None:
    bench = Bench().ready()
    bench.drive(vx=1.0)
    bench.wait(1)
    assert bench.command(mavlink.MAV_CMD_COMPONENT_ARM_DISARM, 0)[0].result == 0
    bench.wait(1)
    assert bench.autopilot.state.speed == pytest.approx(0, abs=0.01)


def test_commands_for_somebody_else_get_no_answer() -> None:
    bench = Bench()
    for system, component in ((2, 1), (1, 100)):
        message = mavlink.MAVLink_command_long_message(
            system, component, mavlink.MAV_CMD_COMPONENT_ARM_DISARM, 0, 1, 0, 0, 0, 0, 0, 0
        )
        assert bench.send(message) == []
    assert not bench.autopilot.armed


@pytest.mark.parametrize(
    ("number", "params", "result"),
    [
        (mavlink.MAV_CMD_DO_SET_MODE, (1, 99), mavlink.MAV_RESULT_FAILED),
        (mavlink.MAV_CMD_DO_SET_MODE, (0, 15), mavlink.MAV_RESULT_DENIED),
        (mavlink.MAV_CMD_DO_SET_MODE, (math.nan, 15), mavlink.MAV_RESULT_DENIED),
        (mavlink.MAV_CMD_COMPONENT_ARM_DISARM, (2,), mavlink.MAV_RESULT_UNSUPPORTED),
        (mavlink.MAV_CMD_NAV_TAKEOFF, (), mavlink.MAV_RESULT_UNSUPPORTED),
        (mavlink.MAV_CMD_SET_MESSAGE_INTERVAL, (9999, 1e6), mavlink.MAV_RESULT_DENIED),
        (mavlink.MAV_CMD_SET_MESSAGE_INTERVAL, (0, -1), mavlink.MAV_RESULT_DENIED),
        (mavlink.MAV_CMD_PREFLIGHT_REBOOT_SHUTDOWN, (0,), mavlink.MAV_RESULT_UNSUPPORTED),
    ],
)
def test_wrong_commands_are_answered_with_the_reason(
    number: int, params: tuple[float, ...], result: int
) -> None:
    assert Bench().command(number, *params)[0].result == result


def test_message_intervals_are_set_read_and_reset() -> None:
    bench = Bench()
    attitude = mavlink.MAVLINK_MSG_ID_ATTITUDE
    bench.command(mavlink.MAV_CMD_SET_MESSAGE_INTERVAL, attitude, 100_000)
    said = [message.get_type() for message in bench.wait(2)]
    assert said.count("ATTITUDE") == pytest.approx(20, abs=1)
    _, interval = bench.command(mavlink.MAV_CMD_GET_MESSAGE_INTERVAL, attitude)
    assert interval.interval_us == 100_000
    bench.command(mavlink.MAV_CMD_SET_MESSAGE_INTERVAL, attitude, -1)
    assert "ATTITUDE" not in [message.get_type() for message in bench.wait(1)]
    bench.command(mavlink.MAV_CMD_SET_MESSAGE_INTERVAL, attitude, 0)
    said = [message.get_type() for message in bench.wait(2)]
    assert said.count("ATTITUDE") == pytest.approx(100, abs=2)


def test_every_message_it_can_build_fits_its_wire_format() -> None:
    from dialtone_sim.telemetry import BUILDERS

    bench = Bench(battery_full_v=100.0).ready()
    bench.drive(vx=-2.0, yaw_rate=-1.0)
    bench.wait(1)
    codec = mavlink.MAVLink(None, srcSystem=1)
    for number in BUILDERS:
        ack, message = bench.command(mavlink.MAV_CMD_REQUEST_MESSAGE, number)
        assert ack.result == 0
        (back,) = mavlink.MAVLink(None).parse_buffer(message.pack(codec))
        assert back.get_msgId() == number


def test_timesync_questions_are_answered_and_answers_are_not() -> None:
    bench = Bench()
    bench.wait(1)
    (answer,) = bench.send(mavlink.MAVLink_timesync_message(0, 4711))
    assert (answer.tc1, answer.ts1) == (S, 4711)
    assert bench.send(mavlink.MAVLink_timesync_message(1, 2)) == []


def test_parameters_are_listed_read_and_set() -> None:
    bench = Bench()
    listed = bench.send(mavlink.MAVLink_param_request_list_message(1, 1))
    assert len(listed) == listed[0].param_count
    bench.send(mavlink.MAVLink_param_set_message(1, 1, b"FS_GCS_ENABLE", 1.0, 9))
    (read,) = bench.send(mavlink.MAVLink_param_request_read_message(1, 1, b"FS_GCS_ENABLE", -1))
    assert read.param_value == 1.0
    bench.send(mavlink.MAVLink_param_set_message(1, 1, b"FS_GCS_ENABLE", math.nan, 9))
    assert bench.autopilot.parameters["FS_GCS_ENABLE"] == 1.0
    assert bench.send(mavlink.MAVLink_param_set_message(1, 1, b"NO_SUCH", 1.0, 9)) == []


def test_the_gcs_failsafe_is_off_by_default_and_holds_when_it_is_on() -> None:
    heartbeat = mavlink.MAVLink_heartbeat_message(6, 8, 0, 0, 0, 3)
    bench = Bench().ready()
    bench.send(heartbeat)
    bench.wait(5)
    assert bench.autopilot.mode == GUIDED
    bench.send(mavlink.MAVLink_param_set_message(1, 1, b"FS_GCS_ENABLE", 1.0, 9))
    bench.send(heartbeat)
    bench.wait(1.4)
    assert bench.autopilot.mode == GUIDED
    bench.wait(0.3)
    assert bench.autopilot.mode == HOLD


def test_a_reboot_is_refused_while_armed_and_forgets_the_mode_but_not_the_place() -> None:
    bench = Bench().ready()
    bench.drive(vx=1.0)
    bench.wait(1)
    reboot = mavlink.MAV_CMD_PREFLIGHT_REBOOT_SHUTDOWN
    assert bench.command(reboot, 1)[0].result == mavlink.MAV_RESULT_FAILED
    bench.command(mavlink.MAV_CMD_COMPONENT_ARM_DISARM, 0)
    east = bench.autopilot.state.east
    assert bench.command(reboot, 1)[0].result == 0
    assert bench.autopilot.mode == MANUAL
    assert bench.autopilot.state.east == east > 0.3
    assert bench.autopilot.snapshot(bench.now_ns, 0).boot_ms == 0


def test_the_battery_drains_faster_when_driving_and_warns_once() -> None:
    idle, driven = Bench(battery_capacity_ah=0.01), Bench(battery_capacity_ah=0.01).ready()
    said = []
    for _ in range(6):
        driven.drive(vx=2.0)
        said += driven.wait(1)
        idle.wait(1)
    assert driven.autopilot.battery.remaining < 0.1 < idle.autopilot.battery.remaining
    assert driven.autopilot.battery.voltage_v < idle.autopilot.battery.voltage_v
    texts = [message.text for message in said if message.get_type() == "STATUSTEXT"]
    assert texts.count("Battery low") == 1


def test_the_pose_for_cameras_is_east_north_and_counter_clockwise() -> None:
    bench = Bench(heading_deg=0.0).ready()
    bench.drive(vx=1.0, yaw_rate=0.2)
    bench.wait(1)
    pose = bench.autopilot.pose(bench.now_ns)
    assert pose.y > 0.3  # north is y
    assert pose.yaw < math.pi / 2  # clockwise from north
    assert pose.yaw_rate == pytest.approx(-0.2, abs=0.01)


@given(st.integers(0, 0xFFFF), st.integers(0, 255), *[st.floats(width=32) for _ in range(4)])
def test_no_setpoint_makes_it_fail_or_exceed_its_limits(
    mask: int, frame: int, vx: float, vy: float, yaw: float, yaw_rate: float
) -> None:
    bench = Bench().ready()
    bench.drive(mask, frame, vx, vy, yaw, yaw_rate)
    bench.wait(0.5)
    state = bench.autopilot.state
    assert abs(state.speed) <= 2.0 + 1e-9
    assert abs(state.yaw_rate) <= 1.8 + 1e-9
    assert math.isfinite(state.north + state.east + state.yaw)
