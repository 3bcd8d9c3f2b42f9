"""The far end of the line transport: a TCP client that reads when it is asked to."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from dialtone_line import LineOptions, LineTransport

STRING = "std_msgs/msg/String"


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def _say(self, **words: str) -> None:
        self._writer.write(json.dumps(words).encode() + b"\n")

    async def subscribe(self, path: str) -> None:
        self._say(op="subscribe", path=path)

    async def unsubscribe(self, path: str) -> None:
        self._say(op="unsubscribe", path=path)

    async def receive(self) -> bytes:
        while True:
            said = json.loads(await asyncio.wait_for(self._reader.readline(), 5))
            if "data" in said:
                return base64.b64decode(said["data"])

    async def send(self, path: str, payload: bytes, type_name: str = STRING) -> None:
        data = base64.b64encode(payload).decode()
        self._say(op="publish", path=path, type=type_name, encoding="cdr", data=data)

    async def send_garbage(self) -> int:
        """Lines that are no JSON, JSON that is no operation, data that is none."""
        lines = [b"", b"\xff", b"{", b"[]", b"7", b'{"op": []}', b'{"op": "rm", "path": "/"}']
        publish = b'{"op": "publish", "path": "allowed", "type": "x", "encoding": '
        lines += [b"[" * 50_000, publish + b'"cdr", "data": "?"}', publish + b'"o", "data": ""}']
        for line in lines:
            self._writer.write(line + b"\n")
        return len(lines)

    @contextmanager
    def stall(self) -> Iterator[None]:
        """A reader that is not asked stops reading, with a little ahead."""
        yield


class FarEnd:
    reaches_each = True

    def __init__(self, rig: Any) -> None:
        pass

    async def make(self, inbox: Any, log: Any) -> LineTransport:
        return LineTransport(inbox, LineOptions())

    async def settle(self, transport: LineTransport) -> None:
        """Clients say it themselves."""

    @asynccontextmanager
    async def client(self, transport: LineTransport) -> AsyncIterator[Client]:
        async with open_client(transport.health().values["url"]) as client:
            yield client

    def freeze(self, client: Client) -> Any:
        return client.stall()


@asynccontextmanager
async def open_client(url: str) -> AsyncIterator[Client]:
    host, _, port = url.removeprefix("tcp://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 20)
    yield Client(reader, writer)
    writer.close()
