"""Parameters of the robot's nodes, for clients of Foxglove: ``/node.name``."""

from __future__ import annotations

import asyncio
import base64
import re
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from rcl_interfaces.msg import Parameter, ParameterEvent, ParameterType, ParameterValue
from rcl_interfaces.srv import GetParameters, ListParameters, SetParameters
from rclpy.node import Node
from rclpy.qos import qos_profile_parameter_events

from dialtone_core.errors import DialtoneError, WireError

Call = Callable[[str, str, Any], "Future[Any]"]
TIMEOUT_S = 2.0
#: A node that did not answer is not asked again for so long: it must not hold up every panel.
_SKIP_S = 30.0
#: Which nodes there are is asked of ROS no oftener: it costs a millisecond.
_LOOK_EVERY_S = 0.2

#: ParameterType → its field in ParameterValue, and the protocol's name where JSON has none.
_FIELDS = {
    ParameterType.PARAMETER_BOOL: ("bool_value", ""),
    ParameterType.PARAMETER_INTEGER: ("integer_value", ""),
    ParameterType.PARAMETER_DOUBLE: ("double_value", "float64"),
    ParameterType.PARAMETER_STRING: ("string_value", ""),
    ParameterType.PARAMETER_BYTE_ARRAY: ("byte_array_value", "byte_array"),
    ParameterType.PARAMETER_BOOL_ARRAY: ("bool_array_value", ""),
    ParameterType.PARAMETER_INTEGER_ARRAY: ("integer_array_value", ""),
    ParameterType.PARAMETER_DOUBLE_ARRAY: ("double_array_value", "float64_array"),
    ParameterType.PARAMETER_STRING_ARRAY: ("string_array_value", ""),
}


class RosParameters:
    """``extras.Parameters``. ``call`` is that of ``RosServices``; used on the loop."""

    def __init__(
        self, node: Node, call: Call, allow: Sequence[str], settable: Sequence[str]
    ) -> None:
        self._node = node
        self._call = call
        self._allow = [re.compile(each) for each in allow]
        self._settable = [re.compile(each) for each in settable]
        self._skip: dict[str, float] = {}
        self._warned: set[str] = set()
        self._seen: tuple[float, frozenset[str]] = (float("-inf"), frozenset())

    def watch(self, on_change: Callable[[Sequence[dict[str, Any]]], None]) -> None:
        """Tell ``on_change`` of parameters that are new or changed, in the executor's thread."""

        def on_event(event: ParameterEvent) -> None:
            found = [
                to_object(event.node, each.name, each.value)
                for each in (*event.new_parameters, *event.changed_parameters)
            ]
            allowed = [each for each in found if self._may(self._allow, each["name"])]
            if allowed:
                on_change(allowed)

        self._node.create_subscription(
            ParameterEvent, "/parameter_events", on_event, qos_profile_parameter_events
        )

    async def get(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """Those of ``names``, or all; without nodes that are not there or do not answer."""
        nodes = self._nodes()
        wanted: dict[str, list[str]] = defaultdict(list)
        for name in dict.fromkeys(names):
            node, _, inner = name.partition(".")
            if inner and node in nodes and self._may(self._allow, name):
                wanted[node].append(inner)
        if not names:
            wanted = {node: [] for node in sorted(nodes)}
        found = await asyncio.gather(
            *(self._get(node, inner) for node, inner in wanted.items() if self._answers(node))
        )
        allowed = [each for part in found for each in part if self._may(self._allow, each["name"])]
        return sorted(allowed, key=lambda each: str(each["name"]))

    async def set(self, parameters: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Set them; the values that hold now. Raises ``WireError`` for one that may not be set,
        and where its node is not there, does not answer or refuses."""
        known = self._nodes()
        nodes: dict[str, list[Parameter]] = defaultdict(list)
        for each in parameters:
            name = str(each["name"])
            node, _, inner = name.partition(".")
            if not self._may(self._settable, name):
                raise WireError("parameter_not_allowed", name[:80])
            if node not in known or not inner:
                raise WireError("no_node", f"{node[:80]} has no parameters")
            nodes[node].append(Parameter(name=inner, value=from_object(each)))
        for node, wanted in nodes.items():
            request = SetParameters.Request(parameters=wanted)
            reply = await self._ask(node, "set_parameters", "SetParameters", request)
            if reply is None:
                raise WireError("no_answer", f"{node} does not answer for its parameters")
            for each in reply.results:
                if not each.successful:
                    raise WireError("parameter_refused", f"{node}: {each.reason}"[:200])
        return await self.get([str(each["name"]) for each in parameters])

    async def _get(self, node: str, names: Sequence[str]) -> list[dict[str, Any]]:
        if not names:
            listed = await self._ask(
                node, "list_parameters", "ListParameters", ListParameters.Request()
            )
            names = list(listed.result.names) if listed is not None else []
        if not names:
            return []
        request = GetParameters.Request(names=list(names))
        reply = await self._ask(node, "get_parameters", "GetParameters", request)
        if reply is None:
            return []
        pairs = zip(names, reply.values, strict=False)
        return [
            to_object(node, name, value)
            for name, value in pairs
            if value.type != ParameterType.PARAMETER_NOT_SET
        ]

    async def _ask(self, node: str, verb: str, kind: str, request: Any) -> Any:
        """The node's answer, or ``None`` where it has none in time."""
        pending = self._call(f"{node}/{verb}", f"rcl_interfaces/srv/{kind}", request)
        try:
            reply = await asyncio.wait_for(asyncio.wrap_future(pending), TIMEOUT_S)
        except (asyncio.TimeoutError, DialtoneError) as error:
            self._skip[node] = time.monotonic() + _SKIP_S
            if node not in self._warned:
                self._warned.add(node)
                why = "" if isinstance(error, asyncio.TimeoutError) else f" ({error})"
                self._node.get_logger().warning(
                    f"{node} does not answer for its parameters{why}; asked every {_SKIP_S:g} s"
                )
            return None
        self._skip.pop(node, None)
        self._warned.discard(node)
        return reply

    def _answers(self, node: str) -> bool:
        return time.monotonic() > self._skip.get(node, 0.0)

    def _nodes(self) -> frozenset[str]:
        """Those that have parameters, by full name. What is kept of others is dropped."""
        now_s, (seen_s, nodes) = time.monotonic(), self._seen
        if now_s - seen_s >= _LOOK_EVERY_S:
            found = self._node.get_node_names_and_namespaces()
            names = {f"{space.rstrip('/')}/{name}" for name, space in found}
            serving = {name for name, _ in self._node.get_service_names_and_types()}
            nodes = frozenset(name for name in names if f"{name}/list_parameters" in serving)
            self._seen = (now_s, nodes)
            self._skip = {name: until_s for name, until_s in self._skip.items() if name in nodes}
            self._warned &= nodes
        return nodes

    @staticmethod
    def _may(patterns: Sequence[re.Pattern[str]], name: str) -> bool:
        return any(each.fullmatch(name) for each in patterns)


def to_object(node: str, name: str, value: ParameterValue) -> dict[str, Any]:
    """A parameter as the protocol has it."""
    field, kind = _FIELDS.get(value.type, ("", ""))
    made: Any = getattr(value, field) if field else None
    if kind == "byte_array":
        made = base64.b64encode(b"".join(made)).decode()
    elif field.endswith("array_value"):
        made = [each.item() if hasattr(each, "item") else each for each in made]
    found: dict[str, Any] = {"name": f"{node}.{name}", "value": made}
    return found | ({"type": kind} if kind else {})


def from_object(each: Mapping[str, Any]) -> ParameterValue:
    """The protocol's object as ROS has it; raises ``WireError`` for what ROS has no type for."""
    value, kind = each.get("value"), each.get("type", "")
    number = _kind_of(value, kind)
    field = _FIELDS[number][0]
    if number == ParameterType.PARAMETER_BYTE_ARRAY:
        value = [bytes([byte]) for byte in base64.b64decode(str(value))]
    elif number == ParameterType.PARAMETER_DOUBLE:
        value = float(value)  # type: ignore[arg-type]
    elif number == ParameterType.PARAMETER_DOUBLE_ARRAY:
        value = [float(item) for item in value]  # type: ignore[union-attr]
    try:
        return ParameterValue(type=number, **{field: value})
    except AssertionError as error:
        raise WireError("out_of_range", str(each["name"])[:80]) from error


def _kind_of(value: Any, kind: str) -> int:
    named = {k: number for number, (_, k) in _FIELDS.items() if k}
    if kind in named:
        return int(named[kind])
    items = value if isinstance(value, list) else [value]
    offset = 5 if isinstance(value, list) else 0
    for cls, number in (
        (bool, ParameterType.PARAMETER_BOOL),
        (int, ParameterType.PARAMETER_INTEGER),
        (int | float, ParameterType.PARAMETER_DOUBLE),
        (str, ParameterType.PARAMETER_STRING),
    ):
        if items and all(isinstance(each, cls) for each in items):
            return int(number) + offset
    raise WireError("unknown_type", f"a parameter cannot be {str(value)[:60]}")
