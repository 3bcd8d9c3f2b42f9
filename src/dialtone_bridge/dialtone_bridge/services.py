"""What a bridge answers on NATS: ``dt.<robot>.srv.bridge.<verb>``."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol

from dialtone_bridge.exchange import Exchange, FlowReport
from dialtone_bridge.qos import QosPlan
from dialtone_bridge.stats import FlowStats
from dialtone_core.clock import NS_PER_S
from dialtone_core.errors import DialtoneError, WireError
from dialtone_core.natsserve import Handler

PACKAGE = "bridge"
PARAMETERS = "params"


class Parameters(Protocol):
    """Parameters of the robot's nodes, each ``{"name": "/node.name", "value": …}``."""

    async def get(self, names: Sequence[str]) -> list[dict[str, Any]]: ...

    async def set(self, parameters: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]: ...


class Commands(Protocol):
    """What clients published on the robot's topics."""

    def reports(self) -> list[tuple[str, str, FlowStats]]:
        """Topic, type and figures, by topic."""


def row(report: FlowReport, now_ns: int) -> dict[str, Any]:
    """One flow as JSON at monotonic ``now_ns``; ``age_s`` is null where no message came yet."""
    route, stats = report.route, report.stats
    return {
        "topic": report.topic,
        "type": report.type,
        "route": route.label,
        "encoding": route.encoding,
        "priority": route.priority.name.lower(),
        "direction": route.direction,
        "delivery": route.policy.kind,
        "max_messages": route.policy.max_messages,
        "max_bytes": route.policy.max_bytes,
        "max_age_s": route.policy.max_age_ns / NS_PER_S,
        "max_rate_hz": route.max_rate_hz,
        "latched": route.latched,
        "durable": route.durable,
        "subscribed": report.subscribed,
        "qos": qos(report.qos) if report.qos is not None else None,
        "messages": stats.messages,
        "bytes": stats.bytes,
        "rate_hz": round(stats.rate_hz, 2),
        "bytes_per_s": round(stats.bytes_per_s),
        "skipped": stats.skipped,
        "age_s": stats.age_s(now_ns),
        "transports": {
            name: {
                "wanted": name in report.wanted,
                "sent": sink.sent,
                "dropped": sink.dropped,
                "waiting": sink.waiting,
                "clients": sink.clients,
            }
            for name, sink in report.sinks.items()
        },
    }


def qos(plan: QosPlan) -> dict[str, Any]:
    """The QoS that is in force, in ROS's words."""
    return {
        "reliability": "reliable" if plan.reliable else "best_effort",
        "durability": "transient_local" if plan.transient_local else "volatile",
        "depth": plan.depth,
    }


def command_row(topic: str, type_name: str, stats: FlowStats, now_ns: int) -> dict[str, Any]:
    """What clients published on one topic, as JSON; like ``row``."""
    return {
        "topic": topic,
        "type": type_name,
        "messages": stats.messages,
        "rate_hz": round(stats.rate_hz, 2),
        "age_s": stats.age_s(now_ns),
    }


def handlers(exchange: Exchange, commands: Commands) -> dict[str, Handler]:
    """The verbs, for ``natsserve.serve``; ``commands`` counts what clients published."""

    async def routes(_: dict[str, Any]) -> dict[str, Any]:
        now_ns = time.monotonic_ns()
        return {
            "routes": [row(report, now_ns) for report in exchange.reports()],
            "commands": [command_row(*each, now_ns) for each in commands.reports()],
            "denied": [asdict(each) for each in exchange.denied()],
        }

    return {"routes": routes}


def parameter_handlers(parameters: Parameters, settable: bool) -> dict[str, Handler]:
    """``dt.<robot>.srv.params.<verb>``: get by name, list all, and set where that is allowed."""

    async def get(body: dict[str, Any]) -> dict[str, Any]:
        names = body.get("names")
        if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
            raise DialtoneError("names is no list of strings such as /node.name")
        return {"parameters": await parameters.get(names) if names else []}

    async def every(_: dict[str, Any]) -> dict[str, Any]:
        return {"names": [each["name"] for each in await parameters.get([])]}

    async def put(body: dict[str, Any]) -> dict[str, Any]:
        wanted = body.get("parameters")
        if not isinstance(wanted, list) or not all(
            isinstance(each, dict) and isinstance(each.get("name"), str) for each in wanted
        ):
            raise DialtoneError('parameters is no list of {"name": "/node.name", "value": …}')
        try:
            return {"parameters": await parameters.set(wanted)}
        except WireError as error:
            raise DialtoneError(str(error)) from error

    return {"get": get, "list": every, **({"set": put} if settable else {})}
