"""The process graph: who is in it, how they meet, and every bad input as one line with a fix."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from dialtone_bringup import graph as module
from dialtone_bringup.graph import resolve
from dialtone_bringup.preflight import web_port
from dialtone_bringup.spec import Graph, NodeSpec, Options
from dialtone_core.errors import DialtoneError

SOURCE = Path(__file__).resolve().parents[1]
#: Ports of this machine's own choice, so that tests and a running robot don't meet.
FREE = Options(nats_port=0, foxglove_port=0, web_port=0)


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIALTONE_HOME", str(tmp_path / "home"))


def node(graph: Graph, name: str) -> NodeSpec:
    (found,) = (each for each in graph.nodes if each.name == name)
    return found


def refused(options: Options) -> str:
    with pytest.raises(DialtoneError) as caught:
        resolve(options)
    assert caught.value.exit_code == 2
    line = str(caught.value)
    assert "\n" not in line
    assert "Fix: " in line
    return line


def params(tmp_path: Path, text: str) -> Options:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return replace(FREE, params_file=str(path))


def test_the_simulated_rover_is_all_its_processes() -> None:
    names = [each.name for each in resolve(FREE).nodes]
    wanted = ["nats", "vehicle", "camera_front", "host_metrics", "teleop", "bridge", "recorder"]
    assert sorted(names) == sorted([*wanted, "gateway"])


def test_the_dashboard_takes_another_port_where_its_own_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert web_port(None, port) != port
        assert "--web-port" in refused(replace(FREE, web_port=port))
    assert web_port(None, port) == port


def test_the_vehicle_and_those_who_listen_to_it_share_ports() -> None:
    graph = resolve(FREE)
    vehicle = node(graph, "vehicle").parameters
    teleop = node(graph, "teleop").parameters
    assert vehicle["mavlink_url"].removeprefix("udpout:") == teleop["mavlink.url"].removeprefix(
        "udpin:"
    )
    assert vehicle["pose_urls"] == [node(graph, "camera_front").parameters["pose_url"]]


def test_two_robots_get_ports_of_their_own() -> None:
    one, two = resolve(FREE), resolve(FREE)
    assert one.nats_url != two.nats_url
    assert one.foxglove_url != two.foxglove_url


def test_a_given_nats_server_is_used_and_none_is_started() -> None:
    graph = resolve(replace(FREE, nats_url="nats://hub:4222"))
    assert "nats" not in [each.name for each in graph.nodes]
    assert node(graph, "bridge").parameters["nats_url"] == "nats://hub:4222"
    assert node(graph, "recorder").parameters["nats_url"] == "nats://hub:4222"


def test_the_rover_profile_has_no_simulator() -> None:
    graph = resolve(replace(FREE, profile="rover"))
    assert "vehicle" not in [each.name for each in graph.nodes]
    assert node(graph, "camera_front").parameters["driver"] == "v4l2"


def test_a_device_file_names_a_camera() -> None:
    camera = node(resolve(replace(FREE, camera="/dev/video3")), "camera_front")
    assert dict(camera.parameters) == {
        "name": "front",
        "driver": "v4l2",
        "device": "/dev/video3",
    }


def test_a_section_of_a_second_camera_brings_it_up(tmp_path: Path) -> None:
    graph = resolve(params(tmp_path, "/**/camera_rear: {ros__parameters: {mount_yaw_deg: 180.0}}"))
    front, rear = node(graph, "camera_front").parameters, node(graph, "camera_rear").parameters
    assert (rear["name"], rear["driver"]) == ("rear", "sim")
    assert node(graph, "vehicle").parameters["pose_urls"] == [front["pose_url"], rear["pose_url"]]
    assert front["pose_url"] != rear["pose_url"]


def test_a_second_camera_may_be_another_device(tmp_path: Path) -> None:
    options = params(tmp_path, "/**/camera_wrist: {ros__parameters: {driver: v4l2}}")
    graph = resolve(options)
    assert node(graph, "camera_wrist").parameters["driver"] == "v4l2"
    assert len(node(graph, "vehicle").parameters["pose_urls"]) == 1
    none = resolve(replace(options, camera="none"))
    assert [each.name for each in none.nodes if "camera" in each.name] == ["camera_wrist"]
    assert list(node(none, "vehicle").parameters["pose_urls"]) == [""]


def test_a_second_camera_can_be_left_out(tmp_path: Path) -> None:
    options = params(tmp_path, "/**/camera_rear: {ros__parameters: {driver: none}}")
    assert "camera_rear" not in [each.name for each in resolve(options).nodes]


def test_no_camera_is_a_choice() -> None:
    assert "camera_front" not in [e.name for e in resolve(replace(FREE, camera="none")).nodes]


def test_record_begins_an_episode_at_the_start() -> None:
    assert node(resolve(replace(FREE, record=True)), "recorder").parameters["autostart"] is True


def test_sections_match_under_a_namespace(tmp_path: Path) -> None:
    options = params(tmp_path, "/**/bridge: {ros__parameters: {foxglove_client_bytes: 0}}")
    assert "foxglove_client_bytes is 0" in refused(replace(options, namespace="robot2"))


def test_an_unknown_profile_lists_the_known_ones() -> None:
    assert "rover, sim" in refused(replace(FREE, profile="boat"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("/**/camera_front: {ros__parameters: {rate_hz: fast}}", "rate_hz is 'fast' (str)"),
        ("/**/camera_front: {ros__parameters: {rate_hz: 1000.0}}", "give 0.5 to 240 Hz"),
        ("/**/camera_front: {ros__parameters: {rate: 30.0}}", "did you mean rate_hz?"),
        ("/**/camera: {ros__parameters: {rate_hz: 30.0}}", "section /**/camera fits no node"),
        ("/**/vehicle: {ros__parameters: {battery_empty_v: 90.0}}", "battery_empty_v is 90 V"),
        ("/**/bridge: [1, 2", "not YAML"),
        ("- a list", "a mapping of nodes"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_the_file(
    tmp_path: Path, text: str, told: str
) -> None:
    line = refused(params(tmp_path, text))
    assert told in line
    assert "mine.yaml" in line


def test_a_missing_params_file_is_named() -> None:
    assert "/nowhere/x.yaml" in refused(replace(FREE, params_file="/nowhere/x.yaml"))


@pytest.mark.parametrize("option", ["foxglove_port", "nats_port", "web_port"])
def test_a_port_in_use_is_named_with_a_way_out(option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        line = refused(replace(FREE, **{option: port}))  # type: ignore[arg-type]
    assert str(port) in line
    assert f"--{option.replace('_', '-')} 0" in line


def test_an_episodes_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    text = f"/**/recorder: {{ros__parameters: {{directory: {tmp_path}/taken}}}}"
    assert f"{tmp_path}/taken: the episodes folder" in refused(params(tmp_path, text))


def test_a_missing_nats_server_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.preflight.sys, "executable", str(tmp_path / "python"))  # type: ignore[attr-defined]
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "no nats-server" in refused(FREE)


@pytest.mark.parametrize(
    "options",
    [
        replace(FREE, robot="Rover 1"),
        replace(FREE, namespace="9 lives"),
        replace(FREE, camera="polaroid"),
        replace(FREE, foxglove_port=70000),
        replace(FREE, camera="v4l2_camera"),
    ],
)
def test_what_cannot_be_is_refused(options: Options) -> None:
    refused(options)
