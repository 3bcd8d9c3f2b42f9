"""Takes connections at one address, and parts from those that do not shake hands in time.

A connection that says nothing costs a file descriptor for ten seconds and no more; of those that
have not shaken hands yet (TLS and WebSocket) the oldest makes room for a new one, so that whoever
opens thousands keeps nobody out who knows what to say.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from dialtone_bridge.foxglove.link import Link
from dialtone_core.aio import end_task, timeout
from dialtone_core.errors import ConfigError, DialtoneError

SHAKE_S = 10.0
_BACKLOG = 128
#: How long to wait where the process has no file descriptor left.
_FULL_S = 0.5


@dataclass(frozen=True)
class Address:
    """Where to listen (port 0: any free one), with TLS and a token or without."""

    host: str
    port: int
    token: str = ""
    tls_cert: str = ""
    tls_key: str = ""

    def context(self) -> ssl.SSLContext | None:
        """The TLS context; raises ``ConfigError`` where the files are none."""
        if self.tls_key and not self.tls_cert:
            raise ConfigError(
                "foxglove_tls_key is given and foxglove_tls_cert is not",
                fix="give the certificate too: without it nothing would be encrypted",
            )
        if not self.tls_cert:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self.tls_cert, self.tls_key or None)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"foxglove_tls_cert and foxglove_tls_key cannot be used ({error})",
                where=self.tls_cert,
                fix="give a certificate chain and its key as PEM files",
            ) from error
        return context


class Entrance:
    """``make`` gives a link for each connection; at most ``most`` shake hands at a time.
    ``turned_away`` hears of those that did not come in."""

    def __init__(
        self,
        address: Address,
        make: Callable[[], Link],
        most: int,
        turned_away: Callable[[str], None],
    ) -> None:
        self._address = address
        self._context = address.context()
        self._make = make
        self._most = most
        self._turned_away = turned_away
        self._listening: list[socket.socket] = []
        self._accepting: list[asyncio.Task[None]] = []
        self._greeting: dict[asyncio.Task[None], None] = {}

    async def open(self) -> int:
        """Listen, and return the port; raises ``DialtoneError`` where that cannot be."""
        host, port = self._address.host, self._address.port
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(
                host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            for family, kind, protocol, _, where in dict.fromkeys(found):
                raw = socket.socket(family, kind, protocol)
                self._listening.append(raw)
                _bind(raw, where)
        except OSError as error:
            await self.aclose()
            raise DialtoneError(
                f"cannot serve Foxglove on {host}:{port} ({error.strerror})",
                fix="stop what listens there, or set foxglove_port to another port or 0",
            ) from error
        self._accepting = [loop.create_task(self._accept(each)) for each in self._listening]
        return int(self._listening[0].getsockname()[1])

    async def aclose(self) -> None:
        """Take no more; idempotent."""
        for task in [*self._accepting, *self._greeting]:
            await end_task(task)
        for each in self._listening:
            each.close()
        self._accepting, self._listening = [], []

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                raw, _ = await loop.sock_accept(listening)
            except OSError as error:
                self._turned_away(f"it cannot be taken ({error.strerror})")
                await asyncio.sleep(_FULL_S)
                continue
            if len(self._greeting) >= self._most:
                next(iter(self._greeting)).cancel()
            task = loop.create_task(self._greet(raw))
            self._greeting[task] = None
            task.add_done_callback(lambda task: self._greeting.pop(task, None))

    async def _greet(self, raw: socket.socket) -> None:
        """Until it has shaken hands, or is gone."""
        link, tls = self._make(), self._context
        shake_s = SHAKE_S if tls is not None else None
        try:
            async with timeout(SHAKE_S):
                await asyncio.get_running_loop().connect_accepted_socket(
                    lambda: link, raw, ssl=tls, ssl_handshake_timeout=shake_s
                )
                await link.greeted.wait()
        except asyncio.TimeoutError:
            self._turned_away(f"{link.peer} shook no hands in {SHAKE_S:g} s")
        except OSError as error:  # ssl.SSLError is one
            self._turned_away(f"no TLS with {link.peer} ({error})")
        finally:
            if not link.welcome:
                link.abort()


def _bind(raw: socket.socket, where: tuple[object, ...]) -> None:
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if raw.family == socket.AF_INET6:
        raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    raw.bind(where)
    raw.listen(_BACKLOG)
    raw.setblocking(False)
