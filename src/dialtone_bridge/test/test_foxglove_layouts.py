"""The layouts that we ship: what Foxglove and Lichtblick read of them, and what the robot has.

Panel types and their settings: Lichtblick's ``packages/suite-base/src/panels``.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dialtone_bringup
from dialtone_bridge.params import BridgeParams
from dialtone_bridge.routes import RouteTable

_FOLDER = Path(os.path.dirname(dialtone_bringup.__file__)).parent / "config" / "foxglove"
LAYOUTS = sorted(_FOLDER.glob("*.json"))
NUMBER = (int, float)
#: Panel type → the settings without which it shows nothing, and their types.
PANELS: dict[str, dict[str, Any]] = {
    "3D": {"layers": dict, "topics": dict, "scene": dict, "followTf": str, "followMode": str},
    "CallService": {"serviceName": str, "requestPayload": str, "buttonText": str, "layout": str},
    "DiagnosticStatusPanel": {
        "topicToRender": str, "selectedName": str, "selectedHardwareId": str,
    },
    "DiagnosticSummary": {
        "topicToRender": str, "minLevel": int, "pinnedIds": list, "hardwareIdFilter": str,
        "sortByLevel": bool,
    },
    "Gauge": {
        "path": str, "minValue": NUMBER, "maxValue": NUMBER, "colorMap": str, "colorMode": str,
        "gradient": list, "reverse": bool,
    },
    "Image": {"imageMode": dict},
    "Parameters": {"title": str},
    "Plot": {
        "paths": list, "xAxisVal": str, "showLegend": bool, "isSynced": bool,
        "followingViewWidth": NUMBER,
    },
    "RawMessages": {
        "topicPath": str, "diffMethod": str, "diffTopicPath": str, "diffEnabled": bool,
        "showFullMessageForDiff": bool,
    },
    "Table": {"topicPath": str},
    "RosOut": {"topicToRender": str, "searchTerms": list, "minLogLevel": int},
    "Teleop": {
        "topic": str, "publishRate": NUMBER, "upButton": dict, "downButton": dict,
        "leftButton": dict, "rightButton": dict,
    },
    "TopicGraph": {},
}  # fmt: skip
#: Settings that a panel may do without; each app reads the title under its own name.
MORE = {"foxglovePanelTitle", "lichtblickPanelTitle", "buttonColor"}
#: What a robot of ours publishes or takes; the names before the first field of a message path.
TOPICS = {
    "/battery_state", "/camera/front/camera_info", "/camera/front/image_raw/compressed",
    "/clicked_point", "/cmd_vel", "/diagnostics", "/goal_pose", "/initialpose", "/odom",
    "/robot_description", "/rosout", "/teleop/applied", "/teleop/state",
}  # fmt: skip
SERVICES = {"/teleop/estop", "/teleop/arm", "/recorder/start", "/recorder/stop"}

each_layout = pytest.mark.parametrize("path", LAYOUTS, ids=[each.stem for each in LAYOUTS])


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def leaves(node: Any) -> Iterator[str]:
    """The panels of a layout's tree; every inner node is a split of two."""
    if isinstance(node, str):
        yield node
        return
    assert node.keys() == {"first", "second", "direction", "splitPercentage"}
    assert node["direction"] in ("row", "column")
    assert 5 <= node["splitPercentage"] <= 95
    yield from leaves(node["first"])
    yield from leaves(node["second"])


def mentioned(settings: Any) -> Iterator[str]:
    """Every string in the settings that is a topic, a message path or a service."""
    if isinstance(settings, dict):
        for key, value in settings.items():
            yield from mentioned(value)
            if key.startswith("/"):
                yield key
    elif isinstance(settings, list):
        for value in settings:
            yield from mentioned(value)
    elif isinstance(settings, str) and settings.startswith("/"):
        yield settings.split(".")[0]


def test_the_layouts_are_those_of_the_manual() -> None:
    assert [each.stem for each in LAYOUTS] == ["diagnose", "drive", "record"]


@each_layout
def test_a_layout_places_each_of_its_panels_once(path: Path) -> None:
    layout = read(path)
    assert layout.keys() == {
        "configById", "globalVariables", "userNodes", "playbackConfig", "layout"
    }  # fmt: skip
    assert layout["playbackConfig"] == {"speed": 1}
    placed = list(leaves(layout["layout"]))
    assert len(placed) == len(set(placed))
    assert set(placed) == layout["configById"].keys()


@each_layout
def test_each_panel_is_of_a_known_type_and_has_its_settings(path: Path) -> None:
    for panel, settings in read(path)["configById"].items():
        kind, _, name = panel.partition("!")
        assert re.fullmatch(r"\w+", name), panel
        for key, wanted in PANELS[kind].items():
            assert isinstance(settings[key], wanted), f"{panel}.{key}"
        titles = {settings.get(each) for each in MORE if each.endswith("Title")}
        assert len(titles) == 1, f"{panel} has another name in another app"
        if kind not in ("3D", "Image", "Plot"):
            unknown = settings.keys() - PANELS[kind].keys() - MORE
            assert not unknown, f"{panel} has settings that its type has not"


@each_layout
def test_each_panel_looks_at_what_the_robot_has(path: Path) -> None:
    for panel, settings in read(path)["configById"].items():
        assert set(mentioned(settings)) <= TOPICS | SERVICES, panel


def _panels(kind: str) -> list[dict[str, Any]]:
    return [
        settings
        for path in LAYOUTS
        for panel, settings in read(path)["configById"].items()
        if panel.startswith(f"{kind}!")
    ]


def test_teleop_panels_may_publish_and_fast_enough_not_to_jerk() -> None:
    table = RouteTable({}, commands=BridgeParams().command_topics)
    for settings in _panels("Teleop"):
        assert table.accepts(settings["topic"])
        assert settings["publishRate"] >= 10
        for button in ("upButton", "downButton", "leftButton", "rightButton"):
            assert settings[button].keys() == {"field", "value"}
            assert re.fullmatch(r"(linear|angular)-[xyz]", settings[button]["field"])
        assert settings["upButton"]["value"] == -settings["downButton"]["value"] > 0
        assert settings["leftButton"]["value"] == -settings["rightButton"]["value"] > 0


def test_3d_panels_publish_on_topics_that_are_open_to_them() -> None:
    table = RouteTable({}, commands=BridgeParams().command_topics)
    panels = _panels("3D")
    assert panels
    for settings in panels:
        for key in ("poseTopic", "pointTopic", "poseEstimateTopic"):
            assert table.accepts(settings["publish"][key])


def test_service_panels_ask_for_services_that_clients_may_call() -> None:
    allowed = [re.compile(each) for each in BridgeParams().allow_services]
    for settings in _panels("CallService"):
        name = settings["serviceName"]
        assert any(each.fullmatch(name[1:]) for each in allowed), name
        assert isinstance(json.loads(settings["requestPayload"]), dict)


def test_plots_and_pictures_name_their_data() -> None:
    for settings in _panels("Plot"):
        assert settings["paths"]
        for line in settings["paths"]:
            assert line.keys() >= {"value", "enabled", "timestampMethod"}
            assert line["timestampMethod"] in ("receiveTime", "headerStamp")
            assert "." in line["value"]
    for settings in _panels("Image"):
        assert settings["imageMode"].keys() >= {"imageTopic", "calibrationTopic"}
