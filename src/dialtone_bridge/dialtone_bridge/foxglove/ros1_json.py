"""JSON in the words of ROS 1, which Foxglove's panels use whatever robot they talk to."""

from __future__ import annotations

from typing import Any

import orjson

_TIME = {"sec", "nsec"}
_HEADER = {"seq", "stamp", "frame_id"}


def to_ros2(payload: bytes) -> bytes | None:
    """The same with ``nanosec`` for ``nsec`` in times and durations and no ``seq`` in headers, or
    ``None`` where it has neither (or is no JSON)."""
    try:
        body = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return None
    changed = False
    waiting: list[Any] = [body]
    while waiting:  # a client may nest deeper than Python calls
        node = waiting.pop()
        if isinstance(node, dict):
            if node.keys() == _TIME:
                node["nanosec"] = node.pop("nsec")
                changed = True
            header = node.get("header")
            if isinstance(header, dict) and "seq" in header and header.keys() <= _HEADER:
                del header["seq"]
                changed = True
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node
    return orjson.dumps(body) if changed else None
