"""Clocks, names, runtime files, ports, errors."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialtone_core.clock import FakeClock, SystemClock
from dialtone_core.errors import DialtoneError
from dialtone_core.naming import check_robot_name, normalize_type, path_to_topic, topic_to_path
from dialtone_core.paths import RobotFile, make_state_dir, state_dir
from dialtone_core.ports import free_ports, is_free


def test_a_wall_clock_steps_and_a_monotonic_one_does_not() -> None:
    clock = FakeClock()
    before = clock.monotonic_ns(), clock.wall_ns()
    clock.advance(1.5)
    clock.step_wall(-3600)
    assert clock.monotonic_ns() - before[0] == 1_500_000_000
    assert clock.wall_ns() - before[1] == 1_500_000_000 - 3600 * 1_000_000_000
    with pytest.raises(ValueError, match="backwards"):
        clock.advance(-1)
    system = SystemClock()
    assert system.monotonic_ns() <= system.monotonic_ns()
    assert abs(system.wall_ns() - time.time_ns()) < 1_000_000_000


_NAMES = st.lists(st.sampled_from(["odom", "robot2", "_root", "tf"]), min_size=1, max_size=4)


@given(_NAMES, st.sampled_from(["/", "/robot2", "/robot2/arm", "/odom"]))
def test_a_path_of_a_subject_is_one_topic_and_no_other(tokens: list[str], namespace: str) -> None:
    topic = "/" + "/".join(tokens)
    again = path_to_topic(topic_to_path(topic, namespace), namespace)
    prefix = namespace.rstrip("/")
    assert topic == (again if again.startswith("/") else f"{prefix}/{again}")


def test_names_convert_both_ways() -> None:
    assert topic_to_path("/cmd_vel/nats") == "cmd_vel.nats"
    assert path_to_topic("cmd_vel.nats") == "cmd_vel/nats"
    assert topic_to_path("/robot2/odom", "/robot2") == topic_to_path("odom", "/robot2") == "odom"
    assert path_to_topic("_root.tf") == "_root/tf"
    assert normalize_type("geometry_msgs/Twist") == "geometry_msgs/msg/Twist"
    assert normalize_type("std_srvs/srv/Trigger") == "std_srvs/srv/Trigger"
    for wrong in ("", "Twist", "a/b/c/d", "geometry_msgs/../Twist", "geometry_msgs/twist"):
        with pytest.raises(ValueError, match="is not a ROS type name"):
            normalize_type(wrong)


@pytest.mark.parametrize("name", ["", "Rover", "a.b", "a b", "9", "a" * 64, "r>", "r*"])
def test_a_robot_name_that_breaks_a_subject_is_refused(name: str) -> None:
    with pytest.raises(DialtoneError, match="robot name"):
        check_robot_name(name)
    assert check_robot_name("rover_2") == "rover_2"


def test_a_runtime_file_is_found_until_its_owner_withdraws_it() -> None:
    mine = RobotFile("t_robot", 10, "nats://127.0.0.1:1")
    mine.write()
    assert RobotFile.read("t_robot") == mine
    theirs = RobotFile("t_robot", 11, "nats://127.0.0.1:2")
    theirs.write()
    mine.remove()
    assert RobotFile.read("t_robot") == theirs
    theirs.remove()
    theirs.remove()
    assert RobotFile.read("t_robot") is None
    RobotFile.path("t_robot").write_text("{half")
    assert RobotFile.read("t_robot") is None


def test_a_runtime_file_outlives_a_process_that_was_killed() -> None:
    assert RobotFile("t_robot", os.getpid(), "").is_running()
    assert RobotFile("t_robot", 1, "").is_running()
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait(10)
    assert not RobotFile("t_robot", ended.pid, "").is_running()


def test_a_runtime_file_tells_where_each_transport_is() -> None:
    urls = {"nats": "nats://127.0.0.1:1", "line": "tcp://127.0.0.1:2", "memory": ""}
    made = RobotFile.at(urls, robot="t_robot", pid=10, namespace="/r")
    made.write()
    assert RobotFile.read("t_robot") == made
    assert made.nats_url == "nats://127.0.0.1:1"
    assert made.foxglove_url == ""
    assert made.urls == {"nats": "nats://127.0.0.1:1", "line": "tcp://127.0.0.1:2"}
    made.remove()


def test_an_unwritable_state_folder_names_the_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: os.PathLike[str]
) -> None:
    blocker = os.path.join(tmp_path, "file")
    open(blocker, "w").close()
    monkeypatch.setenv("DIALTONE_HOME", blocker)
    assert str(state_dir()) == blocker
    with pytest.raises(DialtoneError, match="set DIALTONE_HOME"):
        make_state_dir("logs")


def test_free_ports_differ_and_a_bound_one_is_not_free() -> None:
    ports = free_ports(5)
    assert len(set(ports)) == 5
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        assert not is_free(server.getsockname()[1])
    assert is_free(ports[0])


def test_an_error_is_one_line_whatever_is_in_it() -> None:
    error = DialtoneError("two\nlines", where="here", fix="do\nthat")
    assert str(error) == "here: two lines. Fix: do that"


def test_a_child_dies_with_a_parent_that_is_killed() -> None:
    script = (
        "import subprocess, sys, time\n"
        "from dialtone_core.process import die_with_parent\n"
        "c = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'],\n"
        "                     preexec_fn=die_with_parent())\n"
        "print(c.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 5
    while _runs(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _runs(child)


def _runs(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
