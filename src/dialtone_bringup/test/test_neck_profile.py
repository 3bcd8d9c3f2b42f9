"""The profile of a head without a vehicle."""

from __future__ import annotations

from pathlib import Path

import pytest

from dialtone_bridge.params import BridgeParams
from dialtone_bridge.routes import RouteTable
from dialtone_bringup.graph import resolve
from dialtone_bringup.spec import Options
from dialtone_core.config import build, load_params_file, node_values
from dialtone_teleop.params import TeleopParams


def test_the_neck_has_no_vehicle_and_moves_by_its_own_actuator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIALTONE_HOME", str(tmp_path))
    graph = resolve(Options(profile="neck", nats_port=0, foxglove_port=0, web_port=0))
    names = {node.name for node in graph.nodes}
    assert "vehicle" not in names
    assert {"camera_front", "teleop", "bridge", "recorder"} <= names
    values = node_values(load_params_file(graph.params_files[0]), "/teleop", "neck")
    params = build(TeleopParams, values)
    assert params.actuator == "neck"
    assert "neck" in params.lease.implicit


def test_clients_may_send_the_neck_its_lines_and_nothing_else_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIALTONE_HOME", str(tmp_path))
    graph = resolve(Options(profile="neck", nats_port=0, foxglove_port=0, web_port=0))
    values = node_values(load_params_file(graph.params_files[0]), "/bridge", "neck")
    params = build(BridgeParams, values)
    table = RouteTable(params.routes, commands=params.command_topics)
    for topic in ("/neck/command", "/neck/attitude", "/neck/joint_targets", "/cmd_vel"):
        assert table.accepts(topic), topic
    for topic in ("/neck/ack", "/joint_states", "/neck/command/more"):
        assert not table.accepts(topic), topic
