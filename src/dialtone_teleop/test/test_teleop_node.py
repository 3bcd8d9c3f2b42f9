"""The node as a process: real DDS in, real MAVLink over UDP out."""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from geometry_msgs.msg import TwistStamped
from mavlink_peer import GUIDED, HOLD, until
from node_rig import Rig
from std_msgs.msg import Bool


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    made = Rig(tmp_path_factory.mktemp("teleop"))
    try:
        made.ready()
        yield made
    finally:
        made.close()


@pytest.fixture
def rig(shared: Rig) -> Rig:
    shared.fresh()
    return shared


def test_a_command_reaches_the_vehicle_in_its_frame_with_its_signs(rig: Rig) -> None:
    rig.desk.drive_for(0.6, 0.4, 0.5)
    _, setpoint = rig.vehicle.moving()[-1]
    assert setpoint.coordinate_frame == 8
    assert setpoint.type_mask == 0x5E7
    assert (setpoint.target_system, setpoint.target_component) == (1, 1)
    assert setpoint.vx == pytest.approx(0.4, abs=1e-6)
    assert setpoint.vy == setpoint.vz == 0
    assert setpoint.yaw_rate == pytest.approx(-0.5, abs=1e-6)


def test_a_frozen_listener_has_no_lock_that_the_node_could_wait_for(rig: Rig) -> None:
    maps = Path(f"/proc/{rig.process.pid}/maps").read_text()
    assert "/dev/shm/fast" not in maps, "no shared memory of Fast DDS is open"


def test_silence_sends_zeros_within_300_ms_for_a_second_and_then_nothing(rig: Rig) -> None:
    last = rig.desk.drive_for(0.5, 0.4)
    until("a stop", lambda: [at for at, m in rig.vehicle.setpoints if m.vx == 0])
    zeros = [at for at, m in rig.vehicle.setpoints if m.vx == 0]
    assert zeros[0] - last < 0.3
    until("falls silent", lambda: time.monotonic() - rig.vehicle.setpoints[-1][0] > 0.5)
    zeros = [at for at, m in rig.vehicle.setpoints if m.vx == 0]
    assert 0.9 < zeros[-1] - zeros[0] < 1.2
    assert len(zeros) > 10
    assert rig.vehicle.setpoints[-len(zeros) :] == [
        each for each in rig.vehicle.setpoints if each[1].vx == 0
    ]


def test_what_was_applied_is_published_as_it_went_out(rig: Rig) -> None:
    rig.desk.drive_for(0.5, 3.0)
    until(
        "applied", lambda: any(a.twist.linear.x == 1.0 for a in rig.desk.heard["teleop/applied"])
    )
    assert max(m.vx for _, m in rig.vehicle.setpoints) == 1.0
    assert rig.desk.heard["teleop/applied"][-1].header.frame_id == "base_link"


def test_each_setpoint_says_why_it_is_as_it_is_and_how_fast_it_went(rig: Rig) -> None:
    def told() -> dict[str, dict[str, str]]:
        heard = rig.desk.heard["teleop/applied_status"]
        return {each.message: {v.key: v.value for v in each.values} for each in heard}

    rig.desk.heard["teleop/applied_status"].clear()
    rig.desk.drive_for(0.5, 3.0)
    until("a limit", lambda: "limit_x" in told())
    until("a stop", lambda: "timeout" in told())
    held, stopped = told()["limit_x"], told()["timeout"]
    assert (held["kind"], held["source"], stopped["source"]) == ("velocity", "cmd_vel", "cmd_vel")
    assert 0 < float(held["latency_ms"]) < 1000
    assert stopped["latency_ms"] == "", "no command caused it"
    stamps = [m.header.stamp for m in rig.desk.heard["teleop/applied"]]
    assert held["stamp_ns"] in {str(s.sec * 10**9 + s.nanosec) for s in stamps}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_none_moves_nothing_and_is_counted(rig: Rig, value: float) -> None:
    before = int(rig.desk.counts().get("cmd_vel.refused.not_finite", 0))
    for _ in range(3):
        rig.desk.drive(value)
        rig.desk.drive(0.0, value)

    def counted() -> bool:
        return int(rig.desk.counts().get("cmd_vel.refused.not_finite", 0)) >= before + 6

    until("counted by name", counted)
    assert rig.vehicle.setpoints == []


def test_a_bad_envelope_moves_nothing_and_is_counted(rig: Rig) -> None:
    message = TwistStamped()
    message.twist.linear.x = 0.5
    for frame in ("base_link?seq=nine", "base_link?ttl_ms=NaN", "b?" + "a=1&" * 50):
        message.header.frame_id = frame
        rig.desk.stamped.publish(message)
    until("counted", lambda: int(rig.desk.counts().get("nats.refused.bad_envelope", 0)) >= 3)
    assert rig.vehicle.setpoints == []


def test_a_command_that_waited_somewhere_moves_nothing(rig: Rig) -> None:
    message = TwistStamped()
    message.twist.linear.x = 0.5
    stamp_ns = time.time_ns() - 600_000_000
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
    rig.desk.stamped.publish(message)
    until("counted", lambda: int(rig.desk.counts().get("nats.refused.stale", 0)) >= 1)
    assert rig.vehicle.setpoints == []


def test_an_operators_name_and_sequence_are_told(rig: Rig) -> None:
    message = TwistStamped()
    message.twist.linear.x = 0.2
    message.header.frame_id = "base_link?operator=ada&seq=12&ttl_ms=300"
    rig.ask("lease.acquire", operator="ada")
    rig.desk.stamped.publish(message)
    until("moved", rig.vehicle.moving)
    until("told", lambda: rig.desk.state().get("operator") == "ada")
    assert rig.desk.state()["seq"] == "12"
    assert rig.desk.state()["holder"] == "ada"
    assert rig.desk.heard["teleop/lease"][-1].message == "ada"
    rig.ask("lease.release", operator="ada")


def test_an_e_stop_latches_and_repeats_its_zeros_until_the_vehicle_rests(rig: Rig) -> None:
    rig.desk.drive_for(0.3, 0.4)
    rig.vehicle.velocity_north = 0.4
    rig.desk.call("estop", True)
    pressed = time.monotonic()
    rig.desk.drive_for(1.6, 0.4)
    after = [m for at, m in rig.vehicle.setpoints if at > pressed]
    assert len(after) > 20
    assert all(m.vx == 0 and m.yaw_rate == 0 for m in after)
    rig.vehicle.velocity_north = 0.0
    until("falls silent", lambda: time.monotonic() - rig.vehicle.setpoints[-1][0] > 0.3)
    assert "estop" in rig.desk.state()["reasons"]
    rig.desk.call("estop", False)
    count = len(rig.vehicle.moving())
    rig.desk.drive_for(0.3, 0.4)
    assert len(rig.vehicle.moving()) == count, "the key was held over the clearing"
    rig.desk.drive_for(0.1, 0.0)
    rig.desk.drive_for(0.3, 0.4)
    assert len(rig.vehicle.moving()) > count


def test_a_pilots_mode_change_is_not_fought(rig: Rig) -> None:
    rig.desk.drive_for(0.3, 0.4)
    rig.vehicle.mode = HOLD
    until("noticed", lambda: "mode_changed" in rig.desk.state().get("reasons", ""))
    rig.vehicle.setpoints.clear()
    rig.vehicle.commands.clear()
    rig.desk.drive_for(1.2, 0.4)
    assert rig.vehicle.setpoints == []
    assert rig.vehicle.commands == []
    assert rig.vehicle.mode == HOLD
    rig.desk.call("estop", True)
    until("an e-stop reaches it all the same", lambda: rig.vehicle.setpoints)
    assert rig.vehicle.moving() == []
    rig.desk.call("estop", False)
    rig.desk.call("arm", True)
    until("guided again", lambda: rig.vehicle.mode == GUIDED)


def test_an_operator_chooses_the_vehicles_mode_and_the_guided_one_takes_it_back(rig: Rig) -> None:
    rig.desk.drive_for(0.3, 0.4)
    assert "HOLD" in rig.ask("status")["modes"]
    unknown = rig.ask("mode", mode="FLY", operator="ada/1")
    assert (unknown["ok"], "no mode 'FLY'" in unknown["error"]) == (False, True)
    assert rig.ask("lease.acquire", operator="eve/1", role="operator")["ok"]
    assert "eve/1 holds the lease" in rig.ask("mode", mode="HOLD", operator="ada/1")["error"]
    assert rig.vehicle.mode == GUIDED
    assert rig.ask("mode", mode="HOLD", operator="eve/1")["asked"] == "HOLD"
    until("it holds", lambda: rig.vehicle.mode == HOLD)
    until("told", lambda: rig.ask("status")["mode"] == "HOLD")
    assert rig.ask("lease.release", operator="eve/1")["ok"]
    count = len(rig.vehicle.moving())
    rig.desk.drive_for(0.3, 0.4)
    assert len(rig.vehicle.moving()) == count
    rig.desk.call("estop", True)
    assert "e-stop is latched" in rig.ask("mode", mode="GUIDED", operator="ada/1")["error"]
    rig.desk.call("estop", False)
    assert rig.ask("mode", mode="GUIDED", operator="ada/1")["ok"]
    until("ready again", lambda: rig.ask("status")["ready"])
    rig.desk.drive_for(0.1, 0.0)
    rig.desk.drive_for(0.3, 0.4)
    assert len(rig.vehicle.moving()) > count


def test_a_lost_link_stops_driving_and_its_return_resumes(rig: Rig) -> None:
    rig.vehicle.silent = True
    until("noticed", lambda: "link_lost" in rig.desk.state().get("reasons", ""))
    rig.desk.drive_for(0.3, 0.4)
    assert rig.vehicle.moving() == []
    rig.vehicle.silent = False
    until("back", lambda: rig.desk.state().get("link") == "True")
    rig.desk.drive_for(0.3, 0.4)
    assert rig.vehicle.moving()


def test_an_autopilot_that_rebooted_is_armed_anew_in_simulation(rig: Rig) -> None:
    rig.vehicle.reboot()
    until("armed again", lambda: rig.vehicle.armed and rig.vehicle.mode == GUIDED)


def test_noise_and_half_frames_on_the_line_harm_nothing(rig: Rig) -> None:
    for size in range(1, 300):
        rig.vehicle.send_bytes(os.urandom(size))
    rig.desk.drive_for(0.4, 0.3)
    assert rig.vehicle.moving()


def test_odometry_and_imu_arrive_in_ros_frames(rig: Rig) -> None:
    rig.vehicle.velocity_north = 0.5
    until("moving", lambda: abs(rig.desk.heard["odom"][-1].twist.twist.linear.x - 0.5) < 1e-6)
    odom = rig.desk.heard["odom"][-1]
    position = odom.pose.pose.position
    assert (position.x, position.y, position.z) == (2.0, 1.0, 3.0)
    assert (odom.header.frame_id, odom.child_frame_id) == ("odom", "base_link")
    orientation = rig.desk.heard["imu/data"][-1].orientation
    assert orientation.z == pytest.approx(math.sqrt(0.5))
    assert orientation.w == pytest.approx(math.sqrt(0.5))


def test_an_e_stop_outlasts_the_nodes_death(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    try:
        rig.ready()
        rig.desk.call("estop", True)
        rig.restart()
        until("still latched", lambda: rig.desk.state().get("estop") == "True")
        rig.vehicle.setpoints.clear()

        def refused() -> bool:
            rig.desk.drive_for(0.1, 0.4)
            return int(rig.desk.counts().get("cmd_vel.refused.estop", 0)) > 5

        until("refused by name", refused)
        assert rig.vehicle.moving() == []
        rig.desk.call("estop", False)
        until("ready", lambda: rig.desk.state().get("reasons") == "idle")
        rig.desk.drive_for(0.1, 0.0)
        rig.desk.drive_for(0.4, 0.4)
        until("moving", rig.vehicle.moving)
    finally:
        rig.close()


def test_a_node_that_ends_sends_zeros_first(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    try:
        rig.ready()
        rig.desk.drive_for(0.3, 0.4)
        until("moving", rig.vehicle.moving)
        rig.process.send_signal(signal.SIGTERM)
        assert rig.process.wait(5) == 0
        until("stopped", lambda: rig.vehicle.setpoints[-1][1].vx == 0)
        assert "Traceback" not in rig.log.read_text()
    finally:
        rig.close()


def test_anyone_fires_the_e_stop_and_only_the_configured_role_clears_it(rig: Rig) -> None:
    rig.desk.estop_request.publish(Bool(data=True))
    until("fired by a topic", lambda: rig.desk.state().get("estop") == "True")
    rig.desk.estop_request.publish(Bool(data=False))
    assert not rig.ask("estop", active=False, operator="eve/1", role="viewer")["ok"]
    assert rig.ask("status")["estop"] is True, "no topic and no viewer clears"
    assert rig.ask("estop", active=False, operator="ada/1", role="operator")["ok"]
    assert rig.ask("status")["estop"] is False
    assert rig.ask("estop.fire", active=False, operator="eve/1", role="viewer")["estop"] is True
    assert rig.ask("status")["estop_by"] == "eve/1"
    until("told", lambda: rig.server.events("teleop.estop")[-1]["by"] == "eve/1")
    assert rig.server.events("teleop.estop")[-1]["active"] is True


def test_the_lease_is_asked_for_over_nats_and_each_change_is_told(rig: Rig) -> None:
    assert rig.ask("lease.acquire", operator="ada/1", role="operator")["ttl_s"] == 2.0
    held = rig.ask("lease.acquire", operator="eve/1", role="operator")
    assert (held["ok"], held["reason"], held["holder"]["operator"]) == (False, "held", "ada/1")
    low = rig.ask("lease.force", operator="eve/1", role="operator")
    assert (low["ok"], low["reason"]) == (False, "role_too_low")
    assert rig.ask("lease.force", operator="eve/1", role="admin")["ok"]
    assert not rig.ask("lease.renew", operator="ada/1")["ok"]
    until("it runs out", lambda: rig.server.events("teleop.lease")[-1]["event"] == "expired")
    told = [(e["event"], e["holder"], e["by"]) for e in rig.server.events("teleop.lease")]
    assert told[-3:] == [
        ("acquired", "ada/1", "ada/1"),
        ("forced", "eve/1", "eve/1"),
        ("expired", "", "eve/1"),
    ]
    until("on ROS too", lambda: rig.desk.heard["teleop/lease"][-1].message == "nobody")


@pytest.mark.parametrize("body", [{}, {"operator": 7}, {"operator": "x" * 65}, {"operator": ""}])
def test_a_broken_lease_request_is_answered_and_changes_nothing(
    rig: Rig, body: dict[str, Any]
) -> None:
    reply = rig.ask("lease.acquire", **body)
    assert reply["ok"] is False
    assert reply["error"]
    assert rig.ask("status")["holder"] is None


def test_the_e_stop_answers_again_after_the_nats_server_died(rig: Rig) -> None:
    rig.server.kill()
    rig.desk.drive_for(0.3, 0.4)
    assert rig.vehicle.moving(), "commands over ROS need no server"
    rig.server.start()
    assert rig.ask("estop", active=True, operator="ada/1")["estop"] is True
