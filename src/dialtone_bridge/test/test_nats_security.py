"""The embedded server's roles, tried on a real one, and where its secrets are not."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import nats
import orjson
import psutil
import pytest
import pytest_asyncio
from bridge_rig import Rig, until
from feed_rig import Inbox, Said

from dialtone_bridge.nats_server import Hub, ServerPorts
from dialtone_bridge.transports.nats import NatsSettings, NatsTransport
from dialtone_core.aio import end_task
from dialtone_core.errors import DialtoneError
from dialtone_core.natsaccess import KEY_ROLES, NatsAccess, NatsKeys
from dialtone_core.natslink import connect
from dialtone_core.natsserve import serve
from dialtone_core.ports import is_free


class Guest:
    """A client of one role, with what the server refused it."""

    def __init__(self) -> None:
        self.refused: list[str] = []
        self.client = nats.NATS()
        self._asked = 0

    async def open(self, url: str, **options: Any) -> Guest:
        async def on_error(error: Exception) -> None:
            self.refused.append(str(error).lower())

        await self.client.connect(url, error_cb=on_error, allow_reconnect=False, **options)
        return self

    async def may_publish(self, subject: str) -> bool:
        await self.client.publish(subject, b"{}")
        # The API under the server's own domain is mapped to the plain one, then judged.
        named = re.sub(r"^\$JS\.\w+\.API", "$JS.API", subject)
        return await self._passed(f'publish to "{named}"', f'publish to "{subject}"')

    async def may_subscribe(self, subject: str) -> bool:
        await self.client.subscribe(subject)
        return await self._passed(f'subscription to "{subject}"')

    async def _passed(self, *whats: str) -> bool:
        """Judged by the refusal's own words, once something later was refused for sure.

        Refusals come in order; the answer to a ping may overtake them.
        """
        self._asked += 1
        last = f"$SYS.refused.{self._asked}"
        await self.client.publish(last, b"")
        await until(lambda: any(f'"{last.lower()}"' in each for each in self.refused))
        return not any(what.lower() in each for what in whats for each in self.refused)


async def knock(port: int) -> bytes:
    """What the server says to somebody without credentials until it hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        await reader.readline()
        hello = {"name": "x", "server_id": "x", "headers": True, "proto": 1, "verbose": False}
        writer.write(b"CONNECT " + orjson.dumps(hello) + b"\r\nPING\r\n")
        return await asyncio.wait_for(reader.read(), 5)
    finally:
        writer.close()


@pytest_asyncio.fixture
async def guests(rig: Rig) -> AsyncIterator[dict[str, Guest]]:
    """A client of each role, and a plain one, on an open server."""
    rig.start_server()
    await until(lambda: not is_free(rig.port))
    seeds = NatsKeys.load(rig.robot).seeds
    found = {
        role: await Guest().open(rig.nats_url, nkeys_seed_str=seeds[role]) for role in KEY_ROLES
    }
    found["local"] = await Guest().open(rig.nats_url)
    yield found
    for guest in found.values():
        await guest.client.close()


#: What may be published (+) or subscribed to (<) by: robot, viewer, operator, admin, local.
_TABLE = {
    "+ dt.R.cmd.cmd_vel": "yes no yes yes yes",
    "+ dt.R.tlm.odom": "yes no no yes no",
    "+ dt.R.evt.online": "yes no no yes no",
    "+ dt.R.srv.teleop.estop.fire": "yes yes yes yes yes",
    "+ dt.R.srv.teleop.estop": "yes no yes yes yes",
    "+ dt.R.srv.ros.teleop.estop": "yes no yes yes yes",
    "+ dt.R.srv.teleop.arm": "yes no yes yes yes",
    "+ dt.R.srv.teleop.lease.force": "yes no no yes no",
    "+ dt.other.cmd.cmd_vel": "no no no no yes",
    "+ $KV.dt_R_last.odom": "yes no no no no",
    "+ $JS.API.STREAM.DELETE.KV_dt_R_last": "yes no no no no",
    "+ $JS.API.DIRECT.GET.KV_dt_R_last.odom": "yes yes yes yes yes",
    "+ $JS.API.STREAM.INFO.KV_dt_presence": "yes yes yes yes yes",
    "+ $JS.API.CONSUMER.CREATE.KV_dt_presence": "yes no no no no",
    "+ $JS.API.CONSUMER.CREATE.KV_dt_presence.x.$KV.>": "yes no no no no",
    "+ $JS.API.CONSUMER.CREATE.KV_dt_R_last.x": "yes no no no no",
    "+ $JS.API.CONSUMER.DURABLE.CREATE.KV_dt_presence.x": "yes no no no no",
    "+ $JS.API.CONSUMER.MSG.NEXT.dt_R_durable.x": "yes no no no no",
    "+ $JS.API.CONSUMER.DELETE.dt_R_durable.hub": "yes no no no no",
    "+ $JS.R.API.CONSUMER.DELETE.dt_R_durable.hub": "yes no no no no",
    "+ $JS.R.API.STREAM.DELETE.dt_R_durable": "yes no no no no",
    "+ $JS.API.STREAM.SNAPSHOT.dt_R_durable": "yes no no no no",
    "+ $JS.ACK.dt_R_durable.hub.1.1.1.1.1": "yes no no no no",
    "+ dt.R.sync.pong": "yes no no yes no",
    "< dt.R.tlm.>": "yes yes yes yes yes",
    "< dt.R.srv.teleop.>": "yes no no yes no",
    "< dt.R.cmd.>": "yes no no yes yes",
    "< _INBOX.>": "yes no yes yes yes",
    "< _INBOX.*.x": "yes no yes yes yes",
    "< _INBOX.somebody.*": "yes no yes yes yes",
    "< _INBOX.viewer.x.*": "yes yes yes yes yes",
}


async def test_each_role_may_do_what_the_table_says(rig: Rig, guests: dict[str, Guest]) -> None:
    wrong = []
    for row, answers in _TABLE.items():
        kind, subject = row.split()
        subject = subject.replace("dt.R.", f"dt.{rig.robot}.").replace("_R_", f"_{rig.robot}_")
        subject = subject.replace("$JS.R.", f"$JS.{rig.robot}.")
        for role, expected in zip(
            ("robot", "viewer", "operator", "admin", "local"), answers.split(), strict=True
        ):
            guest = guests[role]
            may = guest.may_publish if kind == "+" else guest.may_subscribe
            if await may(subject) is not (expected == "yes"):
                wrong.append(f"{role} {row}")
    assert wrong == []


async def test_a_viewers_own_client_gets_its_answers(rig: Rig, guests: dict[str, Guest]) -> None:
    await serve(guests["robot"].client, rig.robot, "bridge", "0.1.0", {"routes": _answer})
    key = ServerPorts.path(rig.robot).parent / "viewer.nk"
    viewer = await connect(rig.nats_url, "viewer", credentials=str(key))
    reply = await viewer.request(f"dt.{rig.robot}.srv.bridge.routes", b"{}", timeout=5)
    assert orjson.loads(reply.data) == {"ok": True, "done": True}
    await viewer.close()


async def test_no_answer_to_a_viewer_is_a_request_or_a_command(
    rig: Rig, guests: dict[str, Guest]
) -> None:
    done: list[str] = []

    async def note(body: dict[str, Any]) -> dict[str, Any]:
        done.append("discard")
        return {}

    robot, viewer = guests["robot"].client, guests["viewer"].client
    commands = await robot.subscribe(f"dt.{rig.robot}.cmd.>")
    heard = await robot.subscribe(f"dt.{rig.robot}.srv.recorder.discard")
    await serve(robot, rig.robot, "recorder", "0.1.0", {"discard": note})
    await serve(robot, rig.robot, "bridge", "0.1.0", {"routes": _answer, "status": _answer})
    await robot.flush()
    for asked in (f"dt.{rig.robot}.srv.bridge.routes", "$SRV.PING", "$JS.API.INFO"):
        for forged in ("cmd.cmd_vel", "srv.recorder.discard"):
            await viewer.publish(asked, b"", reply=f"dt.{rig.robot}.{forged}")
    await viewer.flush()
    for _ in range(3):  # what the server and the library answer goes there, and has no effect
        await heard.next_msg(timeout=5)
    await robot.request(f"dt.{rig.robot}.srv.bridge.routes", b"", timeout=5)
    assert done == []
    said = [(await commands.next_msg(timeout=5)).data for _ in range(3)]
    assert not any(b"done" in each for each in said)
    assert commands.pending_msgs == 0


async def _answer(_: dict[str, Any]) -> dict[str, Any]:
    return {"done": True}


async def test_a_closed_server_lets_in_those_with_a_key_only(rig: Rig) -> None:
    rig.start_closed_server()
    await until(lambda: not is_free(rig.port))
    assert b"Authorization Violation" in await knock(rig.port)
    ours = await connect(rig.nats_url, "ours")
    assert ours.is_connected
    await ours.close()


async def test_the_leaf_port_is_closed_to_those_without_its_password(rig: Rig) -> None:
    rig.start_server()
    await until(lambda: ServerPorts.read(rig.robot))
    ports = ServerPorts.read(rig.robot)
    assert ports is not None
    await until(lambda: not is_free(ports.leaf_port))
    assert b"Authorization Violation" in await knock(ports.leaf_port)


def _secrets(robot: str) -> list[str]:
    access, ports = NatsAccess.read(robot), ServerPorts.read(robot)
    assert access is not None
    assert ports is not None
    return [*access.passwords.values(), *NatsKeys.load(robot).seeds.values(), ports.leaf_password]


async def test_no_secret_is_in_logs_arguments_environments_or_files_that_others_read(
    rig: Rig,
) -> None:
    rig.start_server()
    rig.start_bridge()
    found = await rig.file()
    for child in rig.children:
        process = psutil.Process(child.process.pid)
        seen = " ".join(
            [*process.cmdline(), *process.environ().values(), child.text(), repr(found)]
        )
        assert [each for each in _secrets(rig.robot) if each in seen] == []
    folder = ServerPorts.path(rig.robot).parent
    files = [path for path in folder.iterdir() if path.is_file()]
    assert {"server.conf", "access.json", "ports.json", "robot.nk"} <= {p.name for p in files}
    assert [path.name for path in files if path.stat().st_mode & 0o077] == []


async def test_a_url_with_a_password_in_it_stops_the_start_without_repeating_it(rig: Rig) -> None:
    bridge = rig.start_bridge(nats_url="nats://ada:hunter2@127.0.0.1:4222")
    await until(lambda: bridge.process.poll() is not None)
    assert bridge.process.returncode == 2
    assert "must not hold a password" in bridge.text()
    assert "hunter2" not in bridge.text()


async def test_wrong_credentials_are_said_once_and_asked_again_slowly(
    rig: Rig, tmp_path: Path
) -> None:
    rig.start_closed_server()
    await until(lambda: not is_free(rig.port))
    login = tmp_path / "login"
    login.write_text("user=ada\npassword=wrong\n")
    login.chmod(0o600)
    bridge = rig.start_bridge(nats_credentials=str(login))
    await until(lambda: "Authorization Violation" in bridge.text())
    assert "Fix: " in bridge.text()
    assert "wrong" not in bridge.text()
    assert bridge.process.poll() is None, bridge.text()


async def test_what_its_server_denies_the_robot_is_said_and_it_is_not_well(
    rig: Rig,
) -> None:
    rig.start_server()
    await until(lambda: not is_free(rig.port))
    key = ServerPorts.path(rig.robot).parent / "viewer.nk"
    log = Said()
    transport = NatsTransport(NatsSettings(rig.robot, rig.nats_url, str(key)), Inbox(), log)
    await transport.open()
    running = asyncio.create_task(transport.run())
    await until(lambda: int(transport.health().values.get("troubles", 0)) > 6)
    health = transport.health()
    assert not health.ok
    assert health.message.startswith("connected, but permissions violation")
    said = [each for each in log.lines if "permissions violation" in each]
    assert len(said) == len(set(said)) == 4
    assert f'subscription to "dt.{rig.robot}.cmd.>". Fix: give nats_credentials' in said[0]
    await end_task(running)
    await transport.aclose()


async def test_a_robot_that_hears_another_of_its_name_says_so_and_is_not_well(rig: Rig) -> None:
    rig.start_server()
    await until(lambda: not is_free(rig.port))
    both = [NatsTransport(NatsSettings(rig.robot, rig.nats_url), Inbox(), Said()) for _ in "ab"]
    for each in both:
        await each.open()
    running = [asyncio.create_task(each.run()) for each in both]
    await until(lambda: all("name_clash" in each.health().message for each in both))
    assert not both[0].health().ok
    for task in running:
        await end_task(task)
    for each in both:
        await each.aclose()


def test_a_hub_is_named_by_url_and_its_secret_stands_in_the_config_only(tmp_path: Path) -> None:
    login = tmp_path / "hub"
    login.write_text("user=rover\npassword=a/b\n")
    login.chmod(0o600)
    assert (
        'nats://rover:a%2Fb@hub.example:7422"'
        in Hub("nats://hub.example:7422", str(login)).config()
    )
    login.write_text("token=s/1\n")
    assert 'nats://s%2F1@hub.example:7422"' in Hub("nats://hub.example:7422", str(login)).config()
    for wrong in ("hub.example:7422", "http://hub.example", "nats://u:p@hub.example"):
        with pytest.raises(DialtoneError):
            Hub(wrong).config()
