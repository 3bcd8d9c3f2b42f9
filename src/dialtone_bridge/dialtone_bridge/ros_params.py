"""Parameters of the robot's nodes, for clients of Foxglove: ``/node.name``."""

from __future__ import annotations

import asyncio
import base64
import re
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

from rcl_interfaces.msg import Parameter, ParameterEvent, ParameterType, ParameterValue
from rcl_interfaces.srv import (
    GetParameters,
    GetParameterTypes,
    ListParameters,
    SetParameters,
)
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


class _Seen(NamedTuple):
    """Nodes that are there by full name, and those of them that list parameters."""

    at_s: float
    there: frozenset[str]
    listing: frozenset[str]


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
        self._seen = _Seen(float("-inf"), frozenset(), frozenset())

    def watch(self, on_change: Callable[[Sequence[dict[str, Any]]], None]) -> None:
        """Tell ``on_change`` of parameters that are new, changed or gone, in the executor's
        thread."""

        def on_event(event: ParameterEvent) -> None:
            found = [
                to_object(event.node, each.name, each.value)
                for each in (*event.new_parameters, *event.changed_parameters)
            ]
            found += [{"name": f"{event.node}.{each.name}"} for each in event.deleted_parameters]
            allowed = [each for each in found if self._may(self._allow, each["name"])]
            if allowed:
                on_change(allowed)

        self._node.create_subscription(
            ParameterEvent, "/parameter_events", on_event, qos_profile_parameter_events
        )

    async def get(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """Those of ``names``, or all; without nodes that are not there or do not answer."""
        nodes = self._look()
        wanted: dict[str, list[str]] = defaultdict(list)
        for name in dict.fromkeys(names):
            node, _, inner = name.partition(".")
            if inner and node in nodes.there and self._may(self._allow, name):
                wanted[node].append(inner)
        if not names:
            wanted = {node: [] for node in sorted(nodes.listing)}
        found = await asyncio.gather(
            *(self._get(node, inner) for node, inner in wanted.items() if self._answers(node))
        )
        allowed = [each for part in found for each in part if self._may(self._allow, each["name"])]
        return sorted(allowed, key=lambda each: str(each["name"]))

    async def set(self, parameters: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Set them; the values that hold now, none where one was unset. Raises ``WireError`` for
        one that may not be set (before any is), and where its node is not there, does not answer
        or refuses."""
        known = self._look().there
        nodes: dict[str, dict[str, Mapping[str, Any]]] = defaultdict(dict)
        for each in parameters:
            name = str(each["name"])
            node, _, inner = name.partition(".")
            if not self._may(self._settable, name):
                raise WireError("parameter_not_allowed", name[:80])
            if node not in known or not inner:
                raise WireError("no_node", f"{node[:80]} is no node with such a parameter")
            nodes[node][inner] = each
        requests = {node: await self._request(node, wanted) for node, wanted in nodes.items()}
        for node, request in requests.items():
            reply = await self._ask(node, "set_parameters", "SetParameters", request)
            if reply is None:
                raise WireError("no_answer", f"{node} does not answer for its parameters")
            for each in reply.results:
                if not each.successful:
                    raise WireError("parameter_refused", f"{node}: {each.reason}"[:200])
        found = await self.get([str(each["name"]) for each in parameters])
        unset = {str(each["name"]) for each in parameters if each.get("value") is None}
        unset -= {each["name"] for each in found}
        return found + [{"name": name} for name in sorted(unset)]

    async def _request(self, node: str, wanted: Mapping[str, Mapping[str, Any]]) -> Any:
        """That to set ``wanted``; what a list without items is, the node knows."""
        empty = [inner for inner, each in wanted.items() if each.get("value") == []]
        kinds: dict[str, int] = {}
        if empty:
            reply = await self._ask(
                node, "get_parameter_types", "GetParameterTypes",
                GetParameterTypes.Request(names=empty),
            )  # fmt: skip
            kinds = dict(zip(empty, reply.types if reply is not None else [], strict=False))
        return SetParameters.Request(
            parameters=[
                Parameter(name=inner, value=from_object(each, kinds.get(inner, 0)))
                for inner, each in wanted.items()
            ]
        )

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

    def _look(self) -> _Seen:
        """The nodes of the graph. What is kept of others is dropped."""
        now_s = time.monotonic()
        if now_s - self._seen.at_s >= _LOOK_EVERY_S:
            found = self._node.get_node_names_and_namespaces()
            there = frozenset(f"{space.rstrip('/')}/{name}" for name, space in found)
            serving = {name for name, _ in self._node.get_service_names_and_types()}
            listing = frozenset(name for name in there if f"{name}/list_parameters" in serving)
            self._seen = _Seen(now_s, there, listing)
            self._skip = {name: until_s for name, until_s in self._skip.items() if name in there}
            self._warned &= there
        return self._seen

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


def from_object(each: Mapping[str, Any], present: int = 0) -> ParameterValue:
    """The protocol's object as ROS has it; without a value it unsets the parameter. ``present`` is
    the type that it has now, for a list without items. Raises ``WireError`` for what ROS has no
    type for."""
    value = each.get("value")
    if value is None:
        return ParameterValue(type=ParameterType.PARAMETER_NOT_SET)
    number = _kind_of(value, str(each.get("type", "")), present)
    try:
        return ParameterValue(type=number, **{_FIELDS[number][0]: _convert(value, number)})
    except (TypeError, ValueError, OverflowError, AssertionError) as error:
        name = str(each["name"])[:80]
        raise WireError("bad_value", f"{name} cannot be {str(value)[:60]}") from error


def _convert(value: Any, number: int) -> Any:
    """Raises ``ValueError`` or ``TypeError`` where the value is not of this type."""
    if number == ParameterType.PARAMETER_BYTE_ARRAY:
        return [bytes([byte]) for byte in base64.b64decode(value, validate=True)]
    if number == ParameterType.PARAMETER_DOUBLE:
        return _number(value)
    if number == ParameterType.PARAMETER_DOUBLE_ARRAY:
        return [_number(item) for item in value]
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, int) and not -(2**63) <= item < 2**63:
            raise ValueError("ROS has 64 bits")
        if isinstance(item, str) and "\0" in item:
            raise ValueError("a string without NUL is wanted")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("a number is wanted")
    return float(value)


def _kind_of(value: Any, kind: str, present: int) -> int:
    named = {k: number for number, (_, k) in _FIELDS.items() if k}
    if kind in named:
        return int(named[kind])
    if value == [] and _FIELDS.get(present, ("",))[0].endswith("array_value"):
        return present
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
