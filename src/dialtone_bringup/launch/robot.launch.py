"""``ros2 launch dialtone_bringup robot.launch.py``: the process graph as launch actions.

The graph itself, its checks and its ports come from ``dialtone_bringup.graph``; nothing here knows
a node by name.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    LogInfo,
    OpaqueFunction,
    SetEnvironmentVariable,
)
from launch.events import Shutdown
from launch.events.process import ProcessExited
from launch.launch_description_entity import LaunchDescriptionEntity
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from dialtone_bringup.environment import log_folder, sweep_shared_memory, transport_environment
from dialtone_bringup.graph import resolve
from dialtone_bringup.prefixes import find_executable
from dialtone_bringup.spec import Graph, NodeSpec, Options
from launch import LaunchContext, LaunchDescription

#: name → default, description. They are the fields of ``Options``.
ARGUMENTS = {
    "robot": ("rover", "name of the robot on NATS: a-z, 0-9 and _"),
    "profile": ("sim", "params file of the robot: sim, rover, ..."),
    "namespace": ("", "prefix of every ROS name"),
    "camera": ("", "sim, v4l2, v4l2_camera, none or /dev/videoN; empty: the profile's"),
    "nats_url": ("", "use this NATS server; empty: start one"),
    "record": ("false", "record an episode from the start"),
    "params_file": ("", "ROS parameter YAML laid over the profile"),
    "foxglove_port": ("", "port for Foxglove, 0 is any free one; empty: the profile's"),
    "web_port": ("", "port of the dashboard, 0 is any free one; empty: the profile's"),
}
RESPAWN_DELAY_S = 1.0
CONFIGURATION_ERROR = 2
#: SIGINT at first; what stays gets SIGTERM, then SIGKILL, all within 3 s.
SIGTERM_AFTER_S, SIGKILL_AFTER_S = "1.5", "1.0"


def generate_launch_description() -> LaunchDescription:
    """What ``ros2 launch`` runs."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in ARGUMENTS.items()
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=_robot)])


def _robot(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    values = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    ports = {name: values.pop(name) for name in ("foxglove_port", "web_port")}
    chosen = {name: int(port) if port else None for name, port in ports.items()}
    record = values.pop("record").lower() in ("true", "1", "yes")
    graph = resolve(Options(**values, record=record, **chosen))
    sweep_shared_memory()
    transport = transport_environment(os.environ)
    environment = [SetEnvironmentVariable(name, value) for name, value in transport.items()]
    where = (
        f"{graph.robot}: dashboard {graph.web_url}, Foxglove {graph.foxglove_url}, "
        f"NATS {graph.nats_url}"
    )
    logs = log_folder(graph.robot)
    processes = [_process(graph, node, logs) for node in graph.nodes]
    return [*environment, LogInfo(msg=where), *processes]


def _process(graph: Graph, node: NodeSpec, logs: Path) -> LaunchDescriptionEntity:
    common = {
        "name": node.name,
        "output": "both",
        "respawn": node.respawn,
        "respawn_delay": RESPAWN_DELAY_S,
        "sigterm_timeout": SIGTERM_AFTER_S,
        "sigkill_timeout": SIGKILL_AFTER_S,
        "on_exit": partial(_on_exit, node),
    }
    if not node.ros_args:
        path = find_executable(node.package, node.executable)
        return ExecuteProcess(cmd=[str(path), *node.arguments], **common)
    parameters = [str(file) for file in graph.params_files]
    if node.parameters:
        parameters.append(str(graph.write_parameters(node, logs)))
    return Node(
        package=node.package,
        executable=node.executable,
        namespace=graph.namespace,
        arguments=list(node.arguments),
        parameters=parameters,
        remappings=list(node.remappings),
        **common,
    )


def _on_exit(
    node: NodeSpec, event: ProcessExited, context: LaunchContext
) -> list[LaunchDescriptionEntity]:
    """A wrong setting does not mend itself by another try: everything ends."""
    if event.returncode != CONFIGURATION_ERROR or context.is_shutdown:
        return []
    why = f"{node.name} has a wrong setting"
    return [LogInfo(msg=why), EmitEvent(event=Shutdown(reason=why))]
