"""The executable: starts, says what is wrong, costs little, ends at once."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from dialtone_core.aio import timeout
from dialtone_core.ports import free_ports


class Program:
    """The gateway as a process of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.url = ""
        self._process: asyncio.subprocess.Process | None = None

    @property
    def process(self) -> asyncio.subprocess.Process:
        assert self._process is not None
        return self._process

    async def start(self, *arguments: str) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "dialtone_gateway.main", *arguments,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "DIALTONE_HOME": str(self.home)},
        )  # fmt: skip

    async def listening(self, robot: str = "rover") -> None:
        file = self.home / "gateway" / robot / "listening.json"
        async with timeout(20):
            while not file.exists():
                assert self.process.returncode is None
                await asyncio.sleep(0.01)
        self.url = json.loads(file.read_text())["url"]

    async def end(self, signum: int) -> tuple[int, float, str]:
        """Exit code, seconds that it took, and everything it said."""
        began_s = time.monotonic()
        self.process.send_signal(signum)
        said, _ = await asyncio.wait_for(self.process.communicate(), 10)
        return self.process.returncode or 0, time.monotonic() - began_s, said.decode()


@pytest.fixture
async def program(tmp_path: Path) -> AsyncIterator[Program]:
    made = Program(tmp_path / "home")
    yield made
    if made._process is not None and made.process.returncode is None:
        made.process.kill()
        await made.process.wait()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
async def test_it_ends_soon_whoever_watches(
    program: Program, nats_server: str, camera: Any, signum: int
) -> None:
    await program.start("--port", "0", "--nats-url", nats_server, "--insecure-local")
    await program.listening()
    camera.roll(b"\xff\xd8" + bytes(100_000), 0.02)
    async with aiohttp.ClientSession() as http:
        stream = await http.get(f"{program.url}/stream/front.mjpeg")
        await stream.content.readexactly(1000)
        ws = await http.ws_connect(f"{program.url}/ws/video/front")
        _, writer = await asyncio.open_connection("127.0.0.1", int(program.url.rpartition(":")[2]))
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x")
        code, took_s, said = await program.end(signum)
        writer.close()
        await ws.close()
        stream.close()
    assert code == 0
    assert took_s < 3.0, "else the supervisor kills it"
    assert "Traceback" not in said
    assert not (program.home / "gateway" / "rover" / "listening.json").exists()


async def test_it_waits_for_a_robot_that_is_not_there_and_stays_small(program: Program) -> None:
    (port,) = free_ports(1)
    await program.start("--port", "0", "--nats-url", f"nats://127.0.0.1:{port}", "--ros-args",
                        "-r", "__ns:=/robot2", "-p", "insecure_local:=true")  # fmt: skip
    await program.listening()
    async with aiohttp.ClientSession() as http:
        async with http.get(f"{program.url}/api/v1/robot") as response:
            assert (await response.json())["nats_connected"] is False
        assert (await http.get(f"{program.url}/snapshot/front.jpg")).status == 404
    assert psutil.Process(program.process.pid).memory_info().rss < 64 * 2**20
    code, _, said = await program.end(signal.SIGTERM)
    assert code == 0
    assert said.count("no link to nats") == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--port", "99999"), "port is 99999"),
        (("--nonsense", "1"), "unrecognized"),
        (("--insecure-local", "--bind", "0.0.0.0"), "insecure_local"),
        (("--robot", "Ärger"), "robot name"),
        (("--tunnel.url-pattern", "(", "--tunnel.command", "x"), "url_pattern"),
    ],
)
async def test_a_wrong_setting_is_one_line_and_exit_code_2(
    program: Program, arguments: tuple[str, ...], told: str
) -> None:
    await program.start("--port", "0", *arguments)
    said, _ = await asyncio.wait_for(program.process.communicate(), 20)
    lines = [line for line in said.decode().splitlines() if "CRITICAL" in line]
    assert program.process.returncode == 2
    assert len(lines) == 1
    assert told in lines[0]
    assert "Traceback" not in said.decode()


async def test_a_port_that_is_taken_is_told_with_the_fix(
    program: Program, unused_tcp_port: int
) -> None:
    server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", unused_tcp_port)
    await program.start("--port", str(unused_tcp_port))
    said, _ = await asyncio.wait_for(program.process.communicate(), 20)
    server.close()
    assert program.process.returncode == 2
    assert f"port {unused_tcp_port}" in said.decode()
    assert "--port" in said.decode()


@pytest.mark.parametrize(
    ("name", "text"), [("gateway/accounts.json", '{"users": {}}'), (".env", "DIALTONE_PASSWORD=x")]
)
async def test_secrets_that_others_can_read_stop_the_start(
    program: Program, name: str, text: str
) -> None:
    path = program.home / name
    path.parent.mkdir(parents=True)
    path.write_text(text)
    path.chmod(0o644)
    await program.start("--port", "0")
    said, _ = await asyncio.wait_for(program.process.communicate(), 20)
    assert program.process.returncode == 2
    assert "chmod 600" in said.decode()
