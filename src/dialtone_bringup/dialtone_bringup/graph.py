"""The process graph, declared once, as data: which programs make a robot, and with what settings.

``launch/robot.launch.py`` turns a ``Graph`` into launch actions, ``dialtone up`` into supervised
processes; neither knows a node that the other doesn't. Everything that can be wrong in the
settings is found here, before anything starts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dialtone_bringup import preflight
from dialtone_bringup.cameras import Camera, check_driver, find_cameras
from dialtone_bringup.prefixes import find_executable, share
from dialtone_bringup.settings import Settings
from dialtone_bringup.spec import Graph, NodeSpec, Options
from dialtone_core.errors import DialtoneError
from dialtone_core.naming import check_robot_name

#: Its listeners for browsers are on loopback, behind the gateway: not what it warns of.
_NATS_CHATTER = r"\[INF\]|Plaintext passwords|Websocket not configured with TLS"
_NAMESPACE = re.compile(r"/|(/[a-zA-Z_]\w*)+")


def profiles() -> dict[str, Path]:
    """The profiles that are installed: file stem to params file."""
    return {file.stem: file for file in sorted(share("dialtone_bringup", "config").glob("*.yaml"))}


def resolve(options: Options) -> Graph:
    """Check ``options`` and every setting, choose ports, and return what is to be started.

    Raises ``DialtoneError`` with one line that says what, where and the fix; nothing has started
    and no port is held then.
    """
    check_robot_name(options.robot)
    check_driver(options.camera)
    known = profiles()
    if options.profile not in known:
        raise DialtoneError(
            f"no profile {options.profile!r}", fix=f"take one of {', '.join(known)}"
        )
    files = [known[options.profile]]
    if options.params_file:
        files.append(Path(options.params_file).expanduser().absolute())
    settings = Settings(files, _namespace(options.namespace))
    cameras = find_cameras(options, settings)
    wiring = _Wiring.choose(options, settings, cameras)
    nodes = [*_hardware(wiring, cameras), *_suite(options, wiring, settings)]
    if find_executable("robot_state_publisher", "robot_state_publisher") is not None:
        nodes.append(_state_publisher())
    checked = tuple(settings.check(node) for node in nodes)
    settings.check_names(checked)
    episodes = preflight.episodes_folder(settings.value("recorder", "directory", ""))
    return Graph(
        robot=options.robot,
        profile=options.profile,
        namespace=settings.namespace,
        nodes=checked,
        params_files=tuple(files),
        nats_url=wiring.nats_url,
        foxglove_url=f"ws://{wiring.foxglove_host}:{wiring.foxglove_port}",
        web_url=f"http://127.0.0.1:{wiring.web_port}",
        episodes=episodes,
    )


@dataclass(frozen=True)
class _Wiring:
    """Who meets whom where: every port and URL that two processes must agree on.

    ``pose_urls``: where the simulated vehicle tells each camera its pose; empty for others.
    """

    mavlink_port: int
    pose_urls: tuple[str, ...]
    nats_port: int
    nats_url: str
    foxglove_host: str
    foxglove_port: int
    web_port: int

    @classmethod
    def choose(cls, options: Options, settings: Settings, cameras: list[Camera]) -> _Wiring:
        sim = options.profile == "sim"
        mavlink, *poses = (
            preflight.udp_ports(1 + len(cameras)) if sim else [0] * (1 + len(cameras))
        )
        url = options.nats_url or settings.value("bridge", "nats_url", "")
        nats = 0
        if not url:
            preflight.nats_server()
            nats = preflight.nats_port(options.nats_port)
        host = settings.value("bridge", "foxglove_host", "127.0.0.1")
        port = options.foxglove_port
        if port is None:
            port = settings.value("bridge", "foxglove_port", 8765)
        return cls(
            mavlink_port=mavlink,
            pose_urls=tuple(
                f"udp:127.0.0.1:{port}" if port and camera.driver == "sim" else ""
                for camera, port in zip(cameras, poses, strict=True)
            ),
            nats_port=nats,
            nats_url=url or f"nats://127.0.0.1:{nats}",
            foxglove_host=host,
            foxglove_port=preflight.foxglove_port(port, host),
            web_port=preflight.web_port(
                options.web_port,
                settings.value("gateway", "port", preflight.WEB_PORT),
                settings.value("gateway", "bind", "127.0.0.1"),
            ),
        )


def _hardware(wiring: _Wiring, cameras: list[Camera]) -> list[NodeSpec]:
    nodes = []
    if wiring.mavlink_port:
        nodes.append(
            NodeSpec(
                "vehicle",
                "dialtone_sim",
                "vehicle",
                params="dialtone_sim.params:VehicleParams",
                parameters={
                    "mavlink_url": f"udpout:127.0.0.1:{wiring.mavlink_port}",
                    "pose_urls": [each for each in wiring.pose_urls if each] or [""],
                },
                stop_last=True,
            )
        )
    poses = zip(cameras, wiring.pose_urls, strict=True)
    return [*nodes, *(camera.node(pose_url) for camera, pose_url in poses)]


def _suite(options: Options, wiring: _Wiring, settings: Settings) -> list[NodeSpec]:
    """The nodes of every profile, whatever the hardware."""
    teleop: dict[str, Any] = {"robot": options.robot, "nats_url": wiring.nats_url}
    if wiring.mavlink_port:
        teleop["mavlink.url"] = f"udpin:127.0.0.1:{wiring.mavlink_port}"
    nodes = [
        NodeSpec(
            "host_metrics",
            "dialtone_sensors",
            "host_metrics_node",
            params="dialtone_sensors.params:HostMetricsParams",
            essential=False,
        ),
        NodeSpec(
            "teleop",
            "dialtone_teleop",
            "teleop_node",
            params="dialtone_teleop.params:TeleopParams",
            parameters=teleop,
        ),
        NodeSpec(
            "bridge",
            "dialtone_bridge",
            "bridge_node",
            params="dialtone_bridge.params:BridgeParams",
            parameters={
                "robot": options.robot,
                "nats_url": wiring.nats_url,
                "foxglove_port": wiring.foxglove_port,
            },
        ),
        NodeSpec(
            "recorder",
            "dialtone_recorder",
            "recorder_node",
            params="dialtone_recorder.params:RecorderParams",
            parameters={
                "robot": options.robot,
                "nats_url": wiring.nats_url,
                **({"autostart": True} if options.record else {}),
            },
        ),
    ]
    nodes.append(_gateway(options, wiring, settings))
    if not wiring.nats_port:
        return nodes
    return [_nats_server(options, wiring, settings), *nodes]


def _gateway(options: Options, wiring: _Wiring, settings: Settings) -> NodeSpec:
    """The web server: no ROS node, but started like one. A robot drives on without it."""
    episodes = settings.value("recorder", "directory", "")
    return NodeSpec(
        "gateway",
        "dialtone_gateway",
        "gateway",
        params="dialtone_gateway.params:GatewayParams",
        parameters={
            "robot": options.robot,
            "namespace": settings.namespace,
            "nats_url": wiring.nats_url,
            "foxglove_url": f"ws://{wiring.foxglove_host}:{wiring.foxglove_port}",
            "port": wiring.web_port,
            **({"episodes": episodes} if episodes else {}),
        },
        essential=False,
    )


def _nats_server(options: Options, wiring: _Wiring, settings: Settings) -> NodeSpec:
    """The embedded server; what the bridge's section says of it becomes its arguments."""
    arguments = ["--port", str(wiring.nats_port), "--robot", options.robot]
    if settings.value("bridge", "open_loopback", False):
        arguments.append("--open-loopback")
    for name in ("hub_url", "hub_credentials"):
        value = settings.value("bridge", name, "")
        if value:
            arguments += [f"--{name.removesuffix('_url').replace('_', '-')}", value]
    return NodeSpec(
        "nats",
        "dialtone_bridge",
        "nats_server",
        arguments=tuple(arguments),
        ros_args=False,
        stop_last=True,
        chatter=_NATS_CHATTER,
    )


def _state_publisher() -> NodeSpec:
    urdf = share("dialtone_bringup", "urdf", "rover.urdf")
    return NodeSpec(
        "robot_state_publisher",
        "robot_state_publisher",
        "robot_state_publisher",
        parameters={"robot_description": urdf.read_text(encoding="utf-8")},
        essential=False,
    )


def _namespace(name: str) -> str:
    full = "/" + name.strip("/")
    if not _NAMESPACE.fullmatch(full):
        raise DialtoneError(
            f"namespace {name!r} is no ROS name", fix="use letters, digits and _, parted by /"
        )
    return full
