"""Assets beside everything else: whole, in their turn, and at nobody's expense."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from bridge_rig import until
from foxglove_rig import MIB, PICTURE, STRING, hear, serving, shake, speak

from dialtone_bridge.clients.foxglove_client import open_client
from dialtone_bridge.foxglove import session as sessions
from dialtone_bridge.foxglove.assets import Assets
from dialtone_bridge.foxglove.extras import Extras
from dialtone_core.delivery import Policy
from dialtone_core.errors import DialtoneError

PING, BEGIN, CONTINUE, END = 0x89, 0x02, 0x00, 0x80


async def test_assets_larger_than_a_clients_bound_arrive_whole_beside_pictures() -> None:
    data = bytes(range(256)) * (7 * MIB // 256)
    async with (
        serving(Extras(asset=lambda uri: data + uri.encode()), client_bytes=1 << 16) as line,
        open_client(line.url) as client,
    ):
        line.exchange.found("/camera", PICTURE, "x")
        await client.subscribe("/camera")
        await until(lambda: "/camera" in line.feed.open)
        fetching = [asyncio.create_task(client.fetch(f"a{n}", 20)) for n in range(5)]
        for number in range(20):
            line.feed.emit("/camera", bytes([number]) * 30_000)
            assert (await client.receive()).payload[0] == number
        assert await asyncio.gather(*fetching) == [data + b"a%d" % n for n in range(5)]
        for size in (0, 1, 65_536, 65_537):
            data = b"x" * size
            assert await client.fetch("b") == data + b"b"
        assert not any("cut" in each for each in line.log.lines)


@asynccontextmanager
async def reader(url: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A client that reads when its test does."""
    host, port = url.removeprefix("ws://").split(":")
    reading, writer = await asyncio.open_connection(host, int(port), limit=4096)
    await shake(reading, writer)
    try:
        yield reading, writer
    finally:
        writer.close()


def fetch(writer: asyncio.StreamWriter, request: int) -> None:
    body = {"op": "fetchAsset", "uri": "package://a/b.stl", "requestId": request}
    speak(writer, json.dumps(body).encode())


async def test_a_picture_goes_between_two_assets_and_a_ping_between_two_pieces() -> None:
    async with serving(Extras(asset=lambda _: b"x" * 4 * MIB)) as line:
        line.exchange.found("/camera", PICTURE, "x")
        async with open_client(line.url) as other:
            channel = (await other.wait_channel("/camera")).id
        async with reader(line.url) as (reading, writer):
            wanted = [{"id": 1, "channelId": channel}]
            speak(writer, json.dumps({"op": "subscribe", "subscriptions": wanted}).encode())
            await until(lambda: "/camera" in line.feed.open)
            (session,) = line.transport._server.sessions
            for request in (7, 8):
                fetch(writer, request)
            await until(lambda: not session.link.writable.is_set())
            for number in range(3):
                line.feed.emit("/camera", bytes([number]) * 1000)
            session.link.ping()
            assert session._assets.waiting_bytes <= 4 * MIB  # the second waits unread
            order: list[str] = []
            while order.count("end") < 2:
                opcode, body = await hear(reading)
                if opcode == PING:
                    order.append("ping")
                elif opcode == BEGIN:
                    order.append(f"asset {struct.unpack_from('<I', body, 1)[0]}")
                elif opcode == END:
                    order.append("end")
                elif opcode == 0x82:
                    order.append("picture")
                else:
                    assert opcode in (CONTINUE, 0x81)
    assert order.index("ping") < order.index("end")
    assert "picture" not in order[order.index("asset 7") : order.index("end")]
    assert "picture" in order[: order.index("asset 8")]


async def test_a_client_whose_bound_is_smaller_than_the_schemas_gets_in() -> None:
    async with serving(client_bytes=1 << 16) as line:
        for number in range(40):
            line.exchange.found(f"/t{number}", STRING, "x" * 3000)
        async with open_client(line.url) as client:
            await client.wait_channel("/t39")
            line.exchange.found("/later", STRING, "string data\n")
            await client.wait_channel("/later")
            assert len(client.channels) == 41
        assert not any("cut" in each for each in line.log.lines)


async def test_a_client_that_is_cut_leaves_one_line_with_who_and_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sessions, "_CONTROL", Policy("queue", 65536, 3 * MIB))
    async with serving() as line, reader(line.url) as (_, writer):
        peer = "{}:{}".format(*writer.get_extra_info("sockname"))
        (session,) = line.transport._server.sessions
        for _ in range(60):
            session.send(b"x" * 100_000)
        await until(lambda: line.transport.clients == 0)
        (cut,) = [each for each in line.log.lines if "cut" in each]
        assert cut == f"Foxglove client {peer} was cut: 3 MiB of answers and offers wait for it"


def test_a_file_that_is_too_big_is_refused_with_both_sizes(tmp_path: Path) -> None:
    (tmp_path / "body.stl").write_bytes(b"x" * 2000)
    assets = Assets([".*"], lambda _: tmp_path, 1024)
    with pytest.raises(DialtoneError, match="has 2000 bytes and foxglove_asset_bytes is 1024"):
        assets.read("package://rover/body.stl")
