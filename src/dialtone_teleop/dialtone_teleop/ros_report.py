"""The ROS side of teleop, outwards: the state with its reasons, the lease, diagnostics."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.node import Node

from dialtone_ros.diagnostics import Level, Report, to_status
from dialtone_ros.qos import LATCHED
from dialtone_teleop.engine import Engine, Status
from dialtone_teleop.lease import LeaseEvent
from dialtone_teleop.urgency import scheduling

#: A state that is not published more often than this (s) even when it changes.
_STATE_PERIOD_S = 0.5
_CHECK_PERIOD_S = 0.05


class Reporter:
    """Publishes ``teleop/state`` on change and at 2 Hz, and ``teleop/lease`` on change."""

    def __init__(self, node: Node) -> None:
        self._state = node.create_publisher(DiagnosticStatus, "teleop/state", LATCHED)
        self._lease = node.create_publisher(DiagnosticStatus, "teleop/lease", LATCHED)
        self._node = node
        self._engine: Engine | None = None
        self._told: tuple[object, ...] = ()
        self._due_s = 0.0

    def lease(self, event: LeaseEvent) -> None:
        """Publish a change of the lease on ``teleop/lease``; any thread."""
        values = {"event": event.event, "holder": event.holder, "by": event.by}
        report = Report(Level.OK, event.holder or "nobody", values)
        self._lease.publish(to_status("lease", report))

    def watch(self, engine: Engine) -> None:
        """Tell the state of ``engine`` from now on."""
        self._engine = engine
        self._node.create_timer(_CHECK_PERIOD_S, self._tell)

    def _tell(self) -> None:
        if self._engine is None:
            return
        status = self._engine.status()
        self._due_s -= _CHECK_PERIOD_S
        if status.key() == self._told and self._due_s > 0:
            return
        self._told = status.key()
        self._due_s = _STATE_PERIOD_S
        self._state.publish(to_status("teleop", state_report(self._engine, status)))


def state_report(engine: Engine, status: Status) -> Report:
    """``teleop/state``: the reasons as the message, who and what as values."""
    vehicle = status.vehicle
    bad = status.estop_by is not None or not vehicle.ready
    values = {
        "reasons": " ".join(status.reasons),
        "source": status.source,
        "operator": status.operator,
        "seq": "" if status.seq is None else status.seq,
        "holder": status.holder.operator if status.holder else "",
        "role": status.holder.role if status.holder else "",
        "estop": status.estop_by is not None,
        "estop_by": status.estop_by or "",
        "armed": vehicle.armed,
        "mode": vehicle.mode,
        "link": vehicle.link,
        "accepted": sum(engine.pipeline.accepted.values()),
        "refused": sum(sum(each.values()) for each in engine.pipeline.refused.values()),
        "setpoints": engine.setpoints,
    }
    return Report(Level.WARN if bad else Level.OK, " ".join(status.reasons) or "driving", values)


def link_report(engine: Engine, figures: dict[str, object]) -> Report:
    """Diagnostics of the line to the vehicle."""
    vehicle = engine.status().vehicle
    age = vehicle.link_age_s
    values = {"mode": vehicle.mode, "armed": vehicle.armed, "ready": vehicle.ready}
    values["link_age_s"] = "" if age is None else age
    level = Level.OK if vehicle.link else Level.ERROR
    return Report(level, vehicle.reason or "ready", values | figures)


def commands_report(engine: Engine) -> Report:
    """Diagnostics of the inputs: what was accepted, what refused and why, and how fast it went."""
    pipeline = engine.pipeline
    values: dict[str, object] = {}
    for source, refused in pipeline.refused.items():
        values[f"{source}.accepted"] = pipeline.accepted[source]
        values |= {f"{source}.refused.{why}": count for why, count in sorted(refused.items())}
    for name, measured in (("stamp_to_wire", engine.latency_ms), ("write", engine.write_ms)):
        found = measured.at((50, 95, 99))
        if found is not None:
            values |= {f"{name}_p{p}_ms": v for p, v in zip((50, 95, 99), found, strict=True)}
    values["scheduling"] = scheduling()
    return Report(Level.OK, " ".join(pipeline.reasons) or "driving", values)
