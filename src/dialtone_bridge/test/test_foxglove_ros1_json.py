"""Panels that speak ROS 1's JSON to a ROS 2 robot."""

from __future__ import annotations

import json
from typing import Any

import pytest
from bridge_rig import until
from foxglove_rig import serving

from dialtone_bridge.clients.foxglove_client import open_client
from dialtone_bridge.foxglove.ros1_json import to_ros2
from dialtone_core.errors import WireError


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"sec": 1, "nsec": 2}, {"sec": 1, "nanosec": 2}),
        ({"a": [{"t": {"nsec": 2, "sec": 1}}]}, {"a": [{"t": {"sec": 1, "nanosec": 2}}]}),
        (
            {"header": {"seq": 3, "stamp": {"sec": 1, "nsec": 2}, "frame_id": "map"}},
            {"header": {"stamp": {"sec": 1, "nanosec": 2}, "frame_id": "map"}},
        ),
        ({"header": {"seq": 3, "mine": 1}}, None),
        ({"sec": 1, "nsec": 2, "mine": 3}, None),
        ({"seq": 1}, None),
        ([1, "nsec"], None),
    ],
)
def test_times_and_headers_become_those_of_ros_2(given: Any, wanted: Any) -> None:
    made = to_ros2(json.dumps(given).encode())
    assert (json.loads(made) if made is not None else None) == wanted


def test_what_is_no_json_or_nested_without_end_is_left_alone() -> None:
    assert to_ros2(b"{") is None
    assert to_ros2(b"[" * 1000 + b"]" * 1000) is None


async def test_only_what_ros_does_not_know_as_it_stands_is_translated() -> None:
    stamp = {"stamp": {"sec": 1, "nsec": 2}}

    async with serving() as line, open_client(line.url) as panel:
        line.inbox.allowed = {"goal_pose", "mine"}
        take = line.inbox.message

        def message(path: str, kind: str, encoding: str, payload: bytes, client: object) -> None:
            if path == "goal_pose" and b"nsec" in payload:
                raise WireError("unknown_field", "stamp.nsec")
            take(path, kind, encoding, payload, client)

        line.inbox.message = message  # type: ignore[method-assign,assignment]
        for path in ("goal_pose", "mine"):
            await panel.publish(await panel.advertise(f"/{path}", "a_msgs/B"), stamp)
        await until(lambda: len(line.inbox.taken) == 2)
        told = {path: json.loads(body) for path, body in line.inbox.taken}
        assert told == {"goal_pose": {"stamp": {"sec": 1, "nanosec": 2}}, "mine": stamp}
        assert line.transport.health().values["commands_refused"] == 0
