"""What the contract of transports is asked with: far ends by kind.

A far end is what a kind of transport looks like from outside. Each file of ``far_ends`` holds one,
and so may another distribution: an entry point of the group ``dialtone.far_ends``, named like its
transport. Nothing here or in ``test_transport_contract.py`` knows any kind.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from bridge_rig import Rig, until
from feed_rig import STRING, Feed, Inbox, Said

from dialtone_bridge.exchange import Exchange, FlowReport
from dialtone_bridge.params import RouteParams
from dialtone_bridge.routes import RouteTable
from dialtone_bridge.transports.base import SinkStats, Topic, Transport
from dialtone_core.aio import end_task
from dialtone_core.plugins import Plugins
from dialtone_core.sample import Sample

DEFINITION = "string data\n"


class Client(Protocol):
    """Somebody at the far end, who reads nothing but what ``receive`` asks for."""

    async def subscribe(self, path: str) -> None: ...

    async def unsubscribe(self, path: str) -> None: ...

    async def receive(self) -> bytes:
        """The next message of any subscription; raises ``TimeoutError`` where none comes."""

    async def send(self, path: str, payload: bytes) -> None: ...

    async def send_garbage(self) -> int:
        """What is no command, in every way that this kind knows; how many refusals that makes."""

    def stall(self) -> AbstractContextManager[None]:
        """Take nothing off the wire meanwhile."""


async def receive_until(client: Client, *last: bytes) -> list[bytes]:
    """What comes to ``client`` until each of ``last`` has."""
    found: list[bytes] = []
    while not set(last) <= set(found):
        found.append(await client.receive())
    return found


class FarEnd(Protocol):
    """One kind of transport, and what its clients are to it."""

    reaches_each: bool
    """The transport talks to each client: it can give one what others do not get, and it knows
    what each of them loses. Where a broker stands between, the broker does, and the transport
    does not know."""

    def __init__(self, rig: Rig) -> None: ...

    async def make(self, inbox: Inbox, log: Said) -> Transport:
        """A transport that is not open yet, beside whatever it needs."""

    async def settle(self, transport: Transport) -> None:
        """Return once it is known what clients want."""

    def client(self, transport: Transport) -> AbstractAsyncContextManager[Client]: ...

    def freeze(self, client: Client) -> AbstractContextManager[None]:
        """Whoever takes what waits in the transport takes nothing: ``client``, or the broker."""


_FOLDER = Path(__file__).parent / "far_ends"
_FAR_ENDS = Plugins(
    "dialtone.far_ends",
    {each.stem: f"far_ends.{each.stem}:FarEnd" for each in _FOLDER.glob("[a-z]*.py")},
)
FAR_ENDS: dict[str, type[FarEnd]] = {
    name: _FAR_ENDS.load(name, "far end") for name in _FAR_ENDS.names()
}
KINDS = sorted(FAR_ENDS)
REACHING_EACH = [kind for kind in KINDS if FAR_ENDS[kind].reaches_each]


@dataclass
class Line:
    """A running transport, its exchange and a client at its far end."""

    kind: str
    far: FarEnd
    transport: Transport
    exchange: Exchange
    feed: Feed
    inbox: Inbox
    client: Client
    running: asyncio.Task[None]

    def health(self, key: str) -> Any:
        return self.transport.health().values.get(key, 0)

    def losses(self) -> dict[str, object]:
        """Whatever health counts as dropped."""
        values = self.transport.health().values
        return {key: values[key] for key in values if "dropped" in key}

    def row(self, topic: str) -> FlowReport:
        (row,) = [each for each in self.exchange.reports() if each.topic == topic]
        return row

    def stats(self, topic: str) -> SinkStats:
        return self.row(topic).sinks[self.kind]

    async def offer(self, *topics: str, type_name: str = STRING) -> None:
        """Have topics, and the client subscribed to them."""
        for topic in topics:
            self.exchange.found(topic, type_name, DEFINITION)
            await self.client.subscribe(topic.strip("/"))
            await until(lambda topic=topic: self.kind in self.row(topic).wanted)


@asynccontextmanager
async def line(kind: str, rig: Rig, **routes: RouteParams) -> AsyncIterator[Line]:
    inbox, feed = Inbox(), Feed()
    far = FAR_ENDS[kind](rig)
    transport = await far.make(inbox, Said())
    exchange = Exchange(feed, [transport], RouteTable(routes))
    await transport.open()
    running = asyncio.create_task(transport.run())
    try:
        await far.settle(transport)
        async with far.client(transport) as client:
            yield Line(kind, far, transport, exchange, feed, inbox, client, running)
    finally:
        await end_task(running)
        await transport.aclose()


def topic_of(name: str, **route: Any) -> Topic:
    """A topic beside any exchange."""
    table = RouteTable({"a": RouteParams(topic=name.strip("/"), **route)})
    found = table.route(name, STRING)
    assert found is not None

    def replay(_: Callable[[Sequence[Sample]], None]) -> None:
        raise AssertionError("nothing is held here")

    return Topic(name, name.strip("/"), STRING, DEFINITION, found, lambda body: body, replay)
