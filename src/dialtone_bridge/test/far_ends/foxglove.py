"""The far end of the Foxglove transport: a WebSocket client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from bridge_rig import Rig

from dialtone_bridge.clients.foxglove_client import FoxgloveClient, open_client
from dialtone_bridge.transports.foxglove import FoxgloveSettings, FoxgloveTransport

STRING = "std_msgs/msg/String"


class Client:
    def __init__(self, client: FoxgloveClient, transport: FoxgloveTransport) -> None:
        self._client = client
        self._transport = transport
        self._subscriptions: dict[str, int] = {}
        self._channels: dict[str, int] = {}

    async def subscribe(self, path: str) -> None:
        self._subscriptions[path] = await self._client.subscribe(f"/{path}")

    async def unsubscribe(self, path: str) -> None:
        await self._client.unsubscribe(self._subscriptions.pop(path))

    async def receive(self) -> bytes:
        return bytes((await self._client.receive(5)).payload)

    async def send(self, path: str, payload: bytes) -> None:
        if path not in self._channels:
            self._channels[path] = await self._client.advertise(f"/{path}", STRING, "cdr")
        await self._client.publish(self._channels[path], payload)

    async def send_garbage(self) -> int:
        """No operation, no frame of the protocol, channels and encodings that are none; and a
        connection that is no WebSocket, which is none to refuse in and is hung up on."""
        socket = self._client._socket
        texts = ("", "{", "[]", '{"op":7}', '{"op":"subscribe"}', '{"op":"rm"}', '"\u2620"')
        frames = (b"", b"\x01", b"\x07junk", b"\x01\xff\xff\xff\xffx", b"\x02\x00")
        for each in (*texts, *frames):
            await socket.send(each)
        morse = await self._client.advertise("/allowed", STRING, "morse")
        await self._client.publish(morse, b"x")
        host, _, port = self._transport.url.removeprefix("ws://").rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"\x16\x03\x01 no web at all\r\n\r\n")
        await reader.read()
        writer.close()
        return len(texts) + len(frames) + 2  # the channel, and the message on none

    @contextmanager
    def stall(self) -> Iterator[None]:
        socket = self._client._socket.transport
        socket.pause_reading()
        try:
            yield
        finally:
            socket.resume_reading()


class FarEnd:
    reaches_each = True

    def __init__(self, rig: Rig) -> None:
        self._rig = rig

    async def make(self, inbox: Any, log: Any) -> FoxgloveTransport:
        return FoxgloveTransport(FoxgloveSettings(self._rig.robot, port=0), inbox, log)

    async def settle(self, transport: FoxgloveTransport) -> None:
        """Clients say it themselves."""

    @asynccontextmanager
    async def client(self, transport: FoxgloveTransport) -> AsyncIterator[Client]:
        async with open_client(transport.url) as client:
            yield Client(client, transport)

    def freeze(self, client: Client) -> Any:
        return client.stall()
