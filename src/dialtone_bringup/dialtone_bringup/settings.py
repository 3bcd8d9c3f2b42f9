"""The params files of a run, laid over each other and judged before anything starts."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dialtone_bringup.spec import NodeSpec
from dialtone_core.config import build, load_params_file, node_values
from dialtone_core.errors import ConfigError, DialtoneError

#: Nodes that some profile has: a shared params file may hold their sections in any profile.
_KNOWN = ("vehicle", "camera_front", "host_metrics", "teleop", "bridge", "recorder", "gateway")


class Settings:
    """The params files of a run, read once, laid over each other, and judged node by node."""

    def __init__(self, files: list[Path], namespace: str) -> None:
        self.namespace = namespace
        self._trees = [(file, load_params_file(file)) for file in files]

    def value(self, node: str, dotted: str, default: Any) -> Any:
        """What the files give for one parameter; judged later, so the type is only hoped for."""
        at: Any = self._merged(node)
        for step in dotted.split("."):
            if not isinstance(at, dict) or step not in at:
                return default
            at = at[step]
        return at if type(at) is type(default) else default

    def sections(self, prefix: str) -> set[str]:
        """Names of nodes that begin so and that some file has a section for."""
        keys = (str(key) for _, tree in self._trees for key in tree)
        names = (key.rpartition("/")[2] for key in keys)
        return {name for name in names if name.startswith(prefix) and name.isidentifier()}

    def check(self, node: NodeSpec) -> NodeSpec:
        """Build the node's settings class from each layer, so that an error names its file."""
        cls = _params_class(node.params)
        if cls is None:
            return node
        values: dict[str, Any] = {}
        for file, tree in self._trees:
            _overlay(values, node_values(tree, self._full_name(node.name), str(file)))
            build(cls, values, where=f"{file}: {node.name}")
        _overlay(values, _nested(node.parameters))
        build(cls, values, where=node.name)
        return node

    def check_names(self, nodes: tuple[NodeSpec, ...]) -> None:
        """A section that fits no node is a typing error, and would silently do nothing."""
        names = {node.name for node in nodes} | set(_KNOWN) | self.sections("camera_")
        for file, tree in self._trees[1:]:
            for key, section in tree.items():
                hits = (
                    node_values({key: section}, self._full_name(name), str(file)) for name in names
                )
                if isinstance(section, dict) and not any(hits):
                    raise ConfigError(
                        f"section {key} fits no node of this robot",
                        where=str(file),
                        fix=f"write /**/NAME: with NAME one of {', '.join(sorted(names))}",
                    )

    def _merged(self, node: str) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for file, tree in self._trees:
            _overlay(values, node_values(tree, self._full_name(node), str(file)))
        return values

    def _full_name(self, node: str) -> str:
        return f"{self.namespace.rstrip('/')}/{node}"


def _params_class(reference: str) -> type | None:
    if not reference:
        return None
    module, _, name = reference.partition(":")
    try:
        found: type = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise DialtoneError(
            f"the settings class {reference} cannot be imported ({error})",
            fix="build the workspace: ./dialtone does it by itself, else colcon build",
        ) from error
    return found


def _nested(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return node_values({"/**": {"ros__parameters": dict(parameters)}}, "/x", "")


def _overlay(into: dict[str, Any], values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            _overlay(into[name], value)
        else:
            into[name] = value
