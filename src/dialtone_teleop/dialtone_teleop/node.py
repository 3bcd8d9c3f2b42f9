"""The teleop node: wires inputs, engine, actuator and outputs."""

from __future__ import annotations

from rclpy.node import Node

from dialtone_core.clock import SystemClock
from dialtone_core.paths import state_dir
from dialtone_ros.diagnostics import Diagnostics
from dialtone_ros.runtime import run
from dialtone_teleop import urgency
from dialtone_teleop.actuators.base import WithTopics
from dialtone_teleop.actuators.registry import make_actuator
from dialtone_teleop.control import Control
from dialtone_teleop.engine import Engine
from dialtone_teleop.estop import EStopFile
from dialtone_teleop.lease import LeaseEvent
from dialtone_teleop.params import TeleopParams
from dialtone_teleop.pipeline import Pipeline
from dialtone_teleop.remote import Remote
from dialtone_teleop.ros_applied import AppliedPublisher
from dialtone_teleop.ros_io import CommandInputs, Services
from dialtone_teleop.ros_report import Reporter, commands_report, link_report
from dialtone_teleop.ros_telemetry import TelemetryPublisher


class Teleop:
    """Everything of the node that must end in order."""

    def __init__(self, node: Node, params: TeleopParams) -> None:
        clock = SystemClock()
        self._logger = node.get_logger()
        self._actuator = make_actuator(params, clock)
        reporter = Reporter(node)
        latch = EStopFile(state_dir() / "estop" / f"{params.robot}.json")
        applied = AppliedPublisher(node, flies=params.attitude.thrust > 0).publish
        self._engine = Engine(Pipeline(params), self._actuator, clock, applied, latch)
        by = self._engine.pipeline.estop_by
        if by is not None:
            self._logger.warning(f"the e-stop is still latched (by {by}); clear it to drive")
        self._telemetry = TelemetryPublisher(node)
        control = Control(self._engine, params, clock)
        self._remote = self._open_remote(params, control, reporter)
        self._services = Services(node, self._engine, control, params.estop.ros_role)
        self._diagnostics = Diagnostics(node)
        self._diagnostics.add("commands", lambda: commands_report(self._engine))
        self._diagnostics.add(
            "vehicle", lambda: link_report(self._engine, self._actuator.figures())
        )
        reporter.watch(self._engine)
        if isinstance(self._actuator, WithTopics):
            self._actuator.attach(
                node, lambda operator: self._engine.refusal(params.actuator, operator)
            )
        self._actuator.open(self._telemetry.publish, self._log)
        self._engine.start()
        self._inputs = CommandInputs(node, params, self._engine, clock)
        urgency.settle()

    def close(self) -> None:
        """Zeros first, while the line still works; then the line."""
        self._engine.close()
        self._actuator.close()
        if self._remote is not None:
            self._remote.close()

    def _open_remote(
        self, params: TeleopParams, control: Control, reporter: Reporter
    ) -> Remote | None:
        """Tell changes on ROS, and with a server also there."""
        self._engine.on_lease = reporter.lease
        if not params.nats_url:
            return None
        remote = Remote(
            params.robot, params.nats_url, params.nats_credentials, control.handlers(), self._log
        )

        def tell_lease(event: LeaseEvent) -> None:
            reporter.lease(event)
            remote.tell("teleop.lease", control.lease_event(event))

        def tell_estop(active: bool, by: str) -> None:
            remote.tell("teleop.estop", control.estop_event(active, by))

        self._engine.on_lease, self._engine.on_estop = tell_lease, tell_estop
        remote.open()
        return remote

    def _log(self, level: str, line: str) -> None:
        # One call site for each level: rclpy forbids a site from changing its severity.
        if level == "error":
            self._logger.error(line)
        elif level == "warn":
            self._logger.warning(line)
        else:
            self._logger.info(line)


def main() -> None:
    urgency.prepare()
    run("teleop", TeleopParams, Teleop)


if __name__ == "__main__":
    main()
