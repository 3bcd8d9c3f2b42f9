"""What a robot is made of, as data: what a person chose, one process, all processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class Options:
    """What a person may choose at the start; empty or ``None`` leaves it to the profile.

    A port of 0 is a free one. ``params_file`` is laid over the profile, value by value.
    """

    robot: str = "rover"
    profile: str = "sim"
    namespace: str = ""
    camera: str = ""
    nats_url: str = ""
    record: bool = False
    nats_port: int | None = None
    foxglove_port: int | None = None
    web_port: int | None = None
    params_file: str = ""


@dataclass(frozen=True)
class NodeSpec:
    """One process.

    ``parameters`` win over the params files. ``params`` names the settings class
    (``module:Class``) that judges them. ``ros_args`` says that the program takes ``--ros-args``.
    ``essential``: the robot is stopped when this one cannot be kept running. ``stop_last``: others
    talk to it while they end. ``chatter`` matches lines that belong in the log file only.
    """

    name: str
    package: str
    executable: str
    params: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    remappings: tuple[tuple[str, str], ...] = ()
    ros_args: bool = True
    respawn: bool = True
    essential: bool = True
    stop_last: bool = False
    chatter: str = ""


@dataclass(frozen=True)
class Graph:
    """A robot that may start: checked settings, chosen ports, every process."""

    robot: str
    profile: str
    namespace: str
    nodes: tuple[NodeSpec, ...]
    params_files: tuple[Path, ...]
    nats_url: str
    foxglove_url: str
    web_url: str
    episodes: Path

    def full_name(self, node: NodeSpec) -> str:
        """``/robot2/bridge``: the name that sections of a params file match."""
        return f"{self.namespace.rstrip('/')}/{node.name}"

    def write_parameters(self, node: NodeSpec, folder: Path) -> Path:
        """A params file of what the graph decided for ``node``; given last, it wins.

        A file and not ``-p``: it shows what ran, and nothing in it needs quoting.
        """
        path = folder / f"{node.name}.params.yaml"
        section = {"ros__parameters": dict(node.parameters)}
        path.write_text(yaml.safe_dump({self.full_name(node): section}), encoding="utf-8")
        return path
