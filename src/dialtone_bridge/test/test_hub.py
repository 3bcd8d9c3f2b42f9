"""A robot behind a link that fails, and a hub that must miss nothing: real servers, real ROS."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
from typing import Any

import pytest
from bridge_rig import Peer, Rig, until
from hub_rig import Counter, Hub, numbers, reach, start_robot, stored

from dialtone_bridge.clients.cuttable_line import CuttableLine
from dialtone_bridge.durable_stream import CONSUMER, MAX_BYTES, stream_name
from dialtone_bridge.jetstream import ask
from dialtone_bridge.nats_server import ServerPorts
from dialtone_bridge.verbs.fleet import presence
from dialtone_core.aio import timeout
from dialtone_core.natslink import connect


async def test_a_cut_link_loses_nothing_and_doubles_nothing(
    rig: Rig, peer: Peer, hub: Hub
) -> None:
    line = CuttableLine(hub.leaf_port)
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
    line = CuttableLine(hub.leaf_port)
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


async def test_a_robot_whose_store_was_wiped_goes_on_and_the_hub_misses_nothing(
    rig: Rig, peer: Peer, hub: Hub
) -> None:
    line = CuttableLine(hub.leaf_port)
    await line.up()
    server, _ = start_robot(rig, hub, line)
    counter = Counter(peer)
    await rig.file()
    await until(lambda: counter.publisher.get_subscription_count() > 0)
    client = await connect(hub.url, "test", credentials=hub.admin)
    await counter.count(200)
    await reach(client, rig.robot, 200)
    server.stop(signal.SIGKILL)
    rig.children.remove(server)
    shutil.rmtree(ServerPorts.path(rig.robot).parent / "jetstream")
    rig.start_server("--hub", f"nats://127.0.0.1:{line.port}", "--hub-credentials", str(hub.key))
    await counter.count(100)
    await reach(client, rig.robot, 300)
    assert await numbers(client, rig.robot) == list(range(1, 301))
    await client.close()
    await line.cut()


@pytest.mark.parametrize("gone", ["CONSUMER.DELETE", "STREAM.DELETE"])
async def test_a_hub_gets_all_though_somebody_deletes_what_it_reads(
    rig: Rig, peer: Peer, hub: Hub, gone: str
) -> None:
    line = CuttableLine(hub.leaf_port)
    await line.up()
    start_robot(rig, hub, line)
    counter = Counter(peer)
    await rig.file()
    await until(lambda: counter.publisher.get_subscription_count() > 0)
    client = await connect(hub.url, "test", credentials=hub.admin)
    robot = await connect(rig.nats_url, "robot")
    await counter.count(100)
    await reach(client, rig.robot, 100)
    name = stream_name(rig.robot)
    await ask(robot, f"{gone}.{name}" + (f".{CONSUMER}" if "CONSUMER" in gone else ""))
    await counter.count(200)
    await reach(client, rig.robot, 300)
    assert await numbers(client, rig.robot) == list(range(1, 301))
    for each in (client, robot):
        await each.close()
    await line.cut()


async def test_a_hub_knows_its_robots_and_the_way_to_them(rig: Rig, peer: Peer, hub: Hub) -> None:
    line = CuttableLine(hub.leaf_port)
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


async def test_a_killed_hub_misses_nothing_and_commands_go_while_it_catches_up(
    rig: Rig, peer: Peer, hub: Hub
) -> None:
    line = CuttableLine(hub.leaf_port)
    await line.up()
    start_robot(rig, hub, line, catchup_mbps=0.5)
    counter = Counter(peer)
    await rig.file()
    await until(lambda: counter.publisher.get_subscription_count() > 0)
    client = await connect(hub.url, "test", credentials=hub.admin)
    wheels = await connect(rig.nats_url, "wheels")
    commands = await wheels.subscribe(f"dt.{rig.robot}.cmd.>")
    await counter.count(100)
    await reach(client, rig.robot, 100)
    hub.kill()
    await counter.count(600)
    hub.start()
    await until(lambda: client.is_connected)
    catching_up = asyncio.create_task(reach(client, rig.robot, 700))
    async with timeout(20):
        while not commands.pending_msgs:
            await client.publish(f"dt.{rig.robot}.cmd.cmd_vel", b"{}")
            await asyncio.sleep(0.05)
    await catching_up
    assert await numbers(client, rig.robot) == list(range(1, 701))
    stream = await ask(wheels, f"STREAM.INFO.{stream_name(rig.robot)}")
    consumer = await ask(wheels, f"CONSUMER.INFO.{stream_name(rig.robot)}.{CONSUMER}")
    # What goes at once, and how fast the rest: the burst is the biggest message.
    assert stream["config"]["max_msg_size"] == MAX_BYTES
    assert consumer["config"]["rate_limit_bps"] == 500_000
    for each in (client, wheels):
        await each.close()
    await line.cut()
