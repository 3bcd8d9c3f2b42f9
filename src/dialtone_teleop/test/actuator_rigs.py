"""The other end of each actuator: what the contract test plugs in, pulls out and listens to."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import rclpy
from geometry_msgs.msg import Twist as TwistMsg
from mavlink_peer import MavlinkPeer
from rclpy.context import Context
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from serial_peers import NeckFirmware, TwistBoard

from dialtone_core.command import Twist
from dialtone_core.config import build
from dialtone_ros.executor import DrainingExecutor
from dialtone_teleop.params import TeleopParams


class Rig(Protocol):
    """``step`` is a twist that the vehicle can do; ``heard`` counts setpoints that moved it."""

    params: TeleopParams
    step: Twist

    def plug(self) -> None: ...

    def unplug(self) -> None: ...

    def attach(self, actuator: Any) -> None: ...

    def heard(self) -> int: ...

    def close(self) -> None: ...


class _Plain:
    step = Twist(x=0.4, yaw=0.2)

    def attach(self, actuator: Any) -> None:
        """Nothing to tell it."""


class MavlinkRig(_Plain):
    def __init__(self, _: Path) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        mavlink = {"url": f"udpin:127.0.0.1:{self._port}", "auto_arm": True, "link_timeout_s": 0.5}
        self.params = build(TeleopParams, {"actuator": "mavlink", "mavlink": mavlink})
        self._peer = MavlinkPeer(self._port)
        self._peer.silent = True

    def plug(self) -> None:
        self._peer.silent = False

    def unplug(self) -> None:
        self._peer.silent = True

    def heard(self) -> int:
        return len(self._peer.moving())

    def close(self) -> None:
        self._peer.close()


class NeckRig(_Plain):
    step = Twist(z=0.05, yaw=0.5)

    def __init__(self, folder: Path) -> None:
        port = folder / "ttyUSB0"
        self._firmware = NeckFirmware(port, home_s=0.05)
        neck = {"ports": [str(folder / "none"), str(port)], "probe_s": 1.0}
        self.params = build(TeleopParams, {"actuator": "neck", "neck": neck})
        self.plug, self.unplug = self._firmware.plug, self._firmware.unplug
        self.close = self._firmware.close

    def heard(self) -> int:
        return len([line for line in self._firmware.moves if not line.startswith("HOME")])


class TwistSerialRig(_Plain):
    def __init__(self, folder: Path, encoding: str = "json") -> None:
        port = folder / "ttyACM0"
        self._board = TwistBoard(port, encoding)
        twist_serial = {"ports": [str(port)], "encoding": encoding}
        values = {"actuator": "twist_serial", "twist_serial": twist_serial}
        self.params = build(TeleopParams, values)
        self.plug, self.unplug = self._board.plug, self._board.unplug
        self.close = self._board.close

    def heard(self) -> int:
        return len([twist for twist in self._board.twists if any(twist)])


class RosTopicRig(_Plain):
    """A subscriber on real DDS; unplugged, it is gone."""

    def __init__(self, _: Path) -> None:
        self.params = build(TeleopParams, {"actuator": "ros_topic"})
        self._context = Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._robot = Node("robot", context=self._context)
        self._base = Node("base", context=self._context)
        self._executor = DrainingExecutor(context=self._context)
        self._executor.add_node(self._base)
        self._subscription: Any = None
        self._heard: list[Any] = []

    def attach(self, actuator: Any) -> None:
        actuator.attach(self._robot, lambda _: "")

    def plug(self) -> None:
        self._subscription = self._base.create_subscription(
            TwistMsg, "cmd_vel_out", self._heard.append, 10
        )

    def unplug(self) -> None:
        if self._subscription is not None:
            self._base.destroy_subscription(self._subscription)
            self._subscription = None

    def heard(self) -> int:
        self._executor.spin_once(timeout_sec=0.01)
        return len([each for each in self._heard if each.linear.x or each.angular.z])

    def close(self) -> None:
        self._executor.shutdown()
        self._robot.destroy_node()
        self._base.destroy_node()
        rclpy.try_shutdown(context=self._context)


class SimRig(_Plain):
    """Lives inside the actuator, so there is no plug to pull."""

    def __init__(self, _: Path) -> None:
        self.params = build(TeleopParams, {"actuator": "sim"})
        self._actuator: Any = None

    def attach(self, actuator: Any) -> None:
        self._actuator = actuator

    def plug(self) -> None: ...

    def unplug(self) -> None: ...

    def heard(self) -> int:
        return len([each for _, each in self._actuator.setpoints if not each.is_zero()])

    def close(self) -> None: ...


RIGS: dict[str, Callable[[Path], Rig]] = {
    "mavlink": MavlinkRig,
    "neck": NeckRig,
    "ros_topic": RosTopicRig,
    "sim": SimRig,
    "twist_serial": TwistSerialRig,
    "twist_serial-crc": lambda folder: TwistSerialRig(folder, "crc"),
}
