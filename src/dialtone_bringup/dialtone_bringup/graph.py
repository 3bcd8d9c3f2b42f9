"""The process graph, declared once, as data: which programs make a robot, and with what settings.

``launch/robot.launch.py`` turns a ``Graph`` into launch actions, ``dialtone up`` into supervised
processes; neither knows a node that the other doesn't. Everything that can be wrong in the
settings is found here, before anything starts.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import yaml

from dialtone_bringup import preflight
from dialtone_bringup.prefixes import find_executable, share
from dialtone_core.config import build, load_params_file, node_values
from dialtone_core.errors import ConfigError, DialtoneError
from dialtone_core.naming import check_robot_name

_NAMESPACE = re.compile(r"/|(/[a-zA-Z_]\w*)+")
#: Entry points of camera drivers; any installed one may be named.
DRIVERS = "dialtone.cameras"
CAMERAS = ("sim", "v4l2", "v4l2_camera", "none")


@dataclass(frozen=True)
class Options:
    """What a person may choose at the start; empty or ``None`` leaves it to the profile.

    A port of 0 is a free one. ``params_file`` is laid over the profile, value by value.
    """

    robot: str = "rover"
    profile: str = "sim"
    namespace: str = ""
    camera: str = ""
    nats_url: str = ""
    record: bool = False
    nats_port: int | None = None
    foxglove_port: int | None = None
    web_port: int | None = None
    params_file: str = ""


@dataclass(frozen=True)
class NodeSpec:
    """One process.

    ``parameters`` win over the params files. ``params`` names the settings class
    (``module:Class``) that judges them. ``ros_args`` says that the program takes ``--ros-args``.
    ``essential``: the robot is stopped when this one cannot be kept running. ``stop_last``: others
    talk to it while they end. ``chatter`` matches lines that belong in the log file only.
    """

    name: str
    package: str
    executable: str
    params: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    remappings: tuple[tuple[str, str], ...] = ()
    ros_args: bool = True
    respawn: bool = True
    essential: bool = True
    stop_last: bool = False
    chatter: str = ""


@dataclass(frozen=True)
class Graph:
    """A robot that may start: checked settings, chosen ports, every process."""

    robot: str
    profile: str
    namespace: str
    nodes: tuple[NodeSpec, ...]
    params_files: tuple[Path, ...]
    nats_url: str
    foxglove_url: str
    web_url: str
    episodes: Path

    def full_name(self, node: NodeSpec) -> str:
        """``/robot2/bridge``: the name that sections of a params file match."""
        return f"{self.namespace.rstrip('/')}/{node.name}"

    def write_parameters(self, node: NodeSpec, folder: Path) -> Path:
        """A params file of what the graph decided for ``node``; given last, it wins.

        A file and not ``-p``: it shows what ran, and nothing in it needs quoting.
        """
        path = folder / f"{node.name}.params.yaml"
        section = {"ros__parameters": dict(node.parameters)}
        path.write_text(yaml.safe_dump({self.full_name(node): section}), encoding="utf-8")
        return path


def profiles() -> dict[str, Path]:
    """The profiles that are installed: file stem to params file."""
    return {file.stem: file for file in sorted(share("dialtone_bringup", "config").glob("*.yaml"))}


def resolve(options: Options) -> Graph:
    """Check ``options`` and every setting, choose ports, and return what is to be started.

    Raises ``DialtoneError`` with one line that says what, where and the fix; nothing has started
    and no port is held then.
    """
    check_robot_name(options.robot)
    _check_camera(options.camera)
    known = profiles()
    if options.profile not in known:
        raise DialtoneError(
            f"no profile {options.profile!r}", fix=f"take one of {', '.join(known)}"
        )
    files = [known[options.profile]]
    if options.params_file:
        files.append(Path(options.params_file).expanduser().absolute())
    settings = _Settings(files, _namespace(options.namespace))
    sim = options.profile == "sim"
    wiring = _Wiring.choose(options, settings, sim)
    nodes = [*_hardware(options, wiring, settings, sim), *_suite(options, wiring, settings)]
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
    """Who meets whom where: every port and URL that two processes must agree on."""

    mavlink_port: int
    pose_port: int
    nats_port: int
    nats_url: str
    foxglove_host: str
    foxglove_port: int
    web_port: int

    @classmethod
    def choose(cls, options: Options, settings: _Settings, sim: bool) -> _Wiring:
        mavlink, pose = preflight.udp_ports(2) if sim else (0, 0)
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
            pose_port=pose,
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


def _hardware(options: Options, wiring: _Wiring, settings: _Settings, sim: bool) -> list[NodeSpec]:
    nodes = []
    if sim:
        nodes.append(
            NodeSpec(
                "vehicle",
                "dialtone_sim",
                "vehicle",
                params="dialtone_sim.params:VehicleParams",
                parameters={
                    "mavlink_url": f"udpout:127.0.0.1:{wiring.mavlink_port}",
                    "pose_urls": [f"udp:127.0.0.1:{wiring.pose_port}"],
                },
                stop_last=True,
            )
        )
    camera = options.camera or settings.value("camera_front", "driver", "sim" if sim else "v4l2")
    if camera == "v4l2_camera":
        nodes.append(_stock_camera())
    elif camera != "none":
        nodes.append(_camera(camera, wiring))
    return nodes


def _camera(camera: str, wiring: _Wiring) -> NodeSpec:
    parameters: dict[str, Any] = {"driver": camera}
    if camera.startswith("/dev/"):
        parameters = {"driver": "v4l2", "device": camera}
    elif camera == "sim" and wiring.pose_port:
        parameters["pose_url"] = f"udp:127.0.0.1:{wiring.pose_port}"
    return NodeSpec(
        "camera_front",
        "dialtone_sensors",
        "camera_node",
        params="dialtone_sensors.params:CameraParams",
        parameters=parameters,
        essential=False,
    )


def _stock_camera() -> NodeSpec:
    """The ROS community's V4L2 node instead of ours, under our topic names."""
    if find_executable("v4l2_camera", "v4l2_camera_node") is None:
        raise DialtoneError(
            "camera v4l2_camera needs the ROS package of that name, and it is not installed",
            fix="apt install ros-$ROS_DISTRO-v4l2-camera, or take camera v4l2",
        )
    topics = ("image_raw", "image_raw/compressed", "camera_info")
    return NodeSpec(
        "camera_front",
        "v4l2_camera",
        "v4l2_camera_node",
        remappings=tuple((topic, f"camera/front/{topic}") for topic in topics),
        parameters={"camera_frame_id": "camera_front_optical_frame"},
        essential=False,
    )


def _suite(options: Options, wiring: _Wiring, settings: _Settings) -> list[NodeSpec]:
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


def _gateway(options: Options, wiring: _Wiring, settings: _Settings) -> NodeSpec:
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


def _nats_server(options: Options, wiring: _Wiring, settings: _Settings) -> NodeSpec:
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
        chatter=r"\[INF\]",
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


class _Settings:
    """The params files of a run, read once, laid over each other, and judged node by node."""

    def __init__(self, files: list[Path], namespace: str) -> None:
        self.namespace = namespace
        self._trees = [(file, load_params_file(file)) for file in files]

    def value(self, node: str, dotted: str, default: Any) -> Any:
        """What the files give for one parameter; judged later, so the type is only hoped for."""
        at: Any = self._merged(node)
        for step in dotted.split("."):
            if not isinstance(at, dict) or step not in at:
                return default
            at = at[step]
        return at if type(at) is type(default) else default

    def check(self, node: NodeSpec) -> NodeSpec:
        """Build the node's settings class from each layer, so that an error names its file."""
        cls = _params_class(node.params)
        if cls is None:
            return node
        values: dict[str, Any] = {}
        for file, tree in self._trees:
            _overlay(values, node_values(tree, self._full_name(node.name), str(file)))
            build(cls, values, where=f"{file}: {node.name}")
        _overlay(values, _nested(node.parameters))
        build(cls, values, where=node.name)
        return node

    def check_names(self, nodes: tuple[NodeSpec, ...]) -> None:
        """A section that fits no node is a typing error, and would silently do nothing."""
        names = {node.name for node in nodes} | set(_KNOWN)
        for file, tree in self._trees[1:]:
            for key, section in tree.items():
                hits = (
                    node_values({key: section}, self._full_name(name), str(file)) for name in names
                )
                if isinstance(section, dict) and not any(hits):
                    raise ConfigError(
                        f"section {key} fits no node of this robot",
                        where=str(file),
                        fix=f"write /**/NAME: with NAME one of {', '.join(sorted(names))}",
                    )

    def _merged(self, node: str) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for file, tree in self._trees:
            _overlay(values, node_values(tree, self._full_name(node), str(file)))
        return values

    def _full_name(self, node: str) -> str:
        return f"{self.namespace.rstrip('/')}/{node}"


#: Nodes that some profile has: a shared params file may hold their sections in any profile.
_KNOWN = ("vehicle", "camera_front", "host_metrics", "teleop", "bridge", "recorder", "gateway")


def _params_class(reference: str) -> type | None:
    if not reference:
        return None
    module, _, name = reference.partition(":")
    try:
        found: type = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise DialtoneError(
            f"the settings class {reference} cannot be imported ({error})",
            fix="build the workspace: ./dialtone does it by itself, else colcon build",
        ) from error
    return found


def _nested(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return node_values({"/**": {"ros__parameters": dict(parameters)}}, "/x", "")


def _overlay(into: dict[str, Any], values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            _overlay(into[name], value)
        else:
            into[name] = value


def _namespace(name: str) -> str:
    full = "/" + name.strip("/")
    if not _NAMESPACE.fullmatch(full):
        raise DialtoneError(
            f"namespace {name!r} is no ROS name", fix="use letters, digits and _, parted by /"
        )
    return full


def _check_camera(camera: str) -> None:
    known = dict.fromkeys([*CAMERAS, *(point.name for point in entry_points(group=DRIVERS))])
    if camera and camera not in known and not camera.startswith("/dev/"):
        raise DialtoneError(
            f"no camera {camera!r}", fix=f"take one of {', '.join(known)} or /dev/videoN"
        )


def without(graph: Graph, *names: str) -> Graph:
    """``graph`` less the processes of these names: a bench that brings its own stand-ins."""
    return replace(graph, nodes=tuple(node for node in graph.nodes if node.name not in names))
