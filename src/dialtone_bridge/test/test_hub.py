"""A robot behind a link that fails, and a hub that must miss nothing: real servers, real ROS."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import nats
import pytest_asyncio
from bridge_rig import Child, Peer, Rig, until
from std_msgs.msg import UInt32

from dialtone_bridge.durable import stream_name
from dialtone_bridge.hub import HubManager, HubSettings, Members, write_config
from dialtone_bridge.jetstream import JetStreamError, ask
from dialtone_bridge.nats_server import find_binary
from dialtone_bridge.verbs.fleet import presence
from dialtone_core.natslink import connect
from dialtone_core.ports import free_ports


class Line:
    """A TCP line between robot and hub that can be cut."""

    def __init__(self, to_port: int) -> None:
        (self.port,) = free_ports(1)
        self._to_port = to_port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def up(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def cut(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        other: asyncio.StreamWriter | None = None
        try:
            far, other = await asyncio.open_connection("127.0.0.1", self._to_port)
            await asyncio.gather(_pump(reader, other), _pump(far, writer))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            for each in (writer, other):
                if each is not None:
                    each.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    raise ConnectionResetError


class Hub:
    """A hub with its manager, for one test."""

    def __init__(self, rig: Rig) -> None:
        self.port, self.leaf_port = free_ports(2)
        self.settings = HubSettings(
            f"hub_{rig.robot}", port=self.port, leaf_port=self.leaf_port, stream_max_bytes=1 << 28
        )
        self.members = Members.load(self.settings.name)
        self.url = f"nats://127.0.0.1:{self.port}"
        self.key = rig.folder / "robot.nk"
        self.members = self.members.add(rig.robot, "robot", self.key)
        self.config = write_config(self.settings, self.members)
        self.admin = str(self.members.folder / "manager.nk")
        self.said: list[str] = []
        self._rig = rig
        self.start()

    def start(self) -> None:
        log = self._rig.folder / "hub.log"
        self.server = Child(log, str(find_binary()), "--config", str(self.config))
        self._rig.children.append(self.server)

    async def manage(self) -> None:
        manager = HubManager(self.settings, self.url, self.said.append)
        await manager.run(Path(self.admin))


@pytest_asyncio.fixture
async def hub(rig: Rig) -> AsyncIterator[Hub]:
    made = Hub(rig)
    task = asyncio.create_task(made.manage())
    yield made
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def stored(client: nats.NATS, robot: str) -> int:
    """How many messages the hub holds of ``robot``."""
    try:
        info = await ask(client, f"STREAM.INFO.{stream_name(robot)}")
    except JetStreamError:
        return 0
    return int(info["state"]["messages"])


async def reach(client: nats.NATS, robot: str, count: int, timeout_s: float = 30.0) -> None:
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + timeout_s
    while (have := await stored(client, robot)) < count:
        assert loop.time() < deadline_s, f"{have} of {count}"
        await asyncio.sleep(0.1)


async def numbers(client: nats.NATS, robot: str) -> list[int]:
    """The values of the UInt32 messages that the hub holds, in order."""
    subscription = await client.jetstream().subscribe(
        f"dt.{robot}.tlm.counter", stream=stream_name(robot), ordered_consumer=True
    )
    found = []
    for _ in range(await stored(client, robot)):
        message = await subscription.next_msg(timeout=5)
        found.append(int.from_bytes(message.data[4:8], "little"))
    await subscription.unsubscribe()
    return found


class Counter:
    """Publishes 1, 2, 3 … on the ROS topic ``counter``."""

    def __init__(self, peer: Peer) -> None:
        self.publisher = peer.node.create_publisher(UInt32, "counter", 100)
        self.value = 0

    async def count(self, more: int) -> None:
        for _ in range(more):
            self.value += 1
            self.publisher.publish(UInt32(data=self.value))
            if self.value % 20 == 0:
                await asyncio.sleep(0.02)


def start_robot(rig: Rig, hub: Hub, line: Line) -> tuple[Child, Child]:
    address = f"nats://127.0.0.1:{line.port}"
    server = rig.start_server("--hub", address, "--hub-credentials", str(hub.key))
    durable: dict[str, Any] = {"routes.c.topic": "counter", "routes.c.durable": "true"}
    return server, rig.start_bridge(**durable)


async def test_a_cut_link_loses_nothing_and_doubles_nothing(
    rig: Rig, peer: Peer, hub: Hub
) -> None:
    line = Line(hub.leaf_port)
    await line.up()
    start_robot(rig, hub, line)
    counter = Counter(peer)
    await rig.file()
    await until(lambda: counter.publisher.get_subscription_count() > 0)
    client = await connect(hub.url, "test", credentials=hub.admin)
    await counter.count(100)
    await reach(client, rig.robot, 100)
    await line.cut()
    await counter.count(2000)
    assert await stored(client, rig.robot) == 100
    await line.up()
    await counter.count(100)
    await reach(client, rig.robot, 2200)
    assert await numbers(client, rig.robot) == list(range(1, 2201))
    await client.close()
    await line.cut()


async def test_a_killed_robot_server_is_given_again_what_it_had_not_stored(
    rig: Rig, peer: Peer, hub: Hub
) -> None:
    line = Line(hub.leaf_port)
    await line.up()
    server, _ = start_robot(rig, hub, line)
    counter = Counter(peer)
    await rig.file()
    await until(lambda: counter.publisher.get_subscription_count() > 0)
    client = await connect(hub.url, "test", credentials=hub.admin)
    await counter.count(200)
    server.stop(signal.SIGKILL)
    await counter.count(200)
    rig.children.remove(server)
    rig.start_server("--hub", f"nats://127.0.0.1:{line.port}", "--hub-credentials", str(hub.key))
    await counter.count(200)
    await reach(client, rig.robot, 600)
    assert await numbers(client, rig.robot) == list(range(1, 601))
    await client.close()
    await line.cut()


async def test_a_hub_knows_its_robots_and_the_way_to_them(rig: Rig, peer: Peer, hub: Hub) -> None:
    line = Line(hub.leaf_port)
    await line.up()
    start_robot(rig, hub, line)
    await rig.file()

    async def both() -> list[dict[str, Any]]:
        return await presence(hub.url, hub.admin)

    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + 20
    while not (found := await both()) or found[0]["hub_rtt_ms"] is None:
        assert loop.time() < deadline_s, found
        await asyncio.sleep(0.2)
    assert found[0]["robot"] == rig.robot
    assert 0 < found[0]["hub_rtt_ms"] < 1000
    assert json.dumps(found)
    client = await connect(hub.url, "driver", credentials=hub.admin)
    reply = await client.request(f"dt.{rig.robot}.srv.bridge.routes", b"{}", timeout=5)
    assert json.loads(reply.data)["ok"]
    await client.close()
    await line.cut()
