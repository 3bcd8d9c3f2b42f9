"""Gives the Foxglove server what it wants of ROS: parameters, graph, assets, time, description."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import rclpy
from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from std_msgs.msg import UInt32

from dialtone_bridge.exchange import Exchange
from dialtone_bridge.foxglove.assets import Assets
from dialtone_bridge.foxglove.channel import ServerChannel
from dialtone_bridge.foxglove.entrance import Address
from dialtone_bridge.foxglove.extras import Extras
from dialtone_bridge.foxglove.frames import description_channel, static_channel
from dialtone_bridge.foxglove.services import FoxgloveServices
from dialtone_bridge.foxglove.token import VARIABLE, read_token
from dialtone_bridge.params import BridgeParams
from dialtone_bridge.ros_context import RosContext
from dialtone_bridge.ros_graph import RosGraph
from dialtone_bridge.ros_params import RosParameters
from dialtone_bridge.transports.carrier import Carrier
from dialtone_bridge.transports.foxglove import FoxgloveSettings, FoxgloveTransport
from dialtone_core.clock import NS_PER_S
from dialtone_core.errors import ConfigError
from dialtone_ros.qos import LATCHED
from dialtone_ros.timers import steady_timer

#: As rclcpp's ClockQoS: publishers of either reliability are heard, and only the newest counts.
_CLOCK = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class RosFoxglove(Carrier):
    """Makes the transport, and follows ROS for it once it is open."""

    def __init__(self, context: RosContext) -> None:
        node, params, services = context.node, context.params, context.services
        self._node = node
        self._params = params
        self._services = services
        self._callable = FoxgloveServices(services.call_cdr)
        self._parameters = RosParameters(
            node, services.call_ros, params.allow_parameters, params.settable_parameters
        )
        table = context.table

        def shows_topic(topic: str) -> bool:
            return not table.refusal(topic) or table.accepts(topic)

        extras = Extras(
            self._parameters,
            RosGraph(node, context.source.post, shows_topic, services.allows).read,
            Assets(params.allow_assets, _share, params.foxglove_asset_bytes).read,
            bool(node.get_parameter("use_sim_time").value),
        )
        self._sim_time = extras.sim_time
        self._described = _describe(params.robot_description, context.namespace)
        settings = _settings(params, context.namespace)
        self._foxglove = FoxgloveTransport(settings, context.inbound, context.log, extras)
        super().__init__(self._foxglove)

    async def opened(self, exchange: Exchange) -> None:
        """Follow parameters, time and clients."""
        node, transport = self._node, self._foxglove
        self._parameters.watch(transport.tell_parameters)
        for channel in self._described:
            transport.offer_channel(channel)
        if self._sim_time:
            node.create_subscription(Clock, "/clock", self._on_clock, _CLOCK)
        if self._params.client_count:
            publisher = node.create_publisher(UInt32, "bridge/client_count", LATCHED)
            told = [-1]

            def count() -> None:
                if told[0] != transport.clients:
                    told[0] = transport.clients
                    publisher.publish(UInt32(data=told[0]))

            steady_timer(node, 1.0, count)

    def looked(self) -> None:
        """Offer the services that are there now."""
        if not self._params.read_only:
            self._foxglove.offer_services(self._callable, self._services.offered)

    def _on_clock(self, clock: Any) -> None:
        self._foxglove.broadcast_time(clock.clock.sec * NS_PER_S + clock.clock.nanosec)


def create(context: RosContext) -> Carrier | None:
    """See ``transports.registry``."""
    return RosFoxglove(context) if context.params.foxglove_enabled else None


def _settings(params: BridgeParams, namespace: str) -> FoxgloveSettings:
    token = read_token(params.foxglove_token_file)
    open_to_all = params.foxglove_host not in _LOOPBACK
    if (open_to_all or params.foxglove_public_host) and not token:
        name = "foxglove_host" if open_to_all else "foxglove_public_host"
        raise ConfigError(
            f"{name} lets others in and there is no token",
            fix=f"set foxglove_token_file or {VARIABLE}, or listen on 127.0.0.1",
        )
    public = None
    if params.foxglove_public_host:
        public = Address(
            params.foxglove_public_host,
            params.foxglove_public_port,
            token,
            params.foxglove_tls_cert,
            params.foxglove_tls_key,
        )
    return FoxgloveSettings(
        robot=params.robot,
        host=params.foxglove_host,
        port=params.foxglove_port,
        client_bytes=params.foxglove_client_bytes,
        namespace=namespace,
        read_only=params.read_only,
        token=token if open_to_all else "",
        public=public,
        origins=params.foxglove_origins,
        tls_cert=params.foxglove_tls_cert,
        tls_key=params.foxglove_tls_key,
        distro=_distro(),
        max_clients=params.foxglove_max_clients,
    )


def _distro() -> str:
    """The ROS 2 that is sourced, or that of the wheels."""
    site = Path(rclpy.__file__).parents[1]
    wheels = [each.name.split("_")[1] for each in site.glob("ros_*_rclpy-*.dist-info")]
    return os.environ.get("ROS_DISTRO") or next(iter(wheels), "")


def _share(package: str) -> Path:
    try:
        return Path(get_package_share_directory(package))
    except PackageNotFoundError as error:
        raise LookupError(package) from error


def _describe(where: str, namespace: str) -> list[ServerChannel]:
    """Channels with the URDF at a path or ``package://`` URI, and with its fixed joints. Raises
    ``ConfigError`` where there is none: who names a file wants to see it."""
    if not where:
        return []
    space = namespace.rstrip("/")
    try:
        if where.startswith("package://"):
            package, _, inner = where[len("package://") :].partition("/")
            path = _share(package) / inner
        else:
            path = Path(os.path.expanduser(where))
        urdf = path.read_text(encoding="utf-8")
        return [
            description_channel(f"{space}/robot_description", urdf),
            static_channel(f"{space}/tf_static/urdf", urdf),
        ]
    except (LookupError, OSError, ValueError) as error:
        raise ConfigError(
            f"robot_description {where} cannot be shown ({error})",
            fix="correct the path or the file",
        ) from error
