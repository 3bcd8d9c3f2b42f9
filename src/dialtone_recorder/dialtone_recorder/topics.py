"""Which topics are recorded, and how a topic is described. No ROS in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from dialtone_core.errors import ConfigError

#: Recorded whatever the filters say: intent beside effect is what an episode is for.
ALWAYS = (r"cmd_vel(/.+)?", r"cmd_attitude(/.+)?", r"teleop/.+")

#: rmw's infinite duration, as rosbag2 writes it: INT64_MAX ns.
INFINITE = {"sec": 9223372036, "nsec": 854775807}


@dataclass(frozen=True, slots=True)
class Topic:
    """One recorded stream.

    ``definition`` is ``None`` where no ``.msg`` text is installed; ``type_hash`` is RIHS01 or
    empty; ``publishers`` is the most seen at a time, because sequence numbers of several cannot
    be told apart.
    """

    name: str
    type: str
    definition: str | None = None
    qos: tuple[dict[str, Any], ...] = ()
    type_hash: str = ""
    latched: bool = False
    publishers: int = 1

    @property
    def key(self) -> tuple[str, str]:
        """A publisher may come back with another type: name and type make a stream."""
        return self.name, self.type

    def channel_metadata(self) -> dict[str, str]:
        return channel_metadata(self.qos, self.type_hash)


def channel_metadata(qos: Sequence[dict[str, Any]], type_hash: str) -> dict[str, str]:
    """A channel's metadata as rosbag2 writes it: the profiles as YAML text, and RIHS01."""
    text = yaml.safe_dump(list(qos), sort_keys=False).strip() if qos else ""
    hashed = {"topic_type_hash": type_hash} if type_hash else {}
    return {"offered_qos_profiles": text, **hashed}


def qos_profile(
    reliability: str,
    durability: str,
    *,
    history: str = "unknown",
    depth: int = 0,
    liveliness: str = "automatic",
    deadline: dict[str, int] | None = None,
    lifespan: dict[str, int] | None = None,
    lease: dict[str, int] | None = None,
) -> dict[str, Any]:
    """One offered profile under rosbag2's names; enums are words from metadata version 9 on."""
    return {
        "history": history,
        "depth": depth,
        "reliability": reliability,
        "durability": durability,
        "deadline": deadline or dict(INFINITE),
        "lifespan": lifespan or dict(INFINITE),
        "liveliness": liveliness,
        "liveliness_lease_duration": lease or dict(INFINITE),
        "avoid_ros_namespace_conventions": False,
    }


class TopicFilter:
    """Says whether a topic is recorded; names are full (``/robot2/odom``)."""

    def __init__(
        self,
        allow: Iterable[str] = (".*",),
        deny: Iterable[str] = (),
        types_deny: Iterable[str] = (),
        namespace: str = "/",
    ) -> None:
        self._allow = [_compile(each, "topics_allow") for each in allow]
        self._deny = [_compile(each, "topics_deny") for each in deny]
        self._types_deny = [_compile(each, "types_deny") for each in types_deny]
        prefix = re.escape("/" + namespace.strip("/")).rstrip("/")
        self._always = [re.compile(f"{prefix}/{each}") for each in ALWAYS]

    def wants(self, name: str, type_name: str) -> bool:
        """Whether ``name`` is recorded. Hidden names (a token that begins with ``_``) are not."""
        if self.always(name):
            return True
        if "/_" in name or any(each.fullmatch(type_name) for each in self._types_deny):
            return False
        if any(each.fullmatch(name) for each in self._deny):
            return False
        return any(each.fullmatch(name) for each in self._allow)

    def always(self, name: str) -> bool:
        """Whether ``name`` is a command or what became of it."""
        return any(each.fullmatch(name) for each in self._always)


def _compile(pattern: str, parameter: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ConfigError(
            f"{parameter} has {pattern!r}, which is no regular expression ({error})",
            fix="write it as Python's re module wants it; every name is .*",
        ) from error
