"""A small Foxglove client: subscribe to channels, publish as the Teleop panel does.

Speaks ``foxglove.sdk.v1`` (ws-protocol): JSON texts by ``op``; server to client binary ``<BIQ`` of
op 1, subscription, log time in ns, then the payload; client to server ``<BI`` of op 1, channel; a
service call ``<BIII`` of op 2, service, call, length of the encoding's name; its answer op 3.
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from dialtone_core.aio import timeout

SUBPROTOCOL = Subprotocol("foxglove.sdk.v1")
_MESSAGE = struct.Struct("<BIQ")
_CALL = struct.Struct("<BIII")
_ASSET = struct.Struct("<BIBI")
_PUBLISH = struct.Struct("<BI")


@dataclass(frozen=True, slots=True)
class ServerChannel:
    """A channel that the server advertised."""

    id: int
    topic: str
    encoding: str
    schema_name: str
    schema: str
    schema_encoding: str


@dataclass(frozen=True, slots=True)
class Received:
    """One message; ``log_ns`` is the server's log time, Unix epoch."""

    topic: str
    log_ns: int
    payload: bytes


class FoxgloveClient:
    """Use ``async with open_client(url) as client``. Messages wait in an unbounded queue."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._changed = asyncio.Event()
        self._messages: asyncio.Queue[Received] = asyncio.Queue()
        self._topics: dict[int, str] = {}
        self._next_id = 1
        self.channels: dict[str, ServerChannel] = {}
        self.services: dict[str, int] = {}
        self._calls: dict[int, asyncio.Future[bytes]] = {}
        self.server_info: dict[str, Any] = {}
        self.statuses: list[dict[str, Any]] = []
        self.texts: list[dict[str, Any]] = []
        self.time_ns = 0

    async def wait_channel(self, topic: str, timeout_s: float = 10.0) -> ServerChannel:
        """The channel of ``topic``, waiting for it to be advertised; raises ``TimeoutError``."""
        async with timeout(timeout_s):
            while topic not in self.channels:
                self._changed.clear()
                await self._changed.wait()
        return self.channels[topic]

    async def wait_status(self, text: str, timeout_s: float = 10.0) -> dict[str, Any]:
        """The first status message that contains ``text``; raises ``TimeoutError``."""
        async with timeout(timeout_s):
            while True:
                for status in self.statuses:
                    if text in str(status.get("message", "")):
                        return status
                self._changed.clear()
                await self._changed.wait()

    async def subscribe(self, topic: str, timeout_s: float = 10.0) -> int:
        """Subscribe to ``topic`` once it is there; returns the subscription's id."""
        channel = await self.wait_channel(topic, timeout_s)
        subscription = self._take_id()
        self._topics[subscription] = topic
        wanted = {"id": subscription, "channelId": channel.id}
        await self.send({"op": "subscribe", "subscriptions": [wanted]})
        return subscription

    async def unsubscribe(self, subscription: int) -> None:
        await self.send({"op": "unsubscribe", "subscriptionIds": [subscription]})
        self._topics.pop(subscription, None)

    async def receive(self, timeout_s: float = 10.0) -> Received:
        """The next message of any subscription; raises ``TimeoutError``."""
        async with timeout(timeout_s):
            return await self._messages.get()

    async def advertise(
        self, topic: str, schema_name: str = "geometry_msgs/Twist", encoding: str = "json"
    ) -> int:
        """Announce a channel to publish on; returns its id."""
        channel = self._take_id()
        offer = {"id": channel, "topic": topic, "encoding": encoding, "schemaName": schema_name}
        await self.send({"op": "advertise", "channels": [offer]})
        return channel

    async def unadvertise(self, channel: int) -> None:
        await self.send({"op": "unadvertise", "channelIds": [channel]})

    async def publish(self, channel: int, payload: bytes | dict[str, Any]) -> None:
        """Send bytes as they are, or a dict as JSON, on an advertised channel."""
        body = json.dumps(payload).encode() if isinstance(payload, dict) else payload
        await self._socket.send(_PUBLISH.pack(1, channel) + body)

    async def call(self, service: str, payload: bytes, timeout_s: float = 10.0) -> bytes:
        """Call a service with a CDR request; raises ``RuntimeError`` with the server's words."""
        async with timeout(timeout_s):
            while service not in self.services:
                self._changed.clear()
                await self._changed.wait()
            call = self._take_id()
            head = _CALL.pack(2, self.services[service], call, 3)
            answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
            self._calls[call] = answer
            await self._socket.send(head + b"cdr" + payload)
            return await answer

    async def fetch(self, uri: str, timeout_s: float = 10.0) -> bytes:
        """The asset at ``uri``; raises ``RuntimeError`` with the server's words."""
        request = self._take_id()
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._calls[request] = answer
        await self.send({"op": "fetchAsset", "uri": uri, "requestId": request})
        async with timeout(timeout_s):
            return await answer

    async def send(self, message: dict[str, Any]) -> None:
        """Send any operation of the protocol."""
        await self._socket.send(json.dumps(message))

    def _take_id(self) -> int:
        taken = self._next_id
        self._next_id += 1
        return taken

    async def _read(self) -> None:
        with suppress(ConnectionClosed):
            async for frame in self._socket:
                if isinstance(frame, bytes):
                    self._on_binary(frame)
                else:
                    self._on_text(json.loads(frame))

    def _on_binary(self, frame: bytes) -> None:
        if frame[0] == 3:
            _, _, call, length = _CALL.unpack_from(frame)
            self._calls.pop(call).set_result(frame[_CALL.size + length :])
        elif frame[0] == 2:
            (self.time_ns,) = struct.unpack_from("<Q", frame, 1)
        elif frame[0] == 4:
            _, request, failed, length = _ASSET.unpack_from(frame)
            stop = _ASSET.size + length
            if failed:
                failure = RuntimeError(frame[_ASSET.size : stop].decode())
                self._calls.pop(request).set_exception(failure)
            else:
                self._calls.pop(request).set_result(frame[stop:])
        if frame[0] != 1:
            return
        _, subscription, log_ns = _MESSAGE.unpack_from(frame)
        topic = self._topics.get(subscription)
        if topic is not None:
            self._messages.put_nowait(Received(topic, log_ns, frame[_MESSAGE.size :]))

    def _on_text(self, message: dict[str, Any]) -> None:
        op = message.get("op")
        if op in ("serverInfo", "parameterValues", "connectionGraphUpdate"):
            self.texts.append(message)
        if op == "advertise":
            for each in message["channels"]:
                self.channels[each["topic"]] = ServerChannel(
                    each["id"],
                    each["topic"],
                    each["encoding"],
                    each["schemaName"],
                    each.get("schema", ""),
                    each.get("schemaEncoding", ""),
                )
        elif op == "unadvertise":
            gone = set(message["channelIds"])
            self.channels = {t: c for t, c in self.channels.items() if c.id not in gone}
        elif op == "advertiseServices":
            self.services |= {each["name"]: each["id"] for each in message["services"]}
        elif op == "unadvertiseServices":
            gone = set(message["serviceIds"])
            self.services = {n: i for n, i in self.services.items() if i not in gone}
        elif op == "serviceCallFailure":
            failure = RuntimeError(str(message.get("message")))
            self._calls.pop(message["callId"]).set_exception(failure)
        elif op == "serverInfo":
            self.server_info = message
        elif op == "status":
            self.statuses.append(message)
        self._changed.set()


@asynccontextmanager
async def open_client(url: str) -> AsyncIterator[FoxgloveClient]:
    """Connect to ``url`` (``ws://host:port``) and read until the block ends."""
    async with connect(url, subprotocols=[SUBPROTOCOL], max_size=None) as socket:
        client = FoxgloveClient(socket)
        reader = asyncio.create_task(client._read())
        try:
            yield client
        finally:
            reader.cancel()
            with suppress(asyncio.CancelledError):
                await reader
