"""Declares the parameters of a config class on a node, and reads them back as that class."""

from __future__ import annotations

import typing
from collections.abc import Iterable
from typing import Any, TypeVar

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    ParameterType,
)
from rclpy.node import Node

from dialtone_core.config import Declaration, build, declarations
from dialtone_core.errors import ConfigError

T = TypeVar("T")

#: Set by rclpy or by launch on every node; not ours to judge.
_FOREIGN = ("use_sim_time", "qos_overrides", "start_type_description_service")

_SCALAR_TYPES = {
    bool: ParameterType.PARAMETER_BOOL,
    int: ParameterType.PARAMETER_INTEGER,
    float: ParameterType.PARAMETER_DOUBLE,
    str: ParameterType.PARAMETER_STRING,
}
_ARRAY_TYPES = {
    bool: ParameterType.PARAMETER_BOOL_ARRAY,
    int: ParameterType.PARAMETER_INTEGER_ARRAY,
    float: ParameterType.PARAMETER_DOUBLE_ARRAY,
    str: ParameterType.PARAMETER_STRING_ARRAY,
}


def read_params(node: Node, cls: type[T]) -> T:
    """Build ``cls`` from the overrides that ``node`` was started with, and declare every leaf.

    Wrong names, types and bounds raise ``ConfigError``. The declared parameters carry description,
    unit and range for ``ros2 param describe`` and are read-only but for ``live`` ones: a node's
    settings are fixed at its start, so that what a run did can be told from its params file.
    """
    overrides = {name: each.value for name, each in node._parameter_overrides.items()}
    values: dict[str, Any] = {}
    for name, value in overrides.items():
        if name.split(".")[0] not in _FOREIGN:
            _put(values, name.split("."), value)
    made = build(cls, values, where=f"node {node.get_fully_qualified_name()}")
    leaves = {each.name: each for each in declarations(cls)}
    for name, leaf in leaves.items():
        node.declare_parameter(
            name, _plain(_get(made, name)), _descriptor(leaf), ignore_override=True
        )
    for name, value in overrides.items():
        if name not in leaves and not node.has_parameter(name):
            node.declare_parameter(name, value)
    return made


def _put(into: dict[str, Any], path: list[str], value: Any) -> None:
    for step in path[:-1]:
        into = into.setdefault(step, {})
        if not isinstance(into, dict):
            raise ConfigError(f"{'.'.join(path)} is given both as a value and as a table")
    into[path[-1]] = value


def _get(made: Any, dotted: str) -> Any:
    for step in dotted.split("."):
        made = getattr(made, step)
    return made


def _plain(value: Any) -> Any:
    """ROS has no empty untyped array: ``['']`` stands for none, as in a params file."""
    if isinstance(value, Iterable) and not isinstance(value, str):
        return list(value) or [""]
    return value


def _descriptor(leaf: Declaration) -> ParameterDescriptor:
    info = leaf.info
    unit = f" [{info.unit}]" if info.unit else ""
    bounds = info.bounds()
    descriptor = ParameterDescriptor(
        name=leaf.name,
        type=_ros_type(leaf.type),
        description=f"{info.description}{unit}",
        additional_constraints=bounds,
        read_only=not info.live,
    )
    if info.minimum is not None and info.maximum is not None:
        if leaf.type is int:
            descriptor.integer_range = [
                IntegerRange(from_value=int(info.minimum), to_value=int(info.maximum))
            ]
        elif leaf.type is float:
            descriptor.floating_point_range = [
                FloatingPointRange(from_value=float(info.minimum), to_value=float(info.maximum))
            ]
    return descriptor


def _ros_type(hint: Any) -> int:
    if typing.get_origin(hint) in (list, tuple):
        return int(_ARRAY_TYPES[typing.get_args(hint)[0]])
    return int(_SCALAR_TYPES[hint])
