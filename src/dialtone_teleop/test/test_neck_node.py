"""The teleop node with a neck: real DDS in and out, a pseudo terminal for the head."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import rclpy
from geometry_msgs.msg import QuaternionStamped
from rclpy.context import Context
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import JointState
from serial_peers import NeckFirmware
from std_msgs.msg import String
from std_srvs.srv import SetBool

from dialtone_ros.domain import FreeDomain
from dialtone_ros.executor import DrainingExecutor
from dialtone_ros.qos import LATCHED

Until = Callable[..., Any]
LINE, ATTITUDE, TARGETS = "neck/command", "neck/attitude", "neck/joint_targets"


class Desk:
    """Publishes to the neck and keeps what comes back."""

    def __init__(self, domain: int) -> None:
        self._context = Context()
        signals = SignalHandlerOptions.NO
        rclpy.init(context=self._context, domain_id=domain, signal_handler_options=signals)
        self._node = Node("desk", context=self._context)
        kinds = {LINE: String, ATTITUDE: QuaternionStamped, TARGETS: JointState}
        self.to = {t: self._node.create_publisher(kind, t, 10) for t, kind in kinds.items()}
        self.acks: list[str] = []
        self.joints: list[Any] = []
        self._node.create_subscription(
            String, "neck/ack", lambda message: self.acks.append(message.data), LATCHED
        )
        self._node.create_subscription(JointState, "joint_states", self.joints.append, LATCHED)
        self.estop = self._node.create_client(SetBool, "teleop/estop")
        self._executor = DrainingExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()

    def say(self, line: str) -> None:
        self.to[LINE].publish(String(data=line))

    def close(self) -> None:
        self._executor.shutdown(timeout_sec=1.0)
        self._thread.join(2.0)
        self._node.destroy_node()
        rclpy.try_shutdown(context=self._context)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[tuple[Desk, NeckFirmware]]:
    firmware = NeckFirmware(tmp_path / "ttyUSB0", home_s=0.1)
    firmware.plug()
    with FreeDomain() as domain, (tmp_path / "log").open("wb") as log:
        desk = Desk(domain.number)
        command = [sys.executable, "-m", "dialtone_teleop.node", "--ros-args"]
        for each in (
            "actuator:=neck",
            f"neck.ports:=[{firmware.port}]",
            "lease.implicit:=[neck]",
        ):
            command += ["-p", each]
        home = {"ROS_DOMAIN_ID": str(domain.number), "DIALTONE_HOME": str(tmp_path)}
        process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | home)
        yield desk, firmware
        process.terminate()
        assert process.wait(10) == 0
        desk.close()
    firmware.close()


def test_lines_attitudes_and_joints_reach_the_head_and_an_estop_bars_them(
    rig: tuple[Desk, NeckFirmware], until: Until
) -> None:
    desk, firmware = rig
    until("homed", lambda: "ok HOME_SOFT -> HOME_SOFT" in desk.acks, 20.0)
    until("matched", lambda: all(each.get_subscription_count() for each in desk.to.values()))
    until("asked", lambda: firmware.lines.count("HEALTH") >= 2)
    desk.say("X50,Y-20")
    until("written", lambda: "X50,Y-20,Z0,R0,P0,H0,S1,A1" in firmware.lines)
    until("told", lambda: "neck_x" in desk.joints[-1].name and any(desk.joints[-1].position))
    desk.say("X51?operator=ada%2F1")
    until("a name needs the lease", lambda: "refused X51 (no_lease)" in desk.acks)
    message = QuaternionStamped()
    message.quaternion.w = 1.0
    desk.to[ATTITUDE].publish(message)
    until("written", lambda: "Q:1,0,0,0,H0,S1" in firmware.lines)
    desk.to[TARGETS].publish(JointState(name=["neck_actuator_1"], position=[0.5]))
    until("clamped and written", lambda: "1:70" in firmware.lines)
    until("there", desk.estop.service_is_ready)
    future = desk.estop.call_async(SetBool.Request(data=True))
    until("latched", future.done)
    desk.say("X52")
    until("barred", lambda: "refused X52 (estop)" in desk.acks)
    assert not [line for line in firmware.lines if line.startswith(("X51", "X52"))]
