"""Message classes and their ``ros2msg`` definitions, from what is installed."""

from __future__ import annotations

import importlib
import importlib.util
import re
from functools import cache
from pathlib import Path
from typing import Any

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from rclpy.serialization import deserialize_message

from dialtone_core.errors import WireError
from dialtone_core.naming import normalize_type

_SEPARATOR = "=" * 80
_INCLUDE = re.compile(r'^#include\s+["<](\w+/\w+/\w+)\.idl[">]', re.MULTILINE)
_PRIMITIVES = frozenset(
    [
        "bool",
        "byte",
        "char",
        "float32",
        "float64",
        "int8",
        "uint8",
        "int16",
        "uint16",
        "int32",
        "uint32",
        "int64",
        "uint64",
        "string",
        "wstring",
    ]
)


@cache
def message_class(type_name: str) -> type[Any]:
    """The Python class of ``pkg/msg/Type``; raises ``LookupError`` where it is not installed."""
    package, _, name = _normal(type_name).partition("/")
    kind, _, name = name.partition("/")
    if not _is_interface_package(package, kind):
        raise LookupError(f"message type {type_name} is not installed")
    try:
        found = getattr(importlib.import_module(f"{package}.{kind}"), name)
    except (ImportError, AttributeError) as error:
        raise LookupError(f"message type {type_name} is not installed") from error
    return found  # type: ignore[no-any-return]


def _is_interface_package(package: str, kind: str) -> bool:
    """Whether ``package`` has a part of that name. A type's name may come over the network, and
    importing a module to see what is in it would run whatever module somebody names."""
    spec = importlib.util.find_spec(package)
    folders = spec.submodule_search_locations if spec is not None else None
    parts = (Path(folder, kind) for folder in folders or ())
    return any(part.is_dir() or part.with_suffix(".py").is_file() for part in parts)


def _normal(type_name: str) -> str:
    """Native DDS programs give topics types that are none of ROS."""
    try:
        return normalize_type(type_name)
    except ValueError as error:
        raise LookupError(str(error)) from error


def decode(type_name: str, payload: bytes) -> Any:
    """The message in ``payload`` (CDR); for tools and tests, never on the hot path.

    Raises ``LookupError`` for a type that is not installed, ``WireError`` for bytes that are not
    such a message.
    """
    message_type = message_class(type_name)
    try:
        return deserialize_message(payload, message_type)
    except Exception as error:  # rclpy raises RCLError, which it does not export
        raise WireError("not_cdr", f"no {type_name}") from error


@cache
def message_definition(type_name: str) -> str:
    """The type's ``.msg`` text with all dependencies, as rosbag2 and Foxglove want it.

    Dependencies follow a line of 80 ``=`` and ``MSG: pkg/Type``, the name as fields write it:
    Foxglove's parser looks types up by that exact name. Raises ``LookupError`` where a text is
    not installed.
    """
    root = _normal(type_name)
    return _with_dependencies(root, _read(root))


@cache
def any_definition(type_name: str) -> str:
    """As ``message_definition``, or the ``.idl`` texts where a ``.msg`` is not installed.

    Each of those follows a line of 80 ``=`` and ``IDL: pkg/msg/Type``, also the first, by which
    it is known. Raises ``LookupError`` where neither is installed.
    """
    try:
        return message_definition(type_name)
    except LookupError as error:
        try:
            return _idl_with_dependencies(_normal(type_name))
        except LookupError:
            raise error from None


@cache
def service_definitions(type_name: str) -> tuple[str, str]:
    """Request and response of ``pkg/srv/Type`` as ``message_definition`` gives a message."""
    request, _, response = f"\n{_read(type_name, 'srv')}".partition("\n---")
    parts = (request.strip("\n") + "\n", response.strip("\n") + "\n")
    texts = [_with_dependencies(type_name, part) for part in parts]
    return texts[0], texts[1]


def _with_dependencies(root: str, text: str) -> str:
    texts = {root: text}
    waiting = [root]
    while waiting:
        current = waiting.pop(0)
        for dependency in _dependencies(current, texts[current]):
            if dependency not in texts:
                texts[dependency] = _read(dependency)
                waiting.append(dependency)
    first, *rest = texts.items()
    return first[1] + "".join(
        f"{_SEPARATOR}\nMSG: {name.replace('/msg/', '/')}\n{text}" for name, text in rest
    )


def _idl_with_dependencies(root: str) -> str:
    texts: dict[str, str] = {}
    waiting = [root]
    while waiting:
        current = waiting.pop(0)
        if current not in texts:
            texts[current] = _read(current, "idl")
            waiting += _INCLUDE.findall(texts[current])
    return "".join(f"{_SEPARATOR}\nIDL: {name}\n{text}" for name, text in texts.items())


def _read(type_name: str, suffix: str = "msg") -> str:
    package, kind, name = type_name.split("/")
    try:
        path = Path(get_package_share_directory(package), kind, f"{name}.{suffix}")
        text = path.read_text(encoding="utf-8")
    except (PackageNotFoundError, OSError) as error:
        raise LookupError(f"no definition of {type_name} is installed") from error
    return text if text.endswith("\n") else text + "\n"


def _dependencies(type_name: str, text: str) -> list[str]:
    package = type_name.split("/")[0]
    found = []
    for line in text.splitlines():
        words = line.split("#")[0].split()
        if len(words) < 2:
            continue
        base = words[0].split("[")[0].split("<")[0]
        if base in _PRIMITIVES:
            continue
        if base == "Header":
            base = "std_msgs/Header"
        found.append(normalize_type(base if "/" in base else f"{package}/{base}"))
    return found
