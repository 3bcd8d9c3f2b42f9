"""Parameters, declared once: a frozen dataclass with default, unit, bounds and description.

The same class validates a params file before anything starts (``load_params_file``), declares the
ROS parameters of the node (``dialtone_ros.params``) and prints itself in the documentation.

    @dataclass(frozen=True)
    class Camera:
        rate_hz: float = param(30.0, "frames a second", unit="Hz", minimum=1, maximum=240)

Tables (``dict[str, Source]``) nest: ``sources.nats.timeout_s``. What lies in a
``dict[str, Any]`` is judged by whoever builds a class of its own from it.
"""

from __future__ import annotations

import dataclasses
import difflib
import fnmatch
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import yaml

from dialtone_core.errors import ConfigError

T = TypeVar("T")
_META = "dialtone.param"
_SCALARS: dict[type, str] = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "a string",
}


@dataclass(frozen=True, slots=True)
class ParamInfo:
    """What a person and ``ros2 param describe`` are told of a parameter. Bounds are inclusive.

    ``live`` ones may be set while the node runs; all others are fixed at its start.
    """

    description: str
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    live: bool = False

    def bounds(self) -> str:
        """The bounds in words, for an error line."""
        unit = f" {self.unit}" if self.unit else ""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        if self.minimum is not None and self.maximum is not None:
            return f"{self.minimum:g} to {self.maximum:g}{unit}"
        if self.minimum is not None:
            return f"at least {self.minimum:g}{unit}"
        return f"at most {self.maximum:g}{unit}" if self.maximum is not None else ""


def param(
    default: Any,
    description: str,
    *,
    unit: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
    live: bool = False,
) -> Any:
    """A dataclass field that is a parameter; a list or dict default is copied each time."""
    info = ParamInfo(description, unit, minimum, maximum, choices, live)
    if isinstance(default, list | dict):
        return field(default_factory=default.copy, metadata={_META: info})
    return field(default=default, metadata={_META: info})


@dataclass(frozen=True, slots=True)
class Declaration:
    """One leaf parameter of a config class: dotted name, type, default and info."""

    name: str
    type: Any
    default: Any
    info: ParamInfo


def declarations(cls: type, prefix: str = "") -> list[Declaration]:
    """Every leaf parameter of ``cls`` in order; tables (dicts) have no leaves of their own."""
    found: list[Declaration] = []
    hints = _hints(cls)
    for each in dataclasses.fields(cls):
        name = f"{prefix}{each.name}"
        hint = hints[each.name]
        if dataclasses.is_dataclass(hint):
            found += declarations(typing.cast(type, hint), f"{name}.")
        elif typing.get_origin(hint) is not dict:
            found.append(Declaration(name, hint, _default(each), _info(each)))
    return found


def build(cls: type[T], values: Mapping[str, Any], where: str = "", prefix: str = "") -> T:
    """Make a ``cls`` from nested ``values``, checking names, types and bounds.

    Raises ``ConfigError`` whose one line names the parameter, its value and its bound. An integer
    is taken where a number is wanted (YAML writes ``1`` for ``1.0``); nothing else is converted.
    """
    fields = {each.name: each for each in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for name in values:
        if name not in fields:
            raise _unknown(f"{prefix}{name}", [f"{prefix}{known}" for known in fields], where)
    hints = _hints(typing.cast(type, cls))
    made = {
        name: _convert(hints[name], value, f"{prefix}{name}", _info(fields[name]), where)
        for name, value in values.items()
    }
    try:
        return cls(**made)
    except ValueError as error:
        raise ConfigError(str(error), where=where, fix="correct that value") from error


def load_params_file(path: Path) -> dict[str, Any]:
    """Parse a ROS 2 parameter YAML; raises ``ConfigError`` naming file and line."""
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"cannot read the params file ({error.strerror})",
            where=str(path),
            fix="check the path",
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or "not a text file"
        raise ConfigError(f"not YAML: {problem}", where=where, fix="correct the syntax") from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(
            "a params file is a mapping of nodes", where=str(path), fix="see config/sim.yaml"
        )
    return tree


def node_values(tree: Mapping[str, Any], node: str, where: str) -> dict[str, Any]:
    """The nested parameters that ``tree`` gives to ``node``, a full name (``/robot/bridge``).

    Follows rcl's rules: ``/**`` and ``*`` are wildcards, later sections win, sections may nest by
    namespace, dotted names are nested ones.
    """
    values: dict[str, Any] = {}
    for pattern, section in _sections(tree, ""):
        if not _matches(pattern, node):
            continue
        if not isinstance(section, dict):
            raise ConfigError(
                f"ros__parameters of {pattern} is no mapping", where=where, fix="indent it"
            )
        merge(values, section)
    return values


def _sections(tree: Mapping[str, Any], prefix: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in tree.items():
        if key == "ros__parameters":
            found.append((prefix, value))
        elif isinstance(value, dict):
            found += _sections(value, f"{prefix}/{str(key).strip('/')}")
    return found


@cache
def _matches(pattern: str, node: str) -> bool:
    if pattern == "/**" or pattern == node:
        return True
    if pattern.startswith("/**/"):
        return fnmatch.fnmatchcase(node, "*" + pattern[3:])
    # rcl: a bare node name in the file matches that node in the root namespace only.
    parts, names = pattern.split("/"), node.split("/")
    return len(parts) == len(names) and all(map(fnmatch.fnmatchcase, names, parts))


def merge(into: dict[str, Any], values: Mapping[str, Any]) -> None:
    """Lay ``values`` over ``into``; a dotted name (``tunnel.command``) is a nested one."""
    for dotted, value in values.items():
        *path, leaf = str(dotted).split(".")
        at = into
        for step in path:
            at = at.setdefault(step, {})
        if isinstance(value, dict):
            merge(at.setdefault(leaf, {}), value)
        else:
            at[leaf] = value


def _convert(hint: Any, value: Any, name: str, info: ParamInfo, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise _wrong(name, value, "a mapping", where)
        return build(typing.cast(type, hint), value, where, f"{name}.")
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        return _convert(typing.get_args(hint)[0], value, name, info, where)
    if origin is dict:
        return _table(typing.get_args(hint)[1], value, name, where)
    if origin in (list, tuple):
        return _list(hint, value, name, info, where)
    if hint is Any:  # judged by whoever reads it
        return value
    return _scalar(hint, value, name, info, where)


def _table(hint: Any, value: Any, name: str, where: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise _wrong(name, value, "a mapping", where)
    empty = ParamInfo("")
    return {
        key: _convert(hint, each, f"{name}.{key}", empty, where) for key, each in value.items()
    }


def _list(hint: Any, value: Any, name: str, info: ParamInfo, where: str) -> Any:
    if isinstance(value, str) or not hasattr(value, "__iter__") or isinstance(value, Mapping):
        raise _wrong(name, value, "a list", where)
    inner = typing.get_args(hint)[0]
    items = [
        _scalar(inner, item, f"{name}[{index}]", info, where) for index, item in enumerate(value)
    ]
    # ROS has no empty untyped list; [''] is how a params file writes one.
    items = [] if items == [""] else items
    return tuple(items) if typing.get_origin(hint) is tuple else items


def _scalar(hint: Any, value: Any, name: str, info: ParamInfo, where: str) -> Any:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not hint:
        raise _wrong(name, value, _SCALARS.get(hint, str(hint)), where)
    if isinstance(value, float) and not math.isfinite(value):
        raise _wrong(name, value, "a finite number", where)
    low = info.minimum is not None and isinstance(value, int | float) and value < info.minimum
    high = info.maximum is not None and isinstance(value, int | float) and value > info.maximum
    if low or high or (info.choices and value not in info.choices):
        raise ConfigError(f"{name} is {value!r}", where=where, fix=f"give {info.bounds()}")
    return value


def _wrong(name: str, value: Any, wanted: str, where: str) -> ConfigError:
    shown = repr(value)[:60]
    return ConfigError(
        f"{name} is {shown} ({type(value).__name__})", where=where, fix=f"give {wanted}"
    )


def _unknown(name: str, known: list[str], where: str) -> ConfigError:
    close = difflib.get_close_matches(name, known, 1)
    fix = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
    return ConfigError(f"no parameter {name}", where=where, fix=fix)


@cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _info(each: dataclasses.Field[Any]) -> ParamInfo:
    return typing.cast(ParamInfo, each.metadata.get(_META, ParamInfo("")))


def _default(each: dataclasses.Field[Any]) -> Any:
    if each.default_factory is not MISSING:
        return each.default_factory()
    return None if each.default is MISSING else each.default
