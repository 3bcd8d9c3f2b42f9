"""The far end of the NATS transport: a client of a real server, which stands between."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from bridge_rig import Child, Rig, until

from dialtone_bridge.transports.nats import NatsSettings, NatsTransport
from dialtone_core.aio import timeout
from dialtone_core.natsaccess import last_bucket
from dialtone_core.natslink import connect
from dialtone_core.paths import state_dir

STRING = "std_msgs/msg/String"


class Client:
    """An operator. Does what docs/wire.md tells those who come late: subscribe, then read the
    bucket, once more where it had nothing, and take what comes both ways once."""

    def __init__(self, client: Any, robot: str) -> None:
        self._client = client
        self._robot = robot
        self._inbox: asyncio.Queue[Any] = asyncio.Queue()
        self._subscriptions: dict[str, Any] = {}
        self._seen: set[tuple[str, str]] = set()

    async def subscribe(self, path: str) -> None:
        topic = path.replace("/", ".")
        subject = f"dt.{self._robot}.tlm.{topic}"
        self._subscriptions[path] = await self._client.subscribe(subject, cb=self._inbox.put)
        await self._client.flush()
        await self._read_bucket(topic)

    async def _read_bucket(self, topic: str) -> None:
        bucket = last_bucket(self._robot)
        asked = f"$JS.API.DIRECT.GET.KV_{bucket}.$KV.{bucket}.{topic}"
        got = await self._client.request(asked, timeout=5)
        if "Status" not in got.headers:  # 404: nothing is kept
            await self._inbox.put(got)

    async def unsubscribe(self, path: str) -> None:
        await self._subscriptions.pop(path).unsubscribe()
        await self._client.flush()

    async def receive(self) -> bytes:
        async with timeout(5):
            return await self._next()

    async def _next(self) -> bytes:
        while True:
            try:
                message = await asyncio.wait_for(self._inbox.get(), 0.2)
            except asyncio.TimeoutError:
                for path in self._subscriptions:
                    await self._read_bucket(path.replace("/", "."))
                continue
            which = (message.headers["Dt-Stamp-Ns"], message.headers["Dt-Seq"])
            if which not in self._seen:
                self._seen.add(which)
                return bytes(message.data)

    async def send(self, path: str, payload: bytes) -> None:
        headers = {"Dt-Type": STRING, "Dt-Encoding": "cdr"}
        await self._client.publish(f"dt.{self._robot}.cmd.{path}", payload, headers=headers)

    async def send_garbage(self) -> int:
        """The server refuses what is no NATS; the rest is bodies, headers and subjects."""
        commands = f"dt.{self._robot}.cmd"
        for body in (b"", b"\xff\xfe", b"{", b"[]", b'{"linear":{"x":"fast"}}', b"x" * 5000):
            await self._client.publish(f"{commands}.cmd_vel", body)
        await self._client.publish(f"{commands}.allowed", b"x", headers={"Dt-Encoding": "morse"})
        await self._client.publish(f"{commands}.a.b.c", b"x", headers={"Dt-Type": "\u2620"})
        return 8

    @contextmanager
    def stall(self) -> Iterator[None]:
        socket = self._client._transport._io_writer.transport
        socket.pause_reading()
        try:
            yield
        finally:
            socket.resume_reading()


class FarEnd:
    reaches_each = False

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._server: Child | None = None

    async def make(self, inbox: Any, log: Any) -> NatsTransport:
        server = self._server = self._rig.start_server()
        await until(lambda: "Server is ready" in server.text())
        return NatsTransport(NatsSettings(self._rig.robot, self._rig.nats_url), inbox, log)

    async def settle(self, transport: NatsTransport) -> None:
        await until(lambda: transport.health().values["interest"] == "watched")
        await until(lambda: transport.health().values["jetstream"] == "ready")

    @asynccontextmanager
    async def client(self, transport: NatsTransport) -> AsyncIterator[Client]:
        key = state_dir() / "nats" / self._rig.robot / "operator.nk"
        client = await connect(self._rig.nats_url, "far end", credentials=str(key))
        yield Client(client, self._rig.robot)
        await client.close()

    @contextmanager
    def freeze(self, client: Client) -> Iterator[None]:
        """What waits in the transport waits for the server."""
        assert self._server is not None
        os.kill(self._server.process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._server.process.pid, signal.SIGCONT)
