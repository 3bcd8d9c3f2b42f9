"""A transport of another distribution: JSON lines over TCP, ``data`` in base64.

A client sends ``{"op": "subscribe" | "unsubscribe", "path"}`` and ``{"op": "publish", "path",
"type", "encoding", "data"}``; it gets ``{"path", "type", "data"}``, and ``{"refused"}``.
"""

import asyncio
import base64
import json
from contextlib import suppress
from dataclasses import dataclass

from dialtone_bridge.stats import Refusals
from dialtone_bridge.transports.base import Health, Inbound, Topic, Want
from dialtone_bridge.transports.carrier import Carrier, Context
from dialtone_bridge.transports.fanout import FanOut, Switchboard
from dialtone_core.aio import bound_send_buffer, end_task
from dialtone_core.config import param
from dialtone_core.delivery import Outbox
from dialtone_core.errors import WireError
from dialtone_core.sample import Sample


@dataclass(frozen=True)
class LineOptions:
    port: int = param(0, "port on loopback; 0 is any free one", minimum=0, maximum=65535)


class LineTransport:
    name = "line"

    def __init__(self, inbound: Inbound, options: LineOptions) -> None:
        self._inbound, self._options = inbound, options
        self._board, self._refusals, self._url = Switchboard(), Refusals(), ""
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", self._options.port)
        self._url = f"tcp://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def run(self) -> None:
        await asyncio.Event().wait()

    def attach(self, topic: Topic, want: Want) -> FanOut:
        return self._board.attach(topic, want)

    def health(self) -> Health:
        values = {"url": self._url, "clients": len(self._writers), **self._refusals.figures()}
        return Health(bool(self._url), "listening" if self._url else "closed", values)

    async def aclose(self) -> None:
        self._url = ""
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        bound_send_buffer(writer.transport)
        outbox: Outbox[Sample] = Outbox()
        outbox.bind(asyncio.get_running_loop())
        writing = asyncio.create_task(_write(outbox, writer))
        try:
            while line := await reader.readline():  # ValueError: longer than its limit
                try:
                    self._take(outbox, line)
                except WireError as error:
                    self._refusals.count(error.reason, error.detail)
                    writer.write(b'{"refused": "%b"}\n' % error.reason.encode())
        except (ValueError, OSError) as error:
            self._refusals.count("broken_off", str(error))
        finally:
            self._writers.discard(writer)
            self._board.drop(outbox)
            writer.close()
            await end_task(writing)

    def _take(self, outbox: Outbox[Sample], line: bytes) -> None:
        try:
            asked = json.loads(line)
            op, path = asked["op"], str(asked["path"])
            if op == "publish":
                data = base64.b64decode(asked["data"], validate=True)
                self._inbound.message(path, str(asked["type"]), str(asked["encoding"]), data)
            elif op in ("subscribe", "unsubscribe"):
                getattr(self._board, op)(outbox, path)
            else:
                raise WireError("no_operation", str(op)[:80])
        except WireError:
            raise
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise WireError("no_operation", str(error)[:80]) from error


async def _write(outbox: Outbox[Sample], writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):  # the reading side sees that the line broke
        while True:
            await outbox.wait()
            for lane, sample in outbox.drain(max_bytes=256 * 1024):
                data = base64.b64encode(sample.payload).decode()
                said = {"path": lane.name, "type": sample.type, "data": data}
                writer.write(json.dumps(said).encode() + b"\n")
            await writer.drain()


def create(context: Context) -> Carrier:
    return Carrier(LineTransport(context.inbound, context.options.read(LineOptions)))
