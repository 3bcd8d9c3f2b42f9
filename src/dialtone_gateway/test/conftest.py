"""A real NATS server, a gateway on a free port, a camera that publishes, and people who log in."""

from __future__ import annotations

import asyncio
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import nats
import pytest
from nats.aio.client import Client

from dialtone_core.aio import timeout
from dialtone_core.ports import free_ports, is_free
from dialtone_gateway.app import Gateway
from dialtone_gateway.params import GatewayParams
from dialtone_gateway.roles import Role

_BESIDE = Path(sys.executable).parent / "nats-server"
SERVER = str(_BESIDE) if _BESIDE.exists() else shutil.which("nats-server") or "nats-server"
PASSWORD = "correct horse"
#: The smallest start of a JPEG that has a size: SOI, SOF0 of 8 × 6 pixels.
TINY_JPEG = b"\xff\xd8\xff\xc0\x00\x0b\x08\x00\x06\x00\x08\x01\x01\x11\x00"


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[str]:
    """The URL of a server of its own; JetStream off."""
    (port,) = free_ports(1)
    command = [SERVER, "-a", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline_s = time.monotonic() + 10
    while is_free(port):
        if time.monotonic() > deadline_s or process.poll() is not None:
            pytest.fail("nats-server did not listen")
    yield f"nats://127.0.0.1:{port}"
    process.kill()
    process.wait()


@pytest.fixture
async def bus(nats_server: str) -> AsyncIterator[Client]:
    """A client that plays the robot."""
    client = await nats.connect(nats_server)
    yield client
    await client.close()


class Person:
    """Somebody with a browser: an HTTP session with cookies, and the header against CSRF."""

    def __init__(self, gateway: Gateway, http: aiohttp.ClientSession) -> None:
        self.gateway = gateway
        self.http = http
        self.token = ""
        self.session = ""

    def url(self, path: str) -> str:
        return self.gateway.url + path

    async def log_in(self, user: str, password: str = PASSWORD) -> int:
        body = {"uuid": user, "password": password}
        async with self.http.post(self.url("/login"), json=body) as response:
            answer = await response.json()
            self.token = answer.get("token", "")
            self.session = answer.get("session", "")
            return response.status

    async def get(self, path: str, **options: Any) -> tuple[int, Any]:
        async with self.http.get(self.url(path), **options) as response:
            is_json = response.content_type == "application/json"
            return response.status, await (response.json() if is_json else response.read())

    async def post(self, path: str, **options: Any) -> tuple[int, Any]:
        headers = {"X-Dialtone": "1", **options.pop("headers", {})}
        async with self.http.post(self.url(path), headers=headers, **options) as response:
            is_json = response.content_type == "application/json"
            return response.status, await (response.json() if is_json else response.read())


class Lab:
    """Makes gateways and people, and takes them away again."""

    def __init__(self, home: Path, nats_url: str) -> None:
        self.home = home
        self.nats_url = nats_url
        self.clock: Any = None
        self._gateways: list[Gateway] = []
        self._sessions: list[aiohttp.ClientSession] = []

    async def gateway(self, params: GatewayParams | None = None, **options: Any) -> Gateway:
        """An open gateway with the accounts vera (viewer), otto (operator), ada (admin)."""
        base = params or GatewayParams()
        given = replace(base, nats_url=self.nats_url, port=0, **options)
        made = Gateway(given, self.clock)
        self._gateways.append(made)
        await made.open()
        roles = {"vera": Role.VIEWER, "otto": Role.OPERATOR, "ada": Role.ADMIN}
        known = made.accounts.users()
        for name, role in roles.items():
            if name not in known:
                await asyncio.to_thread(made.accounts.put, name, PASSWORD, role)
        return made

    async def person(self, gateway: Gateway, user: str = "", **options: Any) -> Person:
        jar = aiohttp.CookieJar(unsafe=True)
        http = aiohttp.ClientSession(cookie_jar=jar, **options)
        self._sessions.append(http)
        person = Person(gateway, http)
        if user:
            assert await person.log_in(user) == 200
        return person

    async def aclose(self) -> None:
        for http in self._sessions:
            await http.close()
        for gateway in self._gateways:
            await gateway.aclose()


@pytest.fixture
async def lab(
    tmp_path: Path, nats_server: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Lab]:
    monkeypatch.setenv("DIALTONE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DIALTONE_PASSWORD", PASSWORD)
    monkeypatch.delenv("DIALTONE_SHARED_SECRET", raising=False)
    # Each test has accounts of its own; test_users.py holds the real cost.
    monkeypatch.setattr("dialtone_gateway.auth.accounts._MEMORY_KIB", 64)
    made = Lab(tmp_path / "home", nats_server)
    yield made
    await made.aclose()


@pytest.fixture
def no_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long for the first picture of a camera that is not there."""
    monkeypatch.setattr("dialtone_gateway.video.mjpeg._FIRST_FRAME_S", 0.05)


class Camera:
    """Publishes pictures as the bridge does."""

    subject = "dt.rover.tlm.camera.front.image_raw.compressed"

    def __init__(self, bus: Client) -> None:
        self.bus = bus
        self.seq = 0
        self.shot_ns: dict[int, int] = {}
        self._task: asyncio.Task[None] | None = None

    async def shoot(self, jpeg: bytes = TINY_JPEG) -> int:
        self.seq += 1
        self.shot_ns[self.seq] = time.time_ns()
        headers = {
            "Dt-Type": "sensor_msgs/msg/CompressedImage",
            "Dt-Encoding": "jpeg",
            "Dt-Stamp-Ns": str(self.shot_ns[self.seq]),
            "Dt-Seq": str(self.seq),
        }
        await self.bus.publish(self.subject, jpeg, headers=headers)
        return self.seq

    def roll(self, jpeg: bytes = TINY_JPEG, period_s: float = 0.01) -> None:
        """Go on shooting until the test ends."""

        async def go_on() -> None:
            while True:
                await self.shoot(jpeg)
                await asyncio.sleep(period_s)

        self._task = asyncio.create_task(go_on())

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})


@pytest.fixture
async def camera(bus: Client) -> AsyncIterator[Camera]:
    made = Camera(bus)
    yield made
    await made.aclose()


async def _eventually(
    look: Callable[[], Awaitable[Any]] | Callable[[], Any], within_s: float = 5.0
) -> Any:
    """The first true answer of ``look``; fails where none comes in time."""
    try:
        async with timeout(within_s):
            while True:
                answer = look()
                if asyncio.iscoroutine(answer):
                    answer = await answer
                if answer:
                    return answer
                await asyncio.sleep(0.005)
    except asyncio.TimeoutError:
        pytest.fail(f"not so within {within_s} s")


@pytest.fixture
def eventually() -> Callable[..., Awaitable[Any]]:
    return _eventually


class Cdr:
    """Writes little-endian XCDR1, for messages that the gateway reads."""

    def __init__(self) -> None:
        self.body = bytearray()

    def u8(self, value: int) -> Cdr:
        self.body.append(value)
        return self

    def u32(self, value: int) -> Cdr:
        self.body += b"\0" * (-len(self.body) % 4) + struct.pack("<I", value)
        return self

    def text(self, value: str) -> Cdr:
        data = value.encode() + b"\0"
        self.u32(len(data))
        self.body += data
        return self

    def header(self, frame: str = "base_link") -> Cdr:
        return self.u32(12).u32(34).text(frame)

    def done(self) -> bytes:
        return b"\0\1\0\0" + bytes(self.body)


@pytest.fixture
def cdr() -> type[Cdr]:
    return Cdr
