"""What the bridge says of itself on ``diagnostics``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rclpy.node import Node

from dialtone_bridge.exchange import Exchange
from dialtone_bridge.transports.base import Transport
from dialtone_ros.diagnostics import Diagnostics, Level, Report


def add_to(node: Node, robot: str, transports: Sequence[Transport], exchange: Exchange) -> None:
    """Report each transport by its name, and the topics, once a second."""
    diagnostics = Diagnostics(node, hardware_id=robot)
    for transport in transports:
        diagnostics.add(transport.name, _health_of(transport))
    diagnostics.add("topics", lambda: _topics(exchange))


def _topics(exchange: Exchange) -> Report:
    exchange.measure()
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
