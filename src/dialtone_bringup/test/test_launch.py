"""The launch file renders the graph: every process of it, whatever they are called."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from dialtone_bringup.graph import profiles, resolve
from dialtone_bringup.spec import Options

PATH = Path(__file__).resolve().parents[1] / "launch" / "robot.launch.py"
HAS_LAUNCH = importlib.util.find_spec("launch_ros") is not None


def test_it_parses_and_names_no_node_of_its_own() -> None:
    tree = ast.parse(PATH.read_text(encoding="utf-8"))
    texts = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)}
    names = {node.name for node in resolve(Options(nats_port=0, foxglove_port=0)).nodes}
    assert not names & texts


def test_it_declares_every_argument_that_is_promised() -> None:
    tree = ast.parse(PATH.read_text(encoding="utf-8"))
    (arguments,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "ARGUMENTS"
    )
    promised = {"robot", "profile", "namespace", "camera", "nats_url", "record"}
    assert promised <= set(arguments)
    assert set(arguments) <= set(Options.__dataclass_fields__)


@pytest.mark.parametrize("profile", sorted(profiles()))
@pytest.mark.skipif(not HAS_LAUNCH, reason="launch_ros comes with a ROS 2, not as a wheel")
def test_every_process_of_the_graph_becomes_an_action(
    profile: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from launch.actions import ExecuteProcess

    from launch import LaunchContext

    monkeypatch.setenv("DIALTONE_HOME", str(tmp_path))
    module = _load()
    context = LaunchContext()
    for name, (default, _) in module.ARGUMENTS.items():
        context.launch_configurations[name] = default
    context.launch_configurations.update({"profile": profile, "foxglove_port": "0"})
    actions = module._robot(context)
    processes = [each for each in actions if isinstance(each, ExecuteProcess)]
    options = Options(profile=profile, nats_port=0, foxglove_port=0)
    assert len(processes) == len(resolve(options).nodes)


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("robot_launch", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
