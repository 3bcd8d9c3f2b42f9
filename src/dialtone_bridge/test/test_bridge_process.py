"""How a bridge process and its server start, meet, restart and end."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import suppress
from pathlib import Path

import nats
import nats.errors
import pytest
from bridge_rig import Peer, Rig, until
from geometry_msgs.msg import TwistStamped
from std_msgs.msg import String

from dialtone_core.aio import timeout
from dialtone_core.paths import RobotFile


async def test_the_bridge_may_start_before_its_server(rig: Rig, peer: Peer) -> None:
    bridge = rig.start_bridge()
    publisher = peer.node.create_publisher(String, "chatter", 10)
    await until(lambda: "trying on" in bridge.text())
    assert RobotFile.read(rig.robot) is None
    rig.start_server()
    await rig.file()
    listener = await nats.connect(rig.nats_url)
    inbox = await listener.subscribe(f"dt.{rig.robot}.tlm.chatter")
    await listener.flush()
    await until(lambda: publisher.get_subscription_count() > 0)
    publisher.publish(String(data="late"))
    assert b"late" in (await inbox.next_msg(timeout=5)).data
    await listener.close()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
async def test_the_runtime_file_lives_as_long_as_the_bridge(
    rig: Rig, client: nats.NATS, signum: int
) -> None:
    bridge = rig.start_bridge()
    found = await rig.file()
    assert found.pid == bridge.process.pid
    assert found.nats_url == rig.nats_url
    assert found.foxglove_url.startswith("ws://127.0.0.1:")
    assert bridge.stop(signum) == 0
    assert RobotFile.read(rig.robot) is None


async def test_a_foxglove_port_in_use_is_one_line_and_exit_2(rig: Rig, client: nats.NATS) -> None:
    bridge = rig.start_bridge(foxglove_port=rig.port)
    assert await asyncio.to_thread(bridge.process.wait, 15) == 2
    lines = [line for line in bridge.text().splitlines() if "FATAL" in line]
    assert len(lines) == 1
    assert f":{rig.port}" in lines[0]
    assert "Fix:" in lines[0]


async def test_a_server_port_in_use_is_one_line_and_exit_2(rig: Rig, client: nats.NATS) -> None:
    second = rig.start_server()
    assert await asyncio.to_thread(second.process.wait, 15) == 2
    assert second.text().count("\n") == 1
    assert str(rig.port) in second.text()


async def test_the_server_dies_with_whoever_started_it(rig: Rig) -> None:
    script = (
        "import subprocess, sys\n"
        f"p = subprocess.Popen([sys.executable, '-m', 'dialtone_bridge.nats_server',"
        f" '--robot', '{rig.robot}', '--port', '{rig.port}', '--ros-args', '-r', 'x:=y'])\n"
        "print(p.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        script,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    command = Path(f"/proc/{pid}/cmdline")
    await until(lambda: b"nats-server" in command.read_bytes())
    parent.kill()
    await parent.wait()
    await until(lambda: not command.exists() or not command.read_bytes())


async def test_telemetry_resumes_after_the_server_was_killed_and_nothing_stale_comes(
    rig: Rig, peer: Peer, client: nats.NATS
) -> None:
    server = rig.children[0]
    bridge = rig.start_bridge()
    heard = peer.listen(TwistStamped, "cmd_vel/nats")
    publisher = peer.node.create_publisher(String, "chatter", 10)
    subject = f"dt.{rig.robot}.tlm.chatter"
    inbox = await client.subscribe(subject)
    await rig.file()
    await until(lambda: publisher.get_subscription_count() > 0)
    server.stop(signal.SIGKILL)
    await until(lambda: "disconnected" in bridge.text())
    for _ in range(50):
        publisher.publish(String(data="stale"))
    rig.start_server()
    await until(lambda: bridge.text().count("connected to") == 2)
    await until(lambda: client.is_connected)
    async with timeout(15):
        message = None
        while message is None:
            publisher.publish(String(data="fresh"))
            with suppress(nats.errors.TimeoutError):
                message = await inbox.next_msg(timeout=0.2)
        assert b"fresh" in message.data
        while not heard:
            await client.publish(f"dt.{rig.robot}.cmd.cmd_vel", b'{"linear":{"x":0.1}}')
            await asyncio.sleep(0.05)
