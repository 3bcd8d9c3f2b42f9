"""A transport inside the process: for tests, and as the shortest example of what one is."""

from __future__ import annotations

import asyncio

from dialtone_bridge.stats import Refusals
from dialtone_bridge.transports.base import Health, Inbound, Topic, Want
from dialtone_bridge.transports.carrier import Carrier, Context
from dialtone_bridge.transports.fanout import FanOut, Switchboard
from dialtone_core.delivery import Outbox
from dialtone_core.errors import WireError
from dialtone_core.sample import Sample


class MemoryTransport:
    """See ``base.Transport``."""

    name = "memory"

    def __init__(self, inbound: Inbound) -> None:
        self._inbound = inbound
        self._open = False
        self.board = Switchboard()
        self.refusals = Refusals()

    async def open(self) -> None:
        self._open = True

    async def run(self) -> None:
        """Clients fetch their messages themselves."""
        await asyncio.Event().wait()

    def attach(self, topic: Topic, want: Want) -> FanOut:
        return self.board.attach(topic, want)

    def send(self, path: str, type_name: str, encoding: str, payload: bytes) -> None:
        """A client publishes; on the loop."""
        try:
            self._inbound.message(path, type_name, encoding, payload)
        except WireError as error:
            self.refusals.count(error.reason, error.detail)

    def health(self) -> Health:
        return Health(self._open, "open" if self._open else "closed", self.refusals.figures())

    async def aclose(self) -> None:
        self._open = False


class MemoryClient:
    """The far end: what a client at the other side of a wire would do. On the loop."""

    def __init__(self, transport: MemoryTransport) -> None:
        self._transport = transport
        self._outbox: Outbox[Sample] = Outbox()
        self._outbox.bind(asyncio.get_running_loop())

    def subscribe(self, path: str) -> None:
        self._transport.board.subscribe(self._outbox, path)

    def unsubscribe(self, path: str) -> None:
        self._transport.board.unsubscribe(self._outbox, path)

    async def receive(self) -> Sample:
        """The next message of any subscription; what is not fetched waits within its bounds."""
        while True:
            await self._outbox.wait()
            for _, sample in self._outbox.drain(max_items=1):
                return sample

    def send(self, path: str, type_name: str, encoding: str, payload: bytes) -> None:
        self._transport.send(path, type_name, encoding, payload)

    def close(self) -> None:
        self._transport.board.drop(self._outbox)


def create(context: Context) -> Carrier:
    """See ``registry``."""
    return Carrier(MemoryTransport(context.inbound))
