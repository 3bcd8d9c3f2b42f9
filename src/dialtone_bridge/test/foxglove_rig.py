"""A Foxglove server without ROS, and clients of it."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bridge_rig import until
from feed_rig import Feed, Inbox, Said

from dialtone_bridge.clients.foxglove_client import FoxgloveClient, open_client
from dialtone_bridge.exchange import Exchange
from dialtone_bridge.foxglove.extras import Extras
from dialtone_bridge.params import RouteParams
from dialtone_bridge.routes import RouteTable
from dialtone_bridge.transports.foxglove import FoxgloveSettings, FoxgloveTransport

STRING, PICTURE = "std_msgs/msg/String", "sensor_msgs/msg/CompressedImage"
TOKEN = "0123456789abcdef-secret"
MIB = 1024 * 1024


SHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: foxglove.sdk.v1\r\n"
)


@dataclass
class Line:
    transport: FoxgloveTransport
    exchange: Exchange
    feed: Feed
    inbox: Inbox
    log: Said

    @property
    def url(self) -> str:
        return self.transport.url


@asynccontextmanager
async def serving(
    extras: Extras | None = None, routes: dict[str, RouteParams] | None = None, **settings: Any
) -> AsyncIterator[Line]:
    inbox, feed, log = Inbox(), Feed(), Said()
    made = FoxgloveSettings("rover", port=0, **settings)
    transport = FoxgloveTransport(made, inbox, log, extras)
    exchange = Exchange(feed, [transport], RouteTable(routes or {}))
    await transport.open()
    running = asyncio.create_task(transport.run())
    try:
        yield Line(transport, exchange, feed, inbox, log)
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await transport.aclose()


@asynccontextmanager
async def raw(url: str, topics: Sequence[str]) -> AsyncIterator[asyncio.StreamWriter]:
    """A client that subscribes to ``topics`` (found in order of their ids) and never reads on."""
    host, port = url.removeprefix("ws://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=4096)
    writer.write(SHAKE + b"\r\n")
    async with open_client(url) as other:
        ids = [(await other.wait_channel(topic)).id for topic in topics]
    wants = [{"id": number, "channelId": each} for number, each in enumerate(ids)]
    speak(writer, json.dumps({"op": "subscribe", "subscriptions": wants}).encode())
    await reader.readexactly(1)
    try:
        yield writer
    finally:
        writer.close()


async def shake(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """Become a client; the head of the server's answer."""
    writer.write(SHAKE + b"\r\n")
    return await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)


async def hear(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """One frame of the server: its first byte, and its body."""
    opcode, size = await asyncio.wait_for(reader.readexactly(2), 10)
    if size >= 126:
        form = ">H" if size == 126 else ">Q"
        (size,) = struct.unpack(form, await reader.readexactly(struct.calcsize(form)))
    return opcode, await reader.readexactly(size)


def speak(writer: asyncio.StreamWriter, body: bytes, binary: bool = False) -> None:
    """Send one frame as a client does, with a mask that changes nothing."""
    writer.write(struct.pack(">BBHI", 0x82 if binary else 0x81, 0xFE, len(body), 0) + body)


async def certificate(folder: Path) -> tuple[str, str]:
    """A certificate of 127.0.0.1 and its key."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    made = await asyncio.create_subprocess_exec(
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
        "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key),
        "-out", str(cert), stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert await made.wait() == 0
    return str(cert), str(key)


async def reply(client: FoxgloveClient, op: str, skip: int = 0) -> dict[str, Any]:
    found: list[dict[str, Any]] = await until(
        lambda: [each for each in client.texts if each.get("op") == op][skip:]
    )
    return found[0]
