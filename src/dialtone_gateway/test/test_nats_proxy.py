"""Every role's subjects, through the gateway, on a server with the embedded server's users."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import nats
import pytest

from dialtone_core.aio import timeout
from dialtone_core.natsaccess import NatsAccess
from dialtone_core.ports import free_ports, is_free
from dialtone_gateway.params import GatewayParams


@pytest.fixture
def roles_server(lab: Any, tmp_path: Path) -> Iterator[str]:
    """A server configured as the embedded one."""
    port, websocket_port = free_ports(2)
    access = NatsAccess.create(websocket_port)
    access.write("rover")
    config = tmp_path / "server.conf"
    config.write_text(f'listen: "127.0.0.1:{port}"\n{access.config("rover")}')
    beside = Path(sys.executable).with_name("nats-server")
    process = subprocess.Popen(
        [str(beside) if beside.exists() else "nats-server", "-c", str(config)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline_s = time.monotonic() + 10
    while is_free(websocket_port) or is_free(port):
        assert time.monotonic() < deadline_s
        assert process.poll() is None
    yield f"nats://127.0.0.1:{port}"
    process.kill()
    process.wait()


@pytest.fixture
async def robot(lab: Any, roles_server: str) -> AsyncIterator[Any]:
    """A client that plays the robot, without a user, as every program of this machine may."""
    lab.nats_url = roles_server
    client = await nats.connect(roles_server)
    yield client
    await client.close()


class Browser:
    """Speaks NATS through ``/nats``."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse, me: dict[str, str]) -> None:
        self.ws = ws
        self.me = me
        self.text = b""

    async def say(self, data: bytes) -> bytes:
        """Send, then everything that came until the server answered a PING sent behind it."""
        await self.ws.send_bytes(data + b"PING\r\n")
        return await self.until(b"PONG\r\n")

    async def publish(self, subject: str, body: object) -> bytes:
        data = json.dumps(body).encode()
        return await self.say(f"PUB {subject} {len(data)}\r\n".encode() + data + b"\r\n")

    async def until(self, end: bytes) -> bytes:
        async with timeout(5):
            while end not in self.text:
                message = await self.ws.receive()
                if message.type is not aiohttp.WSMsgType.BINARY:
                    return self.text
                self.text += message.data
        seen, _, self.text = self.text.partition(end)
        return seen


async def browse(person: Any) -> Browser:
    status, me = await person.get("/api/v1/nats")
    assert status == 200
    ws = await person.http.ws_connect(person.url(me["path"]))
    browser = Browser(ws, me)
    await browser.until(b"\r\n")
    connect = {"user": me["user"], "pass": me["password"], "verbose": False, "headers": True}
    said = await browser.say(b"CONNECT " + json.dumps(connect).encode() + b"\r\n")
    assert b"-ERR" not in said
    return browser


PUBLISH = {
    "dt.rover.cmd.cmd_vel": {"operator", "admin"},
    "dt.rover.cmd.neck.command": {"operator", "admin"},
    "dt.rover.srv.teleop.status": {"viewer", "operator", "admin"},
    "dt.rover.srv.recorder.status": {"viewer", "operator", "admin"},
    "dt.rover.srv.bridge.routes": {"viewer", "operator", "admin"},
    "dt.rover.srv.teleop.estop.fire": {"viewer", "operator", "admin"},
    "dt.rover.srv.teleop.estop": {"operator", "admin"},
    "dt.rover.srv.ros.teleop.estop": {"operator", "admin"},
    "dt.rover.srv.teleop.arm": {"operator", "admin"},
    "dt.rover.srv.teleop.lease.acquire": {"operator", "admin"},
    "dt.rover.srv.teleop.lease.force": {"admin"},
    "dt.rover.srv.recorder.start": {"operator", "admin"},
    "dt.rover.srv.ros.some.service": {"operator", "admin"},
    "dt.rover.tlm.odom": {"admin"},
    "dt.rover.evt.teleop.estop": {"admin"},
    "dt.other.cmd.cmd_vel": set(),
    "$JS.API.STREAM.CREATE.mine": set(),
    "$JS.API.STREAM.DELETE.KV_dt_rover_last": set(),
    "$SYS.REQ.SERVER.PING": set(),
    "$SRV.PING": {"viewer", "operator", "admin"},
    "$SRV.INFO": {"admin"},
    "_INBOX.somebody.1": set(),
}
SUBSCRIBE = {
    "dt.rover.tlm.odom": {"viewer", "operator", "admin"},
    "dt.rover.tlm.>": {"viewer", "operator", "admin"},
    "dt.rover.evt.>": {"viewer", "operator", "admin"},
    "dt.*.evt.online": {"viewer", "operator", "admin"},
    "_INBOX.mine.*": {"viewer", "operator", "admin"},
    "_INBOX.>": set(),
    "dt.rover.cmd.>": {"admin"},
    "dt.rover.srv.>": {"admin"},
    "dt.other.tlm.>": {"admin"},
    "$SYS.>": set(),
    ">": set(),
}


@pytest.mark.parametrize(
    ("user", "role"), [("vera", "viewer"), ("otto", "operator"), ("ada", "admin")]
)
async def test_every_role_may_use_its_subjects_and_no_other(
    lab: Any, robot: Any, user: str, role: str
) -> None:
    gateway = await lab.gateway()
    browser = await browse(await lab.person(gateway, user))
    for subject, roles in PUBLISH.items():
        said = await browser.say(f"PUB {subject} 2\r\n{{}}\r\n".encode())
        assert (b"Permissions Violation" not in said) == (role in roles), subject
    for number, (subject, roles) in enumerate(SUBSCRIBE.items(), 1):
        said = await browser.say(f"SUB {subject} {number}\r\n".encode())
        assert (b"Permissions Violation" not in said) == (role in roles), subject


@pytest.mark.parametrize("role", ["viewer", "operator", "admin"])
async def test_the_server_itself_holds_each_role_to_its_subjects(robot: Any, role: str) -> None:
    """As somebody who got hold of the role's password and goes round the gateway."""
    access = NatsAccess.read("rover")
    assert access is not None
    heard: list[str] = []

    async def note(message: Any) -> None:
        heard.append(message.subject)

    await robot.subscribe("dt.>", cb=note)
    await robot.flush()
    async with aiohttp.ClientSession() as http, http.ws_connect(access.websocket_url) as ws:
        browser = Browser(ws, {})
        connect = {"user": role, "pass": access.passwords[role], "verbose": False}
        await browser.say(b"CONNECT " + json.dumps(connect).encode() + b"\r\n")
        for subject, roles in PUBLISH.items():
            if subject.startswith("_INBOX"):
                continue  # the gateway's own rule
            said = await browser.say(f"PUB {subject} 2\r\n{{}}\r\n".encode())
            assert (b"Permissions Violation" not in said) == (role in roles), subject
        for number, (subject, roles) in enumerate(SUBSCRIBE.items(), 1):
            said = await browser.say(f"SUB {subject} {number}\r\n".encode())
            may = role in roles or subject == "_INBOX.>"
            assert (b"Permissions Violation" not in said) == may, subject
    await robot.flush()
    allowed = {each for each, roles in PUBLISH.items() if role in roles and each[:3] == "dt."}
    assert set(heard) == allowed


async def test_what_a_browser_asks_reaches_the_robot_in_its_own_name(lab: Any, robot: Any) -> None:
    gateway = await lab.gateway()
    otto = await browse(await lab.person(gateway, "otto"))
    heard = await robot.subscribe("dt.*.srv.teleop.>")
    await robot.flush()
    await otto.publish("dt.rover.srv.teleop.lease.acquire", {"operator": "ada/1"})
    await otto.publish("dt.rover.srv.teleop.lease.acquire", {"role": "admin"})
    await otto.publish("dt.rover.srv.teleop.estop", {"active": False})
    message = await heard.next_msg(5)
    assert message.subject == "dt.rover.srv.teleop.estop"
    assert json.loads(message.data) == {
        "active": False, "operator": otto.me["operator"], "role": "operator",
    }  # fmt: skip


async def test_commands_and_telemetry_flow(lab: Any, robot: Any) -> None:
    gateway = await lab.gateway()
    otto = await lab.person(gateway, "otto")
    browser = await browse(otto)
    heard = await robot.subscribe("dt.rover.cmd.>")
    await robot.flush()
    assert b"-ERR" not in await browser.say(b"SUB dt.rover.tlm.odom 1\r\n")
    body = {"linear": {"x": 1}, "operator": browser.me["operator"]}
    await browser.publish("dt.rover.cmd.cmd_vel", body)
    assert json.loads((await heard.next_msg(5)).data) == body
    await robot.publish("dt.rover.tlm.odom", b"where")
    assert b"MSG dt.rover.tlm.odom 1 5" in await browser.until(b"where\r\n")


async def test_credentials_of_one_login_are_worth_nothing_to_another(lab: Any, robot: Any) -> None:
    gateway = await lab.gateway()
    vera = await lab.person(gateway, "vera")
    stolen = (await (await lab.person(gateway, "otto")).get("/api/v1/nats"))[1]
    ws = await vera.http.ws_connect(vera.url("/nats"))
    await ws.receive(5)
    connect = {"user": stolen["user"], "pass": stolen["password"]}
    await ws.send_bytes(b"CONNECT " + json.dumps(connect).encode() + b"\r\n")
    assert b"Authorization Violation" in (await ws.receive(5)).data
    assert (await ws.receive(5)).type is aiohttp.WSMsgType.CLOSE


async def test_without_a_user_the_websocket_listener_lets_nobody_do_anything(
    lab: Any, robot: Any
) -> None:
    access = NatsAccess.read("rover")
    assert access is not None
    async with aiohttp.ClientSession() as http:
        async with http.ws_connect(access.websocket_url) as ws:
            await ws.receive(5)
            await ws.send_bytes(b'CONNECT {"verbose":false}\r\nSUB > 1\r\nPUB a 0\r\n\r\nPING\r\n')
            said = (await ws.receive(5)).data
            assert said.count(b"Permissions Violation") == 2
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await http.ws_connect(access.websocket_url, origin="https://evil.example")


async def test_a_logout_ends_the_nats_connection(lab: Any, robot: Any) -> None:
    gateway = await lab.gateway()
    otto = await lab.person(gateway, "otto")
    browser = await browse(otto)
    await otto.post("/logout")
    assert (await browser.ws.receive(5)).type in (
        aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR,
    )  # fmt: skip


async def test_a_browser_that_does_not_read_is_let_go_and_the_robot_publishes_on(
    lab: Any, robot: Any, eventually: Any
) -> None:
    gateway = await lab.gateway()
    vera = await lab.person(gateway, "vera")
    browser = await browse(vera)
    await browser.say(b"SUB dt.rover.tlm.> 1\r\n")
    browser.ws._response.connection.transport.pause_reading()  # type: ignore[union-attr]
    began_s, payload = time.monotonic(), b"x" * 500_000
    for _ in range(60):
        await robot.publish("dt.rover.tlm.big", payload)
        await robot.flush()
    assert time.monotonic() - began_s < 5
    await eventually(lambda: len(gateway.connections) == 0)


async def test_without_a_listener_the_reason_is_told(lab: Any) -> None:
    gateway = await lab.gateway()
    vera = await lab.person(gateway, "vera")
    status, body = await vera.get("/api/v1/nats")
    assert status == 503
    assert "nats_ws_url" in body["error"]


async def test_a_dead_nats_server_is_503(lab: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("DIALTONE_NATS_VIEWER", "x")
    (port,) = free_ports(1)
    gateway = await lab.gateway(GatewayParams(nats_ws_url=f"ws://127.0.0.1:{port}"))
    vera = await lab.person(gateway, "vera")
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await vera.http.ws_connect(vera.url("/nats"))
    assert caught.value.status == 503
