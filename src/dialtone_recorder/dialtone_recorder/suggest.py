"""A mapping made from what an episode holds: a place to start from, and often enough."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

from dialtone_core.errors import DialtoneError
from dialtone_recorder.align import rate_hz
from dialtone_recorder.gather import gather
from dialtone_recorder.mapping import Action, Image, Mapping, Source, check
from dialtone_recorder.pictures import PICTURE_TYPES
from dialtone_recorder.recording import Recording

#: By type: the fields that a policy's state is made of, and their units.
_STATE: dict[str, tuple[tuple[str, str], ...]] = {
    "sensor_msgs/msg/JointState": (("position", "rad"),),
    "nav_msgs/msg/Odometry": (
        ("pose.pose.position.x", "m"), ("pose.pose.position.y", "m"),
        ("pose.pose.orientation.z", ""), ("pose.pose.orientation.w", ""),
        ("twist.twist.linear.x", "m/s"), ("twist.twist.angular.z", "rad/s"),
    ),
    "sensor_msgs/msg/Imu": (
        ("angular_velocity.z", "rad/s"),
        ("linear_acceleration.x", "m/s²"), ("linear_acceleration.y", "m/s²"),
    ),
}  # fmt: skip
_TWIST = (("linear.x", "m/s"), ("angular.z", "rad/s"))
_COMMANDS = {
    "geometry_msgs/msg/TwistStamped": tuple((f"twist.{path}", unit) for path, unit in _TWIST),
    "geometry_msgs/msg/Twist": _TWIST,
    "sensor_msgs/msg/JointState": (("position", "rad"),),
}
#: Rates that datasets have; a camera's measured one is rounded to the nearest of them.
_RATES = (5, 10, 15, 20, 25, 30, 50, 60, 90, 100, 120)
#: Samples may be missing that long before a frame counts as outside of tolerance.
_PATIENCE, _AT_LEAST_S, _COMMAND_S = 6, 0.25, 0.5


def suggest(recording: Recording, on_progress: Callable[[float], None] | None = None) -> Mapping:
    """A mapping for ``recording``: its cameras, its state, what was applied.

    ``on_progress`` hears the part that is done: rates are measured on every message. Raises
    ``DialtoneError`` where it has nothing that an action could be.
    """
    present = {n: f for n, f in recording.topics.items() if f.messages and f.definition}
    images = {
        f"observation.images.{_camera(name)}": Image(topic=name)
        for name, facts in sorted(present.items())
        if facts.type in PICTURE_TYPES and not _has_compressed(name, present.keys())
    }
    parts = {
        _part(name): _source(name, _STATE[facts.type])
        for name, facts in sorted(present.items())
        if facts.type in _STATE
    }
    action = _action(recording)
    if not parts and action.kind == "next_state":
        raise DialtoneError(
            "has neither a command nor a state that is known", where=str(recording.path),
            fix="write a mapping by hand, see docs/datasets.md",
        )  # fmt: skip
    mapping = Mapping(
        robot_type=str(recording.facts.get("robot", "")),
        timeline=_timeline(recording, [*_topics(parts, images), action.source.topic]),
        features={"observation.state": parts} if parts else {},
        images=images,
        action=action,
    )
    return check(_measured(recording, mapping, on_progress), str(recording.path))


def _measured(
    recording: Recording, mapping: Mapping, on_progress: Callable[[float], None] | None
) -> Mapping:
    """With the dataset's fps from the cameras and ages from the rates that were recorded."""
    numbers, pictures = gather(recording, mapping, on_progress)
    rates = [rate_hz(each.stamps) for each in pictures.values()]
    fps = min(_RATES, key=lambda rate: abs(rate - max(rates))) if rates else mapping.fps

    def age_s(hz: float, least_s: float = _AT_LEAST_S) -> float:
        return round(max(least_s, _PATIENCE / hz if hz else 10.0), 3)

    fields = dict(mapping.__dict__)
    fields["features"] = {
        feature: {
            part: Source(**source.__dict__ | {
                "max_age_s": age_s(rate_hz(numbers[f"{feature}.{part}"].stamps))
            })
            for part, source in parts.items()
        }
        for feature, parts in mapping.features.items()
    }  # fmt: skip
    fields["images"] = {
        name: Image(**image.__dict__ | {"max_age_s": age_s(rate_hz(pictures[name].stamps))})
        for name, image in mapping.images.items()
    }
    if "action" in numbers:
        hz = rate_hz(numbers["action"].stamps)
        source = Source(**mapping.action.source.__dict__ | {"max_age_s": age_s(hz, _COMMAND_S)})
        fields["action"] = Action(mapping.action.kind, mapping.action.of, source)
    return Mapping(**fields | {"fps": fps})


def _action(recording: Recording) -> Action:
    """What was applied, else what was commanded, else the next state."""
    for kind, pattern in (("applied", r"(.*/)?teleop/applied"), ("command", r"(.*/)?cmd_vel.*")):
        for name, facts in sorted(recording.topics.items()):
            if re.fullmatch(pattern, name) and facts.messages and facts.type in _COMMANDS:
                return Action(kind, source=_source(name, _COMMANDS[facts.type]))
    return Action("next_state")


def _source(topic: str, fields: tuple[tuple[str, str], ...]) -> Source:
    paths = tuple(path for path, _ in fields)
    units = tuple(unit for _, unit in fields)
    return Source(topic=topic, fields=paths, units=units if any(units) else ())


def _timeline(recording: Recording, topics: list[str]) -> str:
    headers = (
        definition.has_header()
        for topic in topics
        if topic and (definition := recording.topics[topic].definition)
    )
    return "header" if all(headers) else "publish"


def _topics(parts: dict[str, Source], images: dict[str, Image]) -> list[str]:
    return [each.topic for each in parts.values()] + [each.topic for each in images.values()]


def _part(topic: str) -> str:
    return topic.strip("/").replace("/", "_")


def _camera(topic: str) -> str:
    """``/robot2/camera/front/image_raw/compressed`` → ``front``."""
    found = re.search(r"camera/(\w+)/image", topic)
    return found[1] if found else _part(topic)


def _has_compressed(topic: str, topics: Collection[str]) -> bool:
    return f"{topic}/compressed" in topics
