"""The command line of a program that is no ROS node, but is started like one.

``launch_ros`` and the supervisor append ``--ros-args … --params-file F -p a:=b -r __ns:=/x``. Such
a program reads the params from there and lets the rest pass. Everything declared with
``dialtone_core.config.param`` is an option too: ``session_hours`` is ``--session-hours``.
"""

from __future__ import annotations

import argparse
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import yaml

from dialtone_core.config import (
    Declaration,
    build,
    declarations,
    load_params_file,
    merge,
    node_values,
)
from dialtone_core.errors import ConfigError

T = TypeVar("T")


class RosArguments(NamedTuple):
    """What ``--ros-args`` says about parameters, and the node's full name."""

    files: list[Path]
    overrides: dict[str, Any]
    full_name: str


def parse_arguments(argv: Sequence[str], cls: type[T], node: str, description: str) -> T:
    """``argv`` (without the program's name) as a ``cls``; raises ``ConfigError``.

    Later wins: defaults, params files, ``-p``, then options named like the parameters.
    """
    own, ros = split_ros_arguments(argv, node)
    options = vars(_parser(cls, node, description).parse_args(own))
    chosen = options["params_file"]
    values: dict[str, Any] = {}
    for file in [*([chosen] if chosen else []), *ros.files]:
        found = _own(node_values(load_params_file(file), ros.full_name, str(file)))
        build(cls, found, where=str(file))
        merge(values, found)
    merge(values, _own(ros.overrides))
    for leaf in declarations(cls):
        text = options[leaf.name]
        if text is not None:
            merge(values, {leaf.name: _from_text(leaf, text)})
    return build(cls, values, where=ros.full_name.lstrip("/"))


def split_ros_arguments(argv: Sequence[str], node: str) -> tuple[list[str], RosArguments]:
    """The arguments outside of ``--ros-args … --``, and what is inside (design: ROS 2 CLI)."""
    own: list[str] = []
    files: list[Path] = []
    overrides: dict[str, Any] = {}
    name, namespace = node, "/"
    rest = iter(argv)
    inside = False
    for word in rest:
        if word == "--ros-args":
            inside = True
        elif not inside:
            own.append(word)
        elif word == "--":
            inside = False
        elif word == "--params-file":
            files.append(Path(next(rest, "")))
        elif word in ("-p", "--param"):
            key, _, text = next(rest, "").partition(":=")
            overrides[key.rpartition(":")[2]] = _yaml(text)
        elif word in ("-r", "--remap"):
            key, _, text = next(rest, "").partition(":=")
            key = key.rpartition(":")[2]
            name = text if key == "__node" else name
            namespace = text if key == "__ns" else namespace
    return own, RosArguments(files, overrides, f"{namespace.rstrip('/')}/{name}")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> typing.NoReturn:
        raise ConfigError(message, where=self.prog, fix=f"see {self.prog} --help")


def _parser(cls: type, node: str, description: str) -> argparse.ArgumentParser:
    parser = _Parser(prog=node, description=description, allow_abbrev=False)
    parser.add_argument(
        "--params-file", type=Path, metavar="F", help=f"ROS parameter YAML with a section {node}"
    )
    for leaf in declarations(cls):
        bounds = f" ({leaf.info.bounds()})" if leaf.info.bounds() else ""
        listed = isinstance(leaf.default, list | tuple)
        default = ",".join(leaf.default) if listed else leaf.default
        text = f"{leaf.info.description}{bounds}; default {default}".replace("%", "%%")
        switch = {"nargs": "?", "const": "true"} if leaf.type is bool else {}
        name = f"--{leaf.name.replace('_', '-')}"
        parser.add_argument(name, dest=leaf.name, help=text, **switch)  # type: ignore[arg-type]
    return parser


def _own(values: dict[str, Any]) -> dict[str, Any]:
    """Without what launch gives to every node and only rclpy understands."""
    return {name: value for name, value in values.items() if name != "use_sim_time"}


def _from_text(leaf: Declaration, text: str) -> Any:
    if typing.get_origin(leaf.type) in (tuple, list):
        return [item for item in text.split(",") if item]
    return text if leaf.type is str else _yaml(text)


def _yaml(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text
