"""What a bridge answers on NATS: ``dt.<robot>.srv.bridge.<verb>``."""

from __future__ import annotations

import time
from typing import Any

from dialtone_bridge.exchange import Exchange, FlowReport
from dialtone_core.natslink import Handler

PACKAGE = "bridge"


def row(report: FlowReport, now_ns: int) -> dict[str, Any]:
    """One flow as JSON; ``age_s`` since the last message (wall clock), null where none came."""
    route, stats = report.route, report.stats
    return {
        "topic": report.topic,
        "type": report.type,
        "route": route.label,
        "encoding": route.encoding,
        "priority": route.priority.name.lower(),
        "delivery": route.policy.kind,
        "max_messages": route.policy.max_messages,
        "max_bytes": route.policy.max_bytes,
        "max_rate_hz": route.max_rate_hz,
        "latched": route.latched,
        "durable": route.durable,
        "subscribed": report.subscribed,
        "messages": stats.messages,
        "bytes": stats.bytes,
        "rate_hz": round(stats.rate_hz, 2),
        "bytes_per_s": round(stats.bytes_per_s),
        "skipped": stats.skipped,
        "age_s": round((now_ns - stats.last_ns) / 1e9, 3) if stats.last_ns else None,
        "transports": {
            name: {
                "sent": sink.sent,
                "dropped": sink.dropped,
                "waiting": sink.waiting,
                "clients": sink.clients,
            }
            for name, sink in report.sinks.items()
        },
    }


def handlers(exchange: Exchange) -> dict[str, Handler]:
    """The verbs, for ``natslink.serve``."""

    async def routes(_: dict[str, Any]) -> dict[str, Any]:
        now_ns = time.time_ns()
        return {"routes": [row(report, now_ns) for report in exchange.reports()]}

    return {"routes": routes}
