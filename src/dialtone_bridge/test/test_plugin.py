"""A transport of another distribution: found by entry point, run by the real bridge, and judged by
the same contract, without a line of Dialtone changed for it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nats
import pytest
import typer
from bridge_rig import Peer, Rig, until
from feed_rig import Inbox, Said
from geometry_msgs.msg import Twist
from rclpy.serialization import serialize_message
from std_msgs.msg import String
from typer.testing import CliRunner

from dialtone_bridge.params import BridgeParams
from dialtone_bridge.transports.carrier import Carrier, Context
from dialtone_bridge.transports.registry import make_carriers, transport_names
from dialtone_bridge.verbs.routes import routes
from dialtone_core.config import build
from dialtone_core.errors import ConfigError
from dialtone_core.ports import free_ports

HERE = Path(__file__).parent
_ENTRY_POINTS = """\
[dialtone.transports]
line = dialtone_line:create
memory = dialtone_bridge.transports.memory:create
liar = dialtone_liar:create

[dialtone.far_ends]
line = dialtone_line_far_end:FarEnd
"""
#: Names itself after another.
_LIAR = "from dialtone_bridge.transports.memory import create as create\n"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution beside ours, as pip would install it, for every process of the test."""
    shutil.copytree(HERE / "plugin", tmp_path / "site")
    (tmp_path / "site" / "dialtone_liar.py").write_text(_LIAR)
    info = tmp_path / "site" / "dialtone_line-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: dialtone-line\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(_ENTRY_POINTS)
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"), prepend=os.pathsep)


@pytest.mark.timeout(180)
def test_it_passes_the_contract_of_all_transports(installed: None) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "line",
               str(HERE / "test_transport_contract.py")]  # fmt: skip
    alone = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    done = subprocess.run(
        command, cwd=HERE, env=alone, capture_output=True, text=True, timeout=170
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (passed,) = re.findall(r"^(\d+) passed", done.stdout, re.MULTILINE)
    contract = (HERE / "test_transport_contract.py").read_text(encoding="utf-8")
    assert int(passed) == len(re.findall(r"^async def test_", contract, re.MULTILINE))


async def test_a_topic_leaves_by_it_a_command_comes_back_and_routes_show_it(
    installed: None, rig: Rig, peer: Peer, client: nats.NATS
) -> None:
    from dialtone_line_far_end import open_client

    port = free_ports(1)[0]
    options = {"transport_options.line.port": port, "command_topics": "[go]"}
    rig.start_bridge(transports="[nats, line]", **options)
    publisher = peer.node.create_publisher(String, "chatter", 10)
    heard = peer.listen(Twist, "go")
    file = await rig.file()
    assert file.urls == {"nats": rig.nats_url, "line": f"tcp://127.0.0.1:{port}"}
    async with open_client(file.urls["line"]) as viewer:
        await viewer.subscribe("chatter")
        await until(lambda: publisher.get_subscription_count() > 0)
        publisher.publish(String(data="hello"))
        assert (await viewer.receive()).startswith(serialize_message(String(data="hello")))
        go = Twist()
        go.linear.x = 0.4
        while not heard:  # the first ones may come before DDS has matched
            await viewer.send("go", serialize_message(go), "geometry_msgs/msg/Twist")
            await asyncio.sleep(0.05)
        assert heard[0] == go
        app = typer.Typer()
        app.command()(routes)
        shown = await asyncio.to_thread(CliRunner().invoke, app, ["--robot", rig.robot, "--json"])
        (row,) = [
            each for each in json.loads(shown.output)["routes"] if each["topic"] == "/chatter"
        ]
        assert row["transports"]["line"]["wanted"]
        assert row["transports"]["line"]["sent"] == row["transports"]["line"]["clients"] == 1
        assert not row["transports"]["nats"]["wanted"]


async def test_the_memory_transport_runs_in_the_node_alone(installed: None, rig: Rig) -> None:
    rig.start_bridge(transports="[memory]")
    file = await rig.file()
    assert (file.nats_url, file.foxglove_url, file.urls) == ("", "", {})


async def test_a_name_that_nobody_knows_stops_the_start_with_those_that_are_known(
    installed: None, rig: Rig
) -> None:
    bridge = rig.start_bridge(transports="[nats, zenoh]")
    assert await asyncio.to_thread(bridge.process.wait, 15) == 2
    says = "transports[1] is 'zenoh'. Fix: give one of foxglove, liar, line, memory, nats"
    assert says in bridge.text()


def carriers(**values: Any) -> list[Carrier]:
    """What the bridge makes of these parameters, without ROS."""
    params = build(BridgeParams, values)
    services: Any = None
    context = Context(params=params, namespace="/", inbound=Inbox(), services=services, log=Said())
    return make_carriers(context)


def test_a_factory_of_one_line_makes_a_transport_that_is_not_open_yet(installed: None) -> None:
    (made,) = carriers(transports=["line"], transport_options={"line": {"port": 7}})
    assert made.transport.name == "line"
    assert not made.transport.health().ok
    assert transport_names() == ["foxglove", "liar", "line", "memory", "nats"]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"transports": ["line", "line"]}, "transports is .*name each of them once"),
        ({"transports": ["liar"]}, "the transport 'liar' calls itself 'memory'"),
        (
            {"transports": ["line"], "transport_options": {"line": {"port": 70_000}}},
            "bridge: transport_options.line.port is 70000. Fix: give 0 to 65535",
        ),
        (
            {"transports": ["line"], "transport_options": {"line": {"prot": 7}}},
            "no parameter transport_options.line.prot. Fix: did you mean .*line.port",
        ),
        (
            {"transports": ["memory"], "transport_options": {"memory": {"size": 1}}},
            "the transport 'memory' takes no options. Fix: remove transport_options.memory.size",
        ),
        (
            {"transports": ["line"], "transport_options": {"lime": {"port": 7}}},
            "the transport of transport_options is 'lime'. Fix: give one of",
        ),
    ],
)
def test_a_wrong_setting_of_transports_is_one_line(
    installed: None, values: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        carriers(**values)
