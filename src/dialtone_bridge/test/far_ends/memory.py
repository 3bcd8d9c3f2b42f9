"""The far end of the memory transport: a client in the same process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from bridge_rig import Rig

from dialtone_bridge.transports.memory import MemoryClient, MemoryTransport

STRING = "std_msgs/msg/String"


class Client:
    """Fetches a message when it is asked to and not before: stalled is what it always is."""

    def __init__(self, transport: MemoryTransport) -> None:
        self.memory = MemoryClient(transport)

    async def subscribe(self, path: str) -> None:
        self.memory.subscribe(path)

    async def unsubscribe(self, path: str) -> None:
        self.memory.unsubscribe(path)

    async def receive(self) -> bytes:
        return (await asyncio.wait_for(self.memory.receive(), 5)).payload

    async def send(self, path: str, payload: bytes) -> None:
        self.memory.send(path, STRING, "cdr", payload)

    async def send_garbage(self) -> int:
        """Bytes cannot be malformed where there is no wire; what they are called can."""
        self.memory.send("allowed", STRING, "morse", b"\xff")
        self.memory.send("../..", STRING, "cdr", b"")
        return 2

    @contextmanager
    def stall(self) -> Iterator[None]:
        yield


class FarEnd:
    reaches_each = True

    def __init__(self, rig: Rig) -> None:
        pass

    async def make(self, inbox: Any, log: Any) -> MemoryTransport:
        return MemoryTransport(inbox)

    async def settle(self, transport: MemoryTransport) -> None:
        """Clients say it themselves."""

    @asynccontextmanager
    async def client(self, transport: MemoryTransport) -> AsyncIterator[Client]:
        made = Client(transport)
        yield made
        made.memory.close()

    def freeze(self, client: Client) -> Any:
        return client.stall()
