"""What the bridge says of itself on ``diagnostics``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from rclpy.node import Node

from dialtone_bridge.exchange import Exchange
from dialtone_bridge.transports.base import Transport
from dialtone_ros.diagnostics import Diagnostics, Level, Report


class Inbound(Protocol):
    """Counts what clients published."""

    def measure(self) -> None: ...


def add_to(
    node: Node,
    robot: str,
    transports: Sequence[Transport],
    exchange: Exchange,
    inbound: Inbound,
) -> None:
    """Report each transport by its name, and the topics, once a second; take all rates then."""
    diagnostics = Diagnostics(node, hardware_id=robot)
    for transport in transports:
        diagnostics.add(transport.name, _health_of(transport))

    def topics() -> Report:
        exchange.measure()
        inbound.measure()
        return _topics(exchange)

    diagnostics.add("topics", topics)


def _topics(exchange: Exchange) -> Report:
    rows = exchange.reports()
    dropped = {row.topic: sum(sink.dropped for sink in row.sinks.values()) for row in rows}
    values = {
        "known": len(rows),
        "subscribed": sum(row.subscribed for row in rows),
        "messages": sum(row.stats.messages for row in rows),
        "bytes": sum(row.stats.bytes for row in rows),
        "skipped": sum(row.stats.skipped for row in rows),
        "dropped": sum(dropped.values()),
    }
    values |= {f"dropped.{topic}": count for topic, count in dropped.items() if count}
    return Report(values=values)


def _health_of(transport: Transport) -> Callable[[], Report]:
    def report() -> Report:
        health = transport.health()
        return Report(Level.OK if health.ok else Level.WARN, health.message, health.values)

    return report
