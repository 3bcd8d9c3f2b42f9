"""What a transport's factory gets that needs ROS itself."""

from __future__ import annotations

from dataclasses import dataclass

from rclpy.node import Node

from dialtone_bridge.ros_services import RosServices
from dialtone_bridge.ros_sink import RosInbound
from dialtone_bridge.ros_source import RosSource
from dialtone_bridge.routes import RouteTable
from dialtone_bridge.transports.carrier import Context


@dataclass(frozen=True, kw_only=True)
class RosContext(Context):
    """See ``Context``; ``source.post`` runs work in the executor's thread."""

    node: Node
    table: RouteTable
    source: RosSource
    inbound: RosInbound
    services: RosServices
