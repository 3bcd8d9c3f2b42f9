"""The conversation with an autopilot, message by message: dialects, stream, clock, parameters."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from pymavlink.dialects.v20 import common as mavlink

from dialtone_core.clock import NS_PER_S
from dialtone_teleop.mavlink_clock import TimeSync
from dialtone_teleop.mavlink_dialect import COPTER, PX4, ROVER, Dialect
from dialtone_teleop.mavlink_failsafe import DRIVES_ON
from dialtone_teleop.mavlink_session import Session
from dialtone_teleop.params import MavlinkParams

MS = 1_000_000
ARDUPILOT, PX4_ID = mavlink.MAV_AUTOPILOT_ARDUPILOTMEGA, mavlink.MAV_AUTOPILOT_PX4


class Talk:
    """A session, and the vehicle's side of it by hand."""

    def __init__(self, autopilot: int = ARDUPILOT, kind: int = 10) -> None:
        self.said: list[tuple[str, str]] = []
        self.session = Session(MavlinkParams(), lambda *line: self.said.append(line))
        self.autopilot, self.kind = autopilot, kind

    def heartbeat(self, now_ns: int, mode: int = 0, armed: bool = False) -> list[Any]:
        base = mavlink.MAV_MODE_FLAG_SAFETY_ARMED if armed else 0
        message = mavlink.MAVLink_heartbeat_message(self.kind, self.autopilot, base, mode, 4, 3)
        message._header.srcSystem, message._header.srcComponent = 1, 1
        return self.session.on_heartbeat(message, now_ns)

    def ack(self, command: int) -> None:
        self.session.on_ack(mavlink.MAVLink_command_ack_message(command, 0))

    def ticks(self, start_ms: int, end_ms: int) -> list[tuple[int, Any]]:
        """Everything said from one time to another, with the time (ms)."""
        return [
            (at, message)
            for at in range(start_ms, end_ms, 10)
            for message in self.session.tick(at * MS)
        ]


def named(said: list[tuple[int, Any]], name: str) -> list[tuple[int, Any]]:
    return [(at, message) for at, message in said if message.get_type() == name]


@pytest.mark.parametrize(
    ("autopilot", "kind", "dialect", "request_"),
    [
        (ARDUPILOT, mavlink.MAV_TYPE_GROUND_ROVER, ROVER, (15, 0)),
        (ARDUPILOT, mavlink.MAV_TYPE_QUADROTOR, COPTER, (4, 0)),
        (PX4_ID, mavlink.MAV_TYPE_GROUND_ROVER, PX4, (6, 0)),
        (PX4_ID, mavlink.MAV_TYPE_QUADROTOR, PX4, (6, 0)),
    ],
)
def test_the_heartbeat_tells_whose_rules_to_follow(
    autopilot: int, kind: int, dialect: Dialect, request_: tuple[int, int]
) -> None:
    talk = Talk(autopilot, kind)
    talk.heartbeat(0)
    assert talk.session.dialect is dialect
    talk.session.arm(True)
    (_, asked) = named(talk.ticks(0, 3000), "COMMAND_LONG")[0]
    assert asked.command == mavlink.MAV_CMD_DO_SET_MODE
    assert (asked.param1, asked.param2, asked.param3) == (1, *request_)


def test_px4_gets_a_stream_before_offboard_and_all_through_it() -> None:
    talk = Talk(PX4_ID, 2)
    talk.heartbeat(0)
    assert named(talk.ticks(0, 500), "SET_POSITION_TARGET_LOCAL_NED") == []
    talk.session.arm(True)
    said = talk.ticks(500, 2500)
    asked_ms = named(said, "COMMAND_LONG")[0][0]
    before = [at for at, _ in named(said, "SET_POSITION_TARGET_LOCAL_NED") if at < asked_ms]
    assert asked_ms - 500 > 1000
    assert len(before) >= 10
    talk.ack(mavlink.MAV_CMD_DO_SET_MODE)
    talk.ack(mavlink.MAV_CMD_COMPONENT_ARM_DISARM)
    talk.heartbeat(2500 * MS, 6 << 16, armed=True)
    assert talk.session.reason(2500 * MS) == ""
    stream = named(talk.ticks(2500, 4400), "SET_POSITION_TARGET_LOCAL_NED")
    assert all(b - a < 500 for (a, _), (b, _) in pairwise(stream))
    assert all((m.vx, m.vy, m.vz, m.yaw_rate) == (0, 0, 0, 0) for _, m in stream)


def test_the_stream_never_cuts_into_commands_that_come_in_time() -> None:
    talk = Talk(PX4_ID, 2)
    talk.session.arm(True)
    talk.heartbeat(0, 6 << 16, armed=True)
    talk.ack(mavlink.MAV_CMD_DO_SET_MODE)
    talk.ack(mavlink.MAV_CMD_COMPONENT_ARM_DISARM)
    talk.heartbeat(10 * MS, 6 << 16, armed=True)
    talk.ticks(10, 400)
    for at in range(400, 2000, 300):
        talk.heartbeat(at * MS, 6 << 16, armed=True)
        talk.session.sent_setpoint(at * MS)
        assert named(talk.ticks(at, at + 300), "SET_POSITION_TARGET_LOCAL_NED") == []


def test_a_pilot_who_takes_px4_out_of_offboard_ends_the_stream() -> None:
    talk = Talk(PX4_ID, 2)
    talk.session.arm(True)
    talk.heartbeat(0, 6 << 16, armed=True)
    talk.ack(mavlink.MAV_CMD_DO_SET_MODE)
    talk.ack(mavlink.MAV_CMD_COMPONENT_ARM_DISARM)
    talk.heartbeat(10 * MS, 6 << 16, armed=True)
    talk.heartbeat(1000 * MS, 3 << 16, armed=True)
    assert (talk.session.mode, talk.session.hands_off) == ("POSCTL", True)
    said = talk.ticks(1000, 2900)
    assert named(said, "SET_POSITION_TARGET_LOCAL_NED") == []
    assert named(said, "COMMAND_LONG") == []


def engaged(autopilot: int = ARDUPILOT, guided: int = 15) -> Talk:
    talk = Talk(autopilot)
    talk.session.arm(True)
    talk.heartbeat(0, guided, armed=True)
    talk.ack(mavlink.MAV_CMD_DO_SET_MODE)
    talk.ack(mavlink.MAV_CMD_COMPONENT_ARM_DISARM)
    talk.heartbeat(10 * MS, guided, armed=True)
    assert talk.session.reason(10 * MS) == ""
    return talk


def mode_requests(said: list[tuple[int, Any]]) -> list[tuple[float, float]]:
    found = [message for _, message in named(said, "COMMAND_LONG")]
    return [(m.param2, m.param3) for m in found if m.command == mavlink.MAV_CMD_DO_SET_MODE]


@pytest.mark.parametrize(
    ("autopilot", "guided", "name", "number", "request_"),
    [
        (ARDUPILOT, 15, "HOLD", 4, (4, 0)),
        (PX4_ID, 6 << 16, "AUTO.LOITER", 4 << 16 | 3 << 24, (4, 3)),
    ],
)
def test_a_mode_that_an_operator_chose_is_asked_for_until_it_is_granted_and_shown(
    autopilot: int, guided: int, name: str, number: int, request_: tuple[int, int]
) -> None:
    talk = engaged(autopilot, guided)
    assert name in talk.session.modes()
    talk.session.ask_mode(name)
    assert (talk.session.reason(20 * MS), talk.session.hands_off) == ("mode_changed", True)
    assert mode_requests(talk.ticks(20, 1200)) == [request_] * 3
    talk.heartbeat(1200 * MS, number, armed=True)
    assert mode_requests(talk.ticks(1600, 1700)), "shown, but never granted"
    talk.ack(mavlink.MAV_CMD_DO_SET_MODE)
    said = talk.ticks(1700, 2900)
    assert named(said, "COMMAND_LONG") == []
    assert named(said, "SET_POSITION_TARGET_LOCAL_NED") == []
    assert talk.said[-1] == ("info", f"mode {name}, as asked for: hands off until armed again")
    talk.heartbeat(2900 * MS, number, armed=True)
    guided_name = talk.session.dialect.mode_name(guided)
    talk.session.ask_mode(guided_name)
    talk.heartbeat(4000 * MS, number, armed=True)
    assert mode_requests(talk.ticks(4000, 6000))[0] == talk.session.dialect.mode_parameters(guided)


def test_a_mode_that_the_vehicle_refuses_is_not_asked_for_again() -> None:
    talk = engaged()
    talk.session.ask_mode("AUTO")
    assert mode_requests(talk.ticks(20, 100)) == [(10, 0)]
    denied = mavlink.MAV_RESULT_DENIED
    command = mavlink.MAV_CMD_DO_SET_MODE
    talk.session.on_ack(mavlink.MAVLink_command_ack_message(command, denied))
    assert mode_requests(talk.ticks(100, 1500)) == []
    assert talk.said[-1] == ("warn", "the vehicle refuses mode AUTO: MAV_RESULT_DENIED")


def test_a_mode_that_never_comes_is_given_up_and_told() -> None:
    talk = engaged()
    talk.session.ask_mode("HOLD")
    for second in range(8):
        talk.heartbeat(second * NS_PER_S, 15, armed=True)
        talk.ticks(second * 1000, second * 1000 + 1000)
    assert ("warn", "the vehicle does not enter mode HOLD; given up") in talk.said
    assert talk.session.hands_off, "whoever chose it wanted our hands off"


def test_the_failsafe_parameters_are_read_and_a_bad_one_is_named_once() -> None:
    talk = Talk()
    asked = [m.param_id for m in talk.heartbeat(0) if m.get_type() == "PARAM_REQUEST_READ"]
    assert asked == ["FS_GCS_ENABLE", "FS_TIMEOUT", "FS_ACTION", "SYSID_MYGCS", "MAV_GCS_SYSID"]
    value = mavlink.MAVLink_param_value_message(b"FS_GCS_ENABLE", 0.0, 9, 1, 0)
    value.param_id = "FS_GCS_ENABLE"
    talk.session.on_parameter(value)
    talk.session.on_parameter(value)
    assert talk.session.advice() == [DRIVES_ON]
    assert [level for level, line in talk.said if DRIVES_ON in line] == ["warn"]


def test_timesync_answers_a_question_and_learns_from_an_answer() -> None:
    sync = TimeSync()
    (question,) = sync.tick(5 * NS_PER_S)
    assert (question.tc1, question.ts1) == (0, 5 * NS_PER_S)
    assert sync.tick(5 * NS_PER_S + 1) == []
    (answer,) = sync.on_timesync(mavlink.MAVLink_timesync_message(0, 77), 9 * NS_PER_S)
    assert (answer.tc1, answer.ts1) == (9 * NS_PER_S, 77)
    theirs_ns = 5 * NS_PER_S + 2 * MS + 1000 * MS
    reply = mavlink.MAVLink_timesync_message(theirs_ns, 5 * NS_PER_S)
    assert sync.on_timesync(reply, 5 * NS_PER_S + 4 * MS) == []
    assert (sync.round_trip_ms, sync.offset_ms) == (4.0, 1000.0)
    sync.on_timesync(mavlink.MAVLink_timesync_message(1, 0), 9 * NS_PER_S)
    assert sync.round_trip_ms == 4.0, "an answer that took seconds teaches nothing"
