"""A teleop process, a vehicle and an operator's ROS node, for tests of the node as a whole."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import Twist, TwistStamped
from mavlink_peer import MavlinkPeer, until
from nats_rig import NatsServer
from nav_msgs.msg import Odometry
from rclpy.context import Context
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Imu
from std_msgs.msg import Bool
from std_srvs.srv import SetBool

from dialtone_core.ports import free_ports
from dialtone_ros.domain import FreeDomain
from dialtone_ros.executor import DrainingExecutor
from dialtone_ros.qos import LATCHED, SENSOR


class Desk:
    """An operator's ROS node: publishes commands, keeps what comes back."""

    def __init__(self, domain: int) -> None:
        self._context = Context()
        no_signals = SignalHandlerOptions.NO
        rclpy.init(context=self._context, domain_id=domain, signal_handler_options=no_signals)
        self.node = Node("desk", context=self._context)
        self.heard: dict[str, list[Any]] = {}
        self.twist = self.node.create_publisher(Twist, "cmd_vel", 10)
        self.stamped = self.node.create_publisher(TwistStamped, "cmd_vel/nats", 10)
        self.estop_request = self.node.create_publisher(Bool, "teleop/estop_request", 10)
        self.hear(TwistStamped, "teleop/applied", SENSOR)
        self.hear(DiagnosticStatus, "teleop/applied_status", SENSOR)
        self.hear(DiagnosticStatus, "teleop/state", LATCHED)
        self.hear(DiagnosticStatus, "teleop/lease", LATCHED)
        self.hear(DiagnosticArray, "diagnostics", 10)
        self.hear(Odometry, "odom", SENSOR)
        self.hear(Imu, "imu/data", SENSOR)
        self.services = {
            name: self.node.create_client(SetBool, f"teleop/{name}") for name in ("estop", "arm")
        }
        self._executor = DrainingExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()

    def hear(self, kind: Any, topic: str, qos: Any) -> None:
        self.heard[topic] = []
        self.node.create_subscription(kind, topic, self.heard[topic].append, qos)

    def close(self) -> None:
        self._executor.shutdown(timeout_sec=1.0)
        self._thread.join(2.0)
        self.node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def drive(self, x: float, yaw: float = 0.0) -> None:
        message = Twist()
        message.linear.x, message.angular.z = x, yaw
        self.twist.publish(message)

    def drive_for(self, duration_s: float, x: float, yaw: float = 0.0) -> float:
        """Command at 20 Hz; returns when (monotonic s) the last one was published."""
        pause, end, last = threading.Event(), time.monotonic() + duration_s, 0.0
        while time.monotonic() < end:
            last = time.monotonic()
            self.drive(x, yaw)
            pause.wait(0.05)
        return last

    def call(self, name: str, value: bool) -> None:
        client = self.services[name]
        assert client.wait_for_service(10.0)
        future = client.call_async(SetBool.Request(data=value))
        until(f"{name} is answered", future.done)

    def state(self) -> dict[str, str]:
        states = self.heard["teleop/state"]
        return {each.key: each.value for each in states[-1].values} if states else {}

    def counts(self) -> dict[str, str]:
        return {
            value.key: value.value
            for array in self.heard["diagnostics"][-1:]
            for status in array.status
            for value in status.values
        }


class Rig:
    """A teleop process, a vehicle and a desk."""

    def __init__(self, tmp_path: Path) -> None:
        self.port = free_ports(1, kind=socket.SOCK_DGRAM)[0]
        self._domain = FreeDomain()
        self._environment = os.environ | {"ROS_DOMAIN_ID": str(self._domain.number)}
        self._environment["DIALTONE_HOME"] = str(tmp_path)
        self.log = tmp_path / "teleop.log"
        self.server = NatsServer(tmp_path)
        self.desk = Desk(self._domain.number)
        self.vehicle = MavlinkPeer(self.port)
        self.process = self._start()  # last: nothing after it can fail and leave it running

    def _start(self) -> subprocess.Popen[bytes]:
        url = f"mavlink.url:=udpin:127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "dialtone_teleop.node", "--ros-args"]
        command += ["-p", url, "-p", "mavlink.auto_arm:=true"]
        command += ["-p", f"nats_url:={self.server.url}"]
        with self.log.open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, env=self._environment)

    def ask(self, verb: str, **body: object) -> dict[str, Any]:
        """The reply of a service over NATS."""
        return self.server.ask(f"dt.rover.srv.teleop.{verb}", body)

    def restart(self) -> None:
        """Kill the node as a crash does, and start it again."""
        self.process.kill()
        self.process.wait()
        self.desk.heard["teleop/state"].clear()
        self.desk.heard["diagnostics"].clear()
        self.process = self._start()

    def ready(self) -> None:
        until("ready to drive", lambda: self.desk.state().get("reasons") == "idle", 20)
        until("inputs match", lambda: self.desk.estop_request.get_subscription_count() == 1)
        until("inputs match", lambda: self.desk.twist.get_subscription_count() == 1)
        until("inputs match", lambda: self.desk.stamped.get_subscription_count() == 1)

    def fresh(self) -> None:
        """Between two tests: rested, driving allowed, nothing remembered."""
        self.vehicle.silent = False
        self.vehicle.velocity_north = 0.0
        self.desk.call("estop", False)
        if self.desk.state().get("reasons") not in ("idle", "timeout"):
            self.desk.call("arm", True)
        until(
            "driving is allowed",
            lambda: self.desk.state().get("reasons") in ("idle", "timeout", "not_finite"),
        )
        self.desk.drive(0.0)
        zeros = len(self.vehicle.setpoints)
        quiet = threading.Event()
        while True:
            quiet.wait(0.15)
            if len(self.vehicle.setpoints) == zeros:
                break
            zeros = len(self.vehicle.setpoints)
        self.vehicle.setpoints.clear()
        self.desk.heard["teleop/applied"].clear()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.vehicle.close()
        self.desk.close()
        self.server.close()
        self._domain.close()
