"""The doctor asks an autopilot over real MAVLink what it does when this computer falls silent."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pymavlink.dialects.v20 import common as mavlink

from dialtone_bringup.autopilot import autopilot, mavlink_settings
from dialtone_bringup.finding import Verdict
from dialtone_core.errors import DialtoneError
from dialtone_core.ports import free_ports
from dialtone_teleop.params import MavlinkParams

PX4, ARDUPILOT = mavlink.MAV_AUTOPILOT_PX4, mavlink.MAV_AUTOPILOT_ARDUPILOTMEGA
Told = dict[str, tuple[float, int]]


def port() -> int:
    return free_ports(1, kind=socket.SOCK_DGRAM)[0]


@contextmanager
def rover(at: int, *options: str) -> Iterator[None]:
    """The simulated rover in a process of its own."""
    command = [sys.executable, "-m", "dialtone_sim.vehicle", "--pose-urls", ""]
    command += ["--mavlink-url", f"udpout:127.0.0.1:{at}", *options]
    with subprocess.Popen(command) as process:
        try:
            yield
        finally:
            process.kill()


@contextmanager
def copter(at: int, kind: int, parameters: Told) -> Iterator[None]:
    """An autopilot that says who it is and answers for ``parameters`` (value, type)."""
    codec = mavlink.MAVLink(None, 1, 1)
    codec.robust_parsing = True
    done = threading.Event()

    def answer(line: socket.socket) -> None:
        while not done.is_set():
            heartbeat = mavlink.MAVLink_heartbeat_message(2, kind, 0, 0, 3, 3)
            try:
                line.send(heartbeat.pack(codec))
                messages = codec.parse_buffer(line.recv(4096)) or ()
            except (TimeoutError, ConnectionRefusedError):
                done.wait(0.02)
                continue
            for message in messages:
                if message.get_type() == "PARAM_REQUEST_READ" and message.param_id in parameters:
                    value = (message.param_id.encode(), *parameters[message.param_id], 2, 0)
                    line.send(mavlink.MAVLink_param_value_message(*value).pack(codec))

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.connect(("127.0.0.1", at))
        line.settimeout(0.05)
        thread = threading.Thread(target=answer, args=(line,))
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def look(at: int, **more: Any) -> dict[str, tuple[str, str]]:
    """(verdict, fix) of each finding, by its text."""
    params = MavlinkParams(url=f"udpin:127.0.0.1:{at}", **more)
    return {each.what: (each.verdict.value, each.fix) for each in autopilot(params)}


def test_a_rover_that_drives_on_is_found_out_with_the_fix_for_each_parameter() -> None:
    at = port()
    with rover(at):
        found = look(at)
    assert found[f"ArduRover, system 1, at udpin:127.0.0.1:{at}"][0] == "ok"
    assert found["FS_GCS_ENABLE is 0: the vehicle drives on for 3 s when this computer dies"] == (
        "warn",
        "set FS_GCS_ENABLE to 1",
    )
    assert found["FS_TIMEOUT is 1.5"] == ("ok", "")
    assert found["FS_ACTION is 2"] == ("ok", "")
    (wrong,) = [what for what in found if what.startswith("SYSID_MYGCS is 255")]
    assert found[wrong] == ("warn", "set SYSID_MYGCS to 1, which is mavlink.system_id")


def test_px4_sends_integers_as_bytes_and_is_judged_by_its_own_rules() -> None:
    (manual,) = struct.unpack("<f", struct.pack("<i", 2))
    told = {
        "COM_OF_LOSS_T": (5.0, mavlink.MAV_PARAM_TYPE_REAL32),
        "COM_OBL_RC_ACT": (manual, mavlink.MAV_PARAM_TYPE_INT32),
    }
    at = port()
    with copter(at, PX4, told):
        found = look(at)
    fixes = {fix for verdict, fix in found.values() if verdict == "warn"}
    assert fixes == {
        "set COM_OF_LOSS_T to 1 or less",
        "set COM_OBL_RC_ACT to 5 (hold) or 4 (land)",
    }


def test_a_copter_under_newer_names_is_well_when_all_is_set() -> None:
    real = mavlink.MAV_PARAM_TYPE_REAL32
    told = {"FS_GCS_ENABLE": (5.0, real), "FS_GCS_TIMEOUT": (2.0, real)}
    told |= {"GUID_TIMEOUT": (0.5, real), "MAV_GCS_SYSID": (7.0, real)}
    at = port()
    with copter(at, ARDUPILOT, told):
        found = look(at, system_id=7)
    assert {verdict for verdict, _ in found.values()} == {"ok"}
    assert "MAV_GCS_SYSID is 7" in found


def test_a_line_without_an_autopilot_or_that_is_taken_is_said_with_the_fix(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("127.0.0.1", 0))
        taken = MavlinkParams(url=f"udpin:127.0.0.1:{holder.getsockname()[1]}")
        (finding,) = autopilot(taken)
    assert finding.verdict is Verdict.FAIL
    assert "end the robot that holds it" in finding.fix
    monkeypatch.setattr("dialtone_teleop.mavlink_ask.PATIENCE_S", 0.2)
    (finding,) = autopilot(MavlinkParams(url=f"udpin:127.0.0.1:{port()}"))
    assert "no autopilot is heard" in finding.what


def test_the_line_comes_from_the_command_or_from_the_params_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "/**/teleop:\n  ros__parameters:\n    mavlink: {url: 'tcp:10.0.0.2:5760', system_id: 7}\n"
    )
    assert mavlink_settings("", "") is None
    from_file = mavlink_settings("", str(file))
    assert from_file is not None
    assert (from_file.url, from_file.system_id) == ("tcp:10.0.0.2:5760", 7)
    given = mavlink_settings("serial:/dev/ttyACM0:115200", str(file))
    assert given is not None
    assert (given.url, given.system_id) == ("serial:/dev/ttyACM0:115200", 7)
    with pytest.raises(DialtoneError, match=r"mavlink\.url"):
        mavlink_settings("nonsense", "")
