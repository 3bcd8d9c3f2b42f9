"""A robot speaks under its own name only, whatever runs on it: the hub, told lies by a leaf."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import nats
import nats.errors
import orjson
import pytest
import pytest_asyncio
from bridge_rig import Rig, until
from feed_rig import Inbox, Said
from hub_rig import Hub
from test_nats_security import Guest

from dialtone_bridge.hub_manager import HubManager
from dialtone_bridge.transports.nats import NatsSettings, NatsTransport
from dialtone_bridge.verbs.fleet import presence
from dialtone_core.aio import end_task, timeout
from dialtone_core.natsaccess import new_seed
from dialtone_core.natsauth import Login
from dialtone_core.natslink import connect
from dialtone_core.natsserve import serve
from dialtone_core.ports import is_free

#: Longer than the hub takes for anything here, on a machine with much else to do.
_PATIENCE_S = 20.0


class RudeLeaf:
    """A leaf node that keeps to no permission that it is told; with the robot's key."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.heard: list[bytes] = []

    async def say(self, *lines: bytes) -> None:
        """Send ``lines``; returns when the hub has answered or hung up."""
        try:
            self._writer.write(b"".join(line + b"\r\n" for line in (*lines, b"PING")))
            await self.listen(b"PONG")
        except ConnectionError:
            return

    async def listen(self, until_seen: bytes) -> None:
        async with timeout(_PATIENCE_S):
            while line := await self._reader.readline():
                self.heard.append(line)
                if line.startswith(until_seen):
                    return


@asynccontextmanager
async def rude_leaf(hub: Hub) -> AsyncIterator[RudeLeaf]:
    async with timeout(_PATIENCE_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", hub.leaf_port)
        info = orjson.loads((await reader.readline()).removeprefix(b"INFO "))
    login = Login(seed=hub.key.read_text(encoding="ascii").strip())
    hello = {"name": "rude", "server_id": "rude", "headers": True, "proto": 1}
    writer.write(b"CONNECT " + orjson.dumps({**hello, **login.hello(info["nonce"])}) + b"\r\n")
    leaf = RudeLeaf(reader, writer)
    try:
        await leaf.say()
        yield leaf
    finally:
        writer.transport.abort()


@pytest_asyncio.fixture
async def ear(hub: Hub) -> AsyncIterator[nats.NATS]:
    """Somebody at the hub who may hear and say everything."""
    await until(lambda: not is_free(hub.port) and not is_free(hub.leaf_port))
    made = await connect(hub.url, "ear", credentials=hub.admin)
    await until(lambda: made.is_connected)
    yield made
    await made.close()


async def test_what_a_robot_says_in_anothers_name_reaches_nobody(
    rig: Rig, hub: Hub, ear: nats.NATS
) -> None:
    heard = await ear.subscribe("dt.>")
    await ear.flush(timeout=10)
    lies = ["cmd.cmd_vel", "tlm.odom", "evt.online", "evt.presence", "srv.teleop.arm"]
    for lie in lies:
        async with rude_leaf(hub) as leaf:
            await leaf.say(f"LMSG dt.victim.{lie} 2\r\n{{}}".encode())
    async with rude_leaf(hub) as leaf:
        await leaf.say(f"LMSG dt.{rig.robot}.cmd.cmd_vel 2\r\n{{}}".encode())  # not even its own
    async with rude_leaf(hub) as leaf:
        await leaf.say(f"LMSG dt.{rig.robot}.evt.truth 2\r\n{{}}".encode())
        subjects = [(await heard.next_msg(timeout=_PATIENCE_S)).subject]
    with contextlib.suppress(nats.errors.TimeoutError):
        while True:
            subjects.append((await heard.next_msg(timeout=0.1)).subject)
    assert subjects == [f"dt.{rig.robot}.evt.truth"]


@pytest.mark.parametrize("wanted", ["dt.victim.cmd.>", "dt.*.cmd.cmd_vel", "dt.>", ">"])
async def test_a_robot_hears_its_own_commands_and_no_others(
    rig: Rig, hub: Hub, ear: nats.NATS, wanted: str
) -> None:
    own = f"dt.{rig.robot}.cmd.cmd_vel"
    async with rude_leaf(hub) as leaf:
        await leaf.say(f"LS+ {wanted}".encode())
        await ear.publish("dt.victim.cmd.cmd_vel", b"secret")
        await ear.flush(timeout=10)
        await leaf.say()
        assert not any(b"secret" in line for line in leaf.heard)
    async with rude_leaf(hub) as leaf:
        await leaf.say(f"LS+ {own}".encode())
        await ear.publish("dt.victim.cmd.cmd_vel", b"secret")
        await ear.publish(own, b"mine")
        await leaf.listen(b"mine")
        assert not any(b"secret" in line for line in leaf.heard)


async def test_a_robots_own_server_passes_on_its_words_and_no_others(
    rig: Rig, hub: Hub, ear: nats.NATS
) -> None:
    heard = await ear.subscribe("dt.*.evt.>")
    await ear.flush(timeout=10)
    address = f"nats://127.0.0.1:{hub.leaf_port}"
    rig.start_server("--open-loopback", "--hub", address, "--hub-credentials", str(hub.key))
    await until(lambda: not is_free(rig.port))
    mouth = await connect(rig.nats_url, "mouth")
    subjects: list[str] = []
    async with timeout(_PATIENCE_S):
        while not subjects:
            await mouth.publish("dt.victim.evt.online", b"{}")
            await mouth.publish(f"dt.{rig.robot}.evt.online", b"{}")
            with contextlib.suppress(nats.errors.TimeoutError):
                subjects.append((await heard.next_msg(timeout=0.2)).subject)
    assert set(subjects) == {f"dt.{rig.robot}.evt.online"}
    await mouth.close()


#: What people at the hub may publish (+) or subscribe to (<): viewer, operator.
_TABLE = {
    "+ dt.r.cmd.cmd_vel": "no yes",
    "+ dt.r.srv.recorder.discard": "no yes",
    "+ dt.r.srv.recorder.status": "yes yes",
    "+ dt.r.srv.teleop.estop.fire": "yes yes",
    "+ dt.r.srv.teleop.lease.force": "no no",
    "+ dt.r.evt.presence": "no no",
    "+ dt.r.sync.pong": "no no",
    "+ $KV.dt_presence.r": "no no",
    "+ $JS.API.DIRECT.GET.KV_dt_presence.$KV.dt_presence.r": "yes yes",
    "+ $JS.API.CONSUMER.CREATE.KV_dt_presence": "no no",
    "+ $JS.API.CONSUMER.CREATE.KV_dt_presence.x.$KV.>": "no no",
    "+ $JS.API.CONSUMER.CREATE.dt_r_durable.x": "no no",
    "+ $JS.API.CONSUMER.DURABLE.CREATE.KV_dt_presence.x": "no no",
    "+ $JS.API.CONSUMER.MSG.NEXT.KV_dt_presence.x": "no no",
    "+ $JS.API.STREAM.SNAPSHOT.KV_dt_presence": "no no",
    "+ $JS.r.API.CONSUMER.DELETE.dt_r_durable.hub": "no no",
    "< dt.*.tlm.>": "yes yes",
    "< dt.r.cmd.>": "no no",
    "< $KV.dt_presence.>": "no no",
    "< _INBOX.>": "no yes",
    "< _INBOX.somebody.*": "no yes",
    "< _INBOX.viewer.x.*": "yes yes",
}


async def test_each_member_may_do_what_the_table_says(rig: Rig, hub: Hub, ear: nats.NATS) -> None:
    guests = []
    for role in ("viewer", "operator"):
        key = rig.folder / f"{role}.nk"
        await hub.let_in(role, role, key)
        guests.append(await Guest().open(hub.url, nkeys_seed=str(key)))
    wrong = []
    for row, answers in _TABLE.items():
        kind, subject = row.split()
        for guest, expected in zip(guests, answers.split(), strict=True):
            may = guest.may_publish if kind == "+" else guest.may_subscribe
            if await may(subject) is not (expected == "yes"):
                wrong.append(f"{expected} {row}")
    for guest in guests:
        await guest.client.close()
    assert wrong == []


async def test_a_viewers_own_client_hears_its_answers(rig: Rig, hub: Hub, ear: nats.NATS) -> None:
    key = rig.folder / "eve.nk"
    await hub.let_in("eve", "viewer", key)
    eve = await connect(hub.url, "eve", credentials=str(key))
    await serve(ear, "r", "bridge", "0.1.0", {"routes": _nothing})
    await ear.flush()
    reply = await eve.request("dt.r.srv.bridge.routes", b"{}", timeout=_PATIENCE_S)
    assert orjson.loads(reply.data) == {"ok": True}
    await eve.close()


async def _nothing(_: dict[str, object]) -> dict[str, object]:
    return {}


async def test_the_manager_answers_a_presence_nowhere_but_at_its_robot(
    rig: Rig, hub: Hub, ear: nats.NATS
) -> None:
    heard = await ear.subscribe("dt.*.cmd.>")
    pongs = await ear.subscribe(f"dt.{rig.robot}.sync.pong")
    await ear.flush(timeout=10)
    said = orjson.dumps({"robot": rig.robot, "ping": 7}).decode()

    def asking(reply: str) -> bytes:
        return f"LMSG dt.{rig.robot}.evt.presence {reply} {len(said)}\r\n{said}".encode()

    async with rude_leaf(hub) as leaf, timeout(_PATIENCE_S):
        while not pongs.pending_msgs:  # the manager may still be on its way
            await leaf.say(asking("dt.victim.cmd.cmd_vel"), asking(f"dt.{rig.robot}.sync.pong"))
            await asyncio.sleep(0.1)
    assert heard.pending_msgs == 0


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that takes a robot for gone after 1 s."""
    monkeypatch.setattr("dialtone_bridge.hub_manager.PRESENCE_TTL_S", 1.0)


def _presence(robot: str, **said: object) -> bytes:
    body = orjson.dumps({"robot": robot, **said})
    return b"LMSG dt.%b.evt.presence %d\r\n%b" % (robot.encode(), len(body), body)


Listed = list[dict[str, Any]]


async def _listed(hub: Hub, good: Callable[[Listed], object]) -> Listed:
    """What ``dialtone fleet ls`` has once it is ``good``."""
    async with timeout(_PATIENCE_S):
        while True:
            found = await presence(hub.url, hub.admin)
            if good(found):
                return found
            await asyncio.sleep(0.1)


async def _heard(hub: Hub, leaf: RudeLeaf, *words: bytes) -> Listed:
    """As ``_listed``, once the manager, perhaps on its way still, has heard ``words``."""
    async with timeout(_PATIENCE_S):
        while True:
            await leaf.say(*words)
            if found := await presence(hub.url, hub.admin):
                return found
            await asyncio.sleep(0.1)


async def test_a_presence_that_is_none_is_said_once_and_hides_nobody(
    rig: Rig, hub: Hub, ear: nats.NATS
) -> None:
    lie = b'{"version": "1"}'
    bad = b"LMSG dt.%b.evt.presence %d\r\n%b" % (rig.robot.encode(), len(lie), lie)
    async with rude_leaf(hub) as leaf:
        (found,) = await _heard(hub, leaf, bad, bad, _presence(rig.robot, version="1"))
        assert (found["robot"], found["version"]) == (rig.robot, "1")
        assert 0 <= found["age_s"] < 5
        await ear.publish(f"$KV.dt_presence.{rig.robot}", lie)  # whoever else fills the bucket
        await ear.flush()
        (found,) = await presence(hub.url, hub.admin)
        assert str(found["refused"]).startswith("wrong_robot")
    assert any(each.startswith(f"{rig.robot} presence: refused: wrong_robot") for each in hub.said)


async def test_two_robots_of_one_name_are_named_to_everybody(
    rig: Rig, hub: Hub, ear: nats.NATS
) -> None:
    one, two = (_presence(rig.robot, instance=each) for each in "ab")
    async with rude_leaf(hub) as leaf:
        await _heard(hub, leaf, one, two)
        await leaf.say(one, two)
        await _listed(hub, lambda found: found[0].get("clash"))
    assert len([each for each in hub.said if "two robots go by this name" in each]) == 1


async def test_a_robot_that_falls_silent_is_said_to_be_offline(
    quick: None, rig: Rig, hub: Hub, ear: nats.NATS
) -> None:
    heard = await ear.subscribe(f"dt.{rig.robot}.evt.offline")
    await ear.flush(timeout=10)
    async with rude_leaf(hub) as leaf:
        await _heard(hub, leaf, _presence(rig.robot))
    said = orjson.loads((await heard.next_msg(timeout=_PATIENCE_S)).data)
    assert said["by"] == "hub"
    await _listed(hub, lambda found: not found)


async def test_a_stream_that_finds_no_room_is_said_once_and_made_when_there_is(
    rig: Rig, hub: Hub, ear: nats.NATS, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dialtone_bridge.hub_manager._AGAIN_S", 0.0)
    huge = dataclasses.replace(hub.settings, stream_max_bytes=1 << 60)
    manager = HubManager(huge, hub.url, hub.said.append)
    for _ in range(2):
        await manager._make_stream(ear, rig.robot)
    (line,) = [each for each in hub.said if "stream" in each]
    assert "insufficient" in line
    assert "--stream-max-bytes below" in line
    manager._settings = hub.settings
    await manager._make_stream(ear, rig.robot)
    assert hub.said[-1] == f"{rig.robot} stream: fetching its durable routes"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bridge that asks at once, and again each second, why its hub is silent."""
    for name, value in (("_GRACE_S", 1.0), ("_AGAIN_S", 1.0), ("ANSWER_S", 7.0)):
        monkeypatch.setattr(f"dialtone_bridge.transports.nats_hub.{name}", value)


async def test_a_robot_says_whether_its_hub_took_it_refuses_it_or_is_away(
    impatient: None, rig: Rig, hub: Hub, ear: nats.NATS
) -> None:
    key = rig.folder / "wrong.nk"
    key.write_text(new_seed() + "\n")
    key.chmod(0o600)
    address = f"nats://127.0.0.1:{hub.leaf_port}"
    rig.start_server("--open-loopback", "--hub", address, "--hub-credentials", str(key))
    await until(lambda: not is_free(rig.port))
    robot = NatsTransport(NatsSettings(rig.robot, rig.nats_url), Inbox(), Said())
    events = await (mouth := await connect(rig.nats_url, "ear")).subscribe(
        f"dt.{rig.robot}.evt.hub"
    )
    await mouth.flush()
    await robot.open()
    running = asyncio.create_task(robot.run())
    await until(lambda: robot.health().values["hub"] == "refused")
    assert robot.health().message == "the hub is refused: Authorization Violation"
    assert not robot.health().ok
    await hub.let_in(rig.robot, "robot", hub.key)
    key.write_text(hub.key.read_text(encoding="ascii"))
    server = rig.children[-1]
    server.stop()
    rig.start_server("--open-loopback", "--hub", address, "--hub-credentials", str(key))
    await until(lambda: robot.health().values["hub"] == "joined", 30)
    hub.kill()
    await until(lambda: robot.health().values["hub"] == "away", 30)
    assert "refused" in robot.health().message  # the connection, by the kernel
    seen = []
    while "refused" not in seen:
        seen.append(orjson.loads((await events.next_msg(timeout=5)).data)["state"])
    await end_task(running)
    await robot.aclose()
    await mouth.close()


async def test_a_robots_key_opens_no_door_but_that_of_robots(hub: Hub, ear: nats.NATS) -> None:
    with pytest.raises((nats.errors.Error, OSError)):
        await nats.connect(
            hub.url,
            nkeys_seed=str(hub.key),
            allow_reconnect=False,
            connect_timeout=10,
            error_cb=_ignore,
        )


async def _ignore(_: Exception) -> None:
    """What is said of it is in the exception."""
