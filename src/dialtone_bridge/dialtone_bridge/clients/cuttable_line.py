"""A TCP line that can be cut or thin, for tests and benchmarks of what a bad link does."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Any

from dialtone_core.ports import free_ports

_READ_BYTES = 65536


class CuttableLine:
    """Carries connections from ``port`` on loopback to ``to_port`` while it is up.

    ``up`` and ``cut`` may be called any number of times. ``sent_bytes`` counts what came from
    the side that connects, which for a robot's leaf node is the robot's side. ``bytes_per_s`` is
    what gets through each way in a second (0: all), and little waits within the line.
    """

    def __init__(self, to_port: int, bytes_per_s: float = 0.0) -> None:
        (self.port,) = free_ports(1)
        self.bytes_per_s = bytes_per_s
        self.sent_bytes = 0
        self._to_port = to_port
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.Task[Any]] = set()

    async def up(self) -> None:
        """Take connections."""
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, limit=_READ_BYTES // 2
        )
        if self.bytes_per_s:
            for each in self._server.sockets:  # inherited by what connects
                each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _READ_BYTES)

    async def cut(self) -> None:
        """Break every connection and take no new one."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for task in list(self._links):
            task.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._links.add(task)
        far_writer: asyncio.StreamWriter | None = None
        try:
            far, far_writer = await self._reach()
            await self._carry(reader, writer, far, far_writer)
        except (OSError, asyncio.CancelledError):
            return  # cut; asyncio before 3.12 reports a handler that ends cancelled as an error
        finally:
            self._links.discard(task)
            for each in (writer, far_writer):
                if each is not None:
                    each.transport.abort()

    async def _reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        link = socket.socket()
        link.setblocking(False)
        if self.bytes_per_s:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _READ_BYTES)
        await asyncio.get_running_loop().sock_connect(link, ("127.0.0.1", self._to_port))
        return await asyncio.open_connection(sock=link, limit=_READ_BYTES // 2)

    async def _carry(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        far: asyncio.StreamReader,
        far_writer: asyncio.StreamWriter,
    ) -> None:
        """Both ways until one side hangs up; both tasks are over when this returns."""
        ways = [
            asyncio.create_task(self._pump(reader, far_writer, counted=True)),
            asyncio.create_task(self._pump(far, writer, counted=False)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.gather(*ways, return_exceptions=True)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counted: bool
    ) -> None:
        while data := await reader.read(_READ_BYTES):
            if counted:
                self.sent_bytes += len(data)
            if self.bytes_per_s:
                await asyncio.sleep(len(data) / self.bytes_per_s)
            writer.write(data)
            await writer.drain()
