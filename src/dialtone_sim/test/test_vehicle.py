"""The vehicle process, spoken to as a robot speaks to its autopilot: MAVLink 2 over UDP."""

from __future__ import annotations

import json
import math
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pymavlink.dialects.v20 import common as mavlink

from dialtone_core.ports import free_ports
from dialtone_sim.pose import decode_pose

Start = Callable[..., "subprocess.Popen[str]"]


def _udp() -> tuple[socket.socket, str]:
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind(("127.0.0.1", 0))
    receiver.settimeout(5)
    return receiver, f"udp:127.0.0.1:{receiver.getsockname()[1]}"


def test_it_arms_drives_tells_its_cameras_and_stops_by_itself_after_silence(
    station: Any, start_vehicle: Start
) -> None:
    camera, pose_url = _udp()
    with camera:
        start_vehicle(
            "--mavlink-url",
            f"udpout:127.0.0.1:{station.port}",
            "--pose-urls",
            pose_url,
            "--setpoint-timeout-s",
            "0.4",
        )
        station.take_over()
        first = decode_pose(camera.recv(256))
        begun = station.wait_for("LOCAL_POSITION_NED")
        station.drive(1.0)
        rolling = station.wait_for("LOCAL_POSITION_NED", lambda m: m.vy > 0.3)
        stopped = station.wait_for("LOCAL_POSITION_NED", lambda m: abs(m.vy) < 1e-3)
        assert begun.y < rolling.y < stopped.y
        while (pose := decode_pose(camera.recv(256))).x < stopped.y - 1e-3:
            pass
        assert pose.x > first.x
        assert pose.yaw == pytest.approx(0.0, abs=1e-6)


def test_all_the_telemetry_of_a_rover_comes_at_its_rate(
    station: Any, start_vehicle: Start
) -> None:
    start_vehicle("--mavlink-url", f"udpout:127.0.0.1:{station.port}")
    beat = station.wait_for("HEARTBEAT")
    assert (beat.type, beat.autopilot) == (10, 3)
    for name in ("SYS_STATUS", "GPS_RAW_INT", "GLOBAL_POSITION_INT", "ATTITUDE"):
        station.wait_for(name)
    first = station.wait_for("LOCAL_POSITION_NED")
    for _ in range(49):
        last = station.wait_for("LOCAL_POSITION_NED")
    assert last.time_boot_ms - first.time_boot_ms == pytest.approx(980, abs=60)


def test_a_vehicle_that_listens_answers_whoever_calls(station: Any, start_vehicle: Start) -> None:
    (port,) = free_ports(1, kind=socket.SOCK_DGRAM)
    process = start_vehicle("--mavlink-url", f"udpin:127.0.0.1:{port}")
    assert process.stderr is not None
    process.stderr.readline()  # it listens
    station.peer = ("127.0.0.1", port)
    station.send(mavlink.MAVLink_heartbeat_message(6, 8, 0, 0, 0, 3))
    station.take_over()


def test_junk_moves_nothing_and_the_next_command_is_still_heard(
    station: Any, start_vehicle: Start
) -> None:
    start_vehicle("--mavlink-url", f"udpout:127.0.0.1:{station.port}")
    station.take_over()
    source = random.Random(5)
    for size in (0, 1, 3, 12, 280, 2000):
        station.send_raw(source.randbytes(size))
        station.send_raw(b"\xfd\xff" + source.randbytes(size))
    whole = mavlink.MAVLink_heartbeat_message(6, 8, 0, 0, 0, 3).pack(station.codec)
    station.send_raw(whole[:-3])
    station.drive(math.nan)
    station.drive(1.0, math.inf)
    assert station.command(mavlink.MAV_CMD_DO_SET_MODE, 1, 15) == 0
    position = station.wait_for("LOCAL_POSITION_NED")
    assert (position.x, position.y) == (0, 0)


def test_a_robot_that_was_away_is_heard_again(station: Any, start_vehicle: Start) -> None:
    process = start_vehicle("--mavlink-url", f"udpout:127.0.0.1:{station.port}")
    station.take_over()
    port = station.port
    station.socket.close()
    # The vehicle meets a closed port; its socket reports ECONNREFUSED and lives on.
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)
    station.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    station.socket.bind(("127.0.0.1", port))
    station.take_over()


def test_the_setpoint_log_tells_when_each_setpoint_reached_the_socket(
    station: Any, start_vehicle: Start
) -> None:
    log, url = _udp()
    with log:
        start_vehicle("--mavlink-url", f"udpout:127.0.0.1:{station.port}", "--setpoint-log", url)
        station.wait_for("HEARTBEAT")
        station.drive(0.5)
        assert json.loads(log.recv(1024))["reason"] == "not_guided"
        station.take_over()
        sent_ns = time.monotonic_ns()
        station.drive(0.5, 0.25)
        event = json.loads(log.recv(1024))
        assert event["accepted"] is True
        assert (event["vx"], event["yaw_rate"]) == (0.5, 0.25)
        assert sent_ns - 1_000_000 < event["received_ns"] < time.monotonic_ns()
        station.drive(math.nan)
        event = json.loads(log.recv(1024))
        assert (event["reason"], event["vx"]) == ("not_finite", None)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_at_once_with_code_0(
    signum: int, station: Any, start_vehicle: Start
) -> None:
    process = start_vehicle("--mavlink-url", f"udpout:127.0.0.1:{station.port}")
    station.wait_for("HEARTBEAT")
    process.send_signal(signum)
    assert process.wait(1) == 0
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--max-speed-mps", "99"], "max_speed_mps is 99.0. Fix: give 0.05 to 30 m/s"),
        (["--max-speed-mps", "fast"], "max_speed_mps is 'fast' (str). Fix: give a number"),
        (["--mavlink-url", "tcp:1.2.3.4:5"], "mavlink_url is 'tcp:1.2.3.4:5'"),
        (["--mavlink-url", "udp:127.0.0.1:5"], "not udpout:HOST:PORT or udpin:HOST:PORT"),
        (["--pose-urls", "udp:127.0.0.1:70000"], "a port is 1 to 65535"),
        (["--no-such-thing"], "unrecognized arguments: --no-such-thing"),
        (["--params-file", "/no/such.yaml"], "cannot read the params file"),
        (["--battery-empty-v", "20"], "battery_empty_v is 20 V"),
        (["--ros-args", "-p", "sysid:=0"], "sysid is 0. Fix: give 1 to 255"),
    ],
)
def test_a_wrong_setting_is_one_line_and_code_2(
    arguments: list[str], said: str, start_vehicle: Start
) -> None:
    process = start_vehicle(*arguments)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 2
    assert said in errors
    assert len(errors.splitlines()) == 1


def test_a_port_in_use_is_one_line_and_code_2(station: Any, start_vehicle: Start) -> None:
    process = start_vehicle("--mavlink-url", f"udpin:127.0.0.1:{station.port}")
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 2
    assert "cannot listen there" in errors
    assert len(errors.splitlines()) == 1


def test_params_come_from_ros_arguments_as_launch_passes_them(
    station: Any, start_vehicle: Start, tmp_path: Path
) -> None:
    file = tmp_path / "robot.yaml"
    file.write_text(
        "/robot2/vehicle:\n  ros__parameters:\n    sysid: 7\n"
        f"    mavlink_url: udpout:127.0.0.1:{station.port}\n    use_sim_time: false\n"
        "/other/vehicle:\n  ros__parameters:\n    sysid: 9\n"
    )
    start_vehicle(
        "--ros-args", "-r", "__node:=vehicle", "-r", "__ns:=/robot2", "--params-file", str(file)
    )
    assert station.wait_for("HEARTBEAT").get_srcSystem() == 7
