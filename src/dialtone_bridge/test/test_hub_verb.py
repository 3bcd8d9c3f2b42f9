"""``dialtone hub`` and ``dialtone fleet`` as somebody types them."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
from bridge_rig import Child, Rig, until
from typer.testing import CliRunner

from dialtone_bridge.hub import HubSettings, Members, write_config
from dialtone_bridge.verbs.fleet import fleet
from dialtone_bridge.verbs.hub import hub
from dialtone_core.errors import DialtoneError
from dialtone_core.natslink import connect
from dialtone_core.ports import free_ports, is_free

_RUN = "import sys; from dialtone_bridge.verbs.hub import hub; hub(sys.argv[1:])"


def say(*words: str) -> str:
    """One call of ``dialtone hub``; what it printed."""
    result = CliRunner().invoke(hub, words)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


async def test_members_come_and_go_while_the_hub_runs(rig: Rig, tmp_path: Path) -> None:
    port, leaf_port = free_ports(2)
    name = ["--name", f"hub{port}"]
    ports = ["--port", str(port), "--leaf-port", str(leaf_port)]
    child = Child(tmp_path / "hub.log", sys.executable, "-c", _RUN, "run", *name, *ports)
    rig.children.append(child)
    await until(lambda: not is_free(port))
    key = tmp_path / "ada.nk"
    say("add", "ada", "--role", "viewer", "--out", str(key), *name)
    url = f"nats://127.0.0.1:{port}"
    states: list[bool] = []
    ada = await connect(url, "ada", credentials=str(key), on_state=lambda up, _: states.append(up))
    assert ada.is_connected
    assert "viewer" in say("members", *name)
    words = ["ls", "--url", url, "--credentials", str(key), "--json"]
    listed = await asyncio.to_thread(CliRunner().invoke, fleet, words)
    assert json.loads(listed.output) == {"robots": []}
    say("remove", "ada", *name)
    await until(lambda: not states[-1])
    await ada.close()
    seed = key.read_text(encoding="ascii").strip()
    assert seed not in child.text()
    assert seed not in (Members.load(name[1]).folder / "server.conf").read_text()
    assert child.stop() == 0


def test_what_cannot_be_is_one_line(tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "x.nk")]
    with pytest.raises(DialtoneError, match="no role"):
        say("add", "ada", "--role", "king", *out)
    with pytest.raises(DialtoneError, match="not usable"):
        say("add", "Ada.>", *out)
    with pytest.raises(DialtoneError, match="no member"):
        say("remove", "nobody")
    with pytest.raises(DialtoneError, match="hub's own program"):
        say("add", "manager", "--role", "viewer", *out)
    with pytest.raises(DialtoneError, match="cannot be named fleet1: so is the hub"):
        say("add", "fleet1", "--name", "fleet1", *out)


def test_a_pid_that_a_hub_left_behind_is_no_reason_to_end_a_stranger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIALTONE_HOME", str(tmp_path))
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        config = write_config(HubSettings("old"), Members.load("old"))
        config.with_name("pid").write_text(f"{stranger.pid}\n")
        say("add", "rover", "--name", "old", "--out", str(tmp_path / "rover.nk"))
        with pytest.raises(subprocess.TimeoutExpired):
            stranger.wait(0.5)
    finally:
        stranger.kill()
        stranger.wait()
