"""A link that is too thin for its pictures: they stay young, and what is small does not suffer."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from bridge_rig import Rig, until
from feed_rig import STRING, Feed, Inbox, Said

from dialtone_bridge.clients.cuttable_line import CuttableLine
from dialtone_bridge.clients.foxglove_client import open_client
from dialtone_bridge.exchange import Exchange
from dialtone_bridge.routes import RouteTable
from dialtone_bridge.transports.base import Transport
from dialtone_bridge.transports.foxglove import FoxgloveSettings, FoxgloveTransport
from dialtone_bridge.transports.nats import NatsSettings, NatsTransport
from dialtone_core.aio import end_task
from dialtone_core.natslink import connect
from dialtone_core.paths import state_dir
from dialtone_core.ports import is_free

PICTURE = "sensor_msgs/msg/Image"
PICTURE_BYTES, PICTURE_HZ = 200_000, 30.0
THIN_BYTES_PER_S = 2e6  # a third of what the camera makes
SECONDS = 6.0
#: Topic and payload of the next message.
Receive = Callable[[], Awaitable[tuple[str, bytes]]]


@asynccontextmanager
async def over_nats(rig: Rig) -> AsyncIterator[tuple[Transport, Receive]]:
    rig.start_server()
    await until(lambda: not is_free(rig.port))
    line = CuttableLine(rig.port, THIN_BYTES_PER_S)
    await line.up()
    url = f"nats://127.0.0.1:{line.port}"
    key = str(state_dir() / "nats" / rig.robot / "robot.nk")
    transport = NatsTransport(NatsSettings(rig.robot, url, key), Inbox(), Said())
    await transport.open()
    client = await connect(rig.nats_url, "viewer")
    inbox = await client.subscribe(f"dt.{rig.robot}.tlm.>")

    async def receive() -> tuple[str, bytes]:
        message = await inbox.next_msg(timeout=10)
        return "/" + message.subject.rpartition(".")[2], message.data

    await transport.connected.wait()
    yield transport, receive
    await client.close()
    await transport.aclose()
    await line.cut()


@asynccontextmanager
async def over_foxglove(_: Rig) -> AsyncIterator[tuple[Transport, Receive]]:
    transport = FoxgloveTransport(FoxgloveSettings("rover", port=0), Inbox(), Said())
    await transport.open()
    line = CuttableLine(int(transport.url.rpartition(":")[2]), THIN_BYTES_PER_S)
    await line.up()
    async with AsyncExitStack() as stack:
        viewer = await stack.enter_async_context(open_client(f"ws://127.0.0.1:{line.port}"))
        subscribed = False

        async def receive() -> tuple[str, bytes]:
            nonlocal subscribed
            if not subscribed:
                subscribed = True
                for topic in ("/camera", "/small"):
                    await viewer.subscribe(topic)
            got = await viewer.receive(10)
            return got.topic, got.payload

        yield transport, receive
    await transport.aclose()
    await line.cut()


@pytest.mark.parametrize("over", [over_nats, over_foxglove])
async def test_over_a_thin_link_pictures_stay_young_and_nothing_small_is_lost(
    rig: Rig, over: Callable[[Rig], object]
) -> None:
    feed = Feed()
    ages_s: dict[str, list[float]] = {"/camera": [], "/small": []}
    numbers: list[int] = []
    async with over(rig) as (transport, receive):  # type: ignore[attr-defined]
        exchange = Exchange(feed, [transport], RouteTable({}))
        running = asyncio.create_task(transport.run())
        exchange.found("/camera", PICTURE, "uint8[] data\n")
        exchange.found("/small", STRING, "string data\n")

        async def watch() -> None:
            while True:
                topic, payload = await receive()
                stamp_ns, number = struct.unpack_from("<QQ", payload)
                ages_s[topic].append((time.monotonic_ns() - stamp_ns) / 1e9)
                if topic == "/small":
                    numbers.append(number)

        watching = asyncio.create_task(watch())
        await until(lambda: len(feed.open) == 2)
        sent = round(SECONDS * PICTURE_HZ)
        for number in range(sent):
            head = struct.pack("<QQ", time.monotonic_ns(), number)
            feed.emit("/camera", head.ljust(PICTURE_BYTES, b"x"))
            feed.emit("/small", head)
            await asyncio.sleep(1 / PICTURE_HZ)
        await until(lambda: len(numbers) >= sent)
        await end_task(watching)
        await end_task(running)
    assert numbers == list(range(sent))
    assert max(ages_s["/small"]) < 1.5
    late_s = ages_s["/camera"][len(ages_s["/camera"]) // 2 :]
    assert max(late_s) < 2.5, late_s
    assert len(ages_s["/camera"]) > 0.5 * THIN_BYTES_PER_S * SECONDS / PICTURE_BYTES
