"""The HTTP server under the application: what aiohttp leaves open against slow and many clients.

aiohttp waits for ever for the end of a request's head ("slowloris"); here a connection that has
begun nothing or not finished its head is closed when its time is up. Connections are counted, and
one beyond the bound is closed at once.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler


class _Connection(RequestHandler):
    """One connection. ``deadline`` runs while no request is being handled or waiting."""

    __slots__ = ("_deadline", "_owner", "_transport")

    def __init__(self, owner: BoundedServer, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._owner = owner
        self._deadline: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._owner.open_connections >= self._owner.max_connections:
            self._owner.refused += 1
            self._transport.abort()
        else:
            self._arm()
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._current_request is None and not self._messages:
            self._arm()
        else:
            self._disarm()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def _arm(self) -> None:
        if self._deadline is None:
            loop = asyncio.get_running_loop()
            self._deadline = loop.call_later(self._owner.head_timeout_s, self._expire)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _expire(self) -> None:
        self._deadline = None
        if self._current_request is None and self._transport is not None:
            self._owner.timed_out += 1
            self._transport.abort()


class BoundedServer(web.Server):
    """Makes ``_Connection`` instead of aiohttp's own."""

    max_connections = 512
    head_timeout_s = 10.0
    refused = 0
    timed_out = 0

    @property
    def open_connections(self) -> int:
        return len(self.connections)

    def __call__(self) -> RequestHandler:
        return _Connection(self, self, loop=self._loop, **self._kwargs)


class BoundedRunner(web.AppRunner):
    """An ``AppRunner`` over a ``BoundedServer``."""

    def __init__(
        self, app: web.Application, *, max_connections: int, head_timeout_s: float
    ) -> None:
        super().__init__(
            app,
            handle_signals=False,
            access_log=None,
            keepalive_timeout=75,
            lingering_time=2,
            shutdown_timeout=0.3,
        )
        self._max_connections = max_connections
        self._head_timeout_s = head_timeout_s

    async def _make_server(self) -> BoundedServer:
        made = await super()._make_server()
        bounded = BoundedServer(
            made.request_handler,
            request_factory=made.request_factory,
            handler_cancellation=True,
            **made._kwargs,
        )
        bounded.max_connections = self._max_connections
        bounded.head_timeout_s = self._head_timeout_s
        return bounded

    @property
    def bounded(self) -> BoundedServer:
        """The server, once set up."""
        return cast(BoundedServer, self.server)
