"""One WebSocket connection as a server has it: handshake, frames, back-pressure.

The ``websockets`` library's sans-I/O half keeps the protocol: handshake, masks, fragments, pings,
close. What goes out bypasses it: a message is its frame's head and its bytes, a burst of messages
one write, which is what 10,000 messages a second need.
"""

from __future__ import annotations

import asyncio
import hmac
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from dialtone_bridge.foxglove.messages import SUBPROTOCOLS
from dialtone_core.aio import bound_send_buffer

#: What a client may send at once; the largest sensible message of a person's tool.
_MAX_MESSAGE = 16 * 1024 * 1024
#: Beyond this a client's data waits in its lanes, where bounds and fairness hold, and not in
#: buffers where it only grows stale.
_AHEAD_BYTES = 256 * 1024


@dataclass(frozen=True)
class Door:
    """Who may come in: browsers from ``origins`` (regular expressions), with ``token``, and while
    ``full`` gives no reason against it."""

    origins: Sequence[re.Pattern[str]]
    token: str = ""
    full: Callable[[], str] = str

    def refuses(self, request: Request) -> tuple[HTTPStatus, str] | None:
        """Why this request may not come in. Programs send no Origin, browsers always do."""
        origins = request.headers.get_all("Origin")
        if len(origins) > 1 or (
            origins and not any(each.fullmatch(origins[0]) for each in self.origins)
        ):
            return HTTPStatus.FORBIDDEN, "this web page may not connect (foxglove_origins)\n"
        given = _token(request).encode("utf-8", "surrogateescape")  # headers may be any bytes
        if self.token and not hmac.compare_digest(given, self.token.encode()):
            return HTTPStatus.UNAUTHORIZED, "a token is wanted: ?token=… or a Bearer header\n"
        full = self.full()
        return (HTTPStatus.SERVICE_UNAVAILABLE, f"{full}\n") if full else None


def _token(request: Request) -> str:
    """From the header, or from the address, where a browser cannot set headers."""
    given = request.headers.get_all("Authorization")
    if len(given) == 1 and given[0].lower().startswith("bearer "):
        return given[0][7:].strip()
    return parse_qs(urlsplit(request.path).query).get("token", [""])[0]


class Listener(Protocol):
    """What a connection tells, on the loop."""

    def on_text(self, body: bytes) -> None: ...

    def on_binary(self, body: bytes) -> None: ...

    def on_broken(self, why: str) -> None:
        """What it said ended the connection."""

    def on_closed(self) -> None: ...


class Link(asyncio.Protocol):
    """See above. ``on_open`` makes the listener once the handshake is through; ``greeted`` is set
    then, with ``welcome``, or when the connection is gone. ``on_refused`` hears who was not let in
    and why."""

    def __init__(
        self,
        door: Door,
        on_open: Callable[[Link], Listener],
        on_refused: Callable[[str], None],
    ) -> None:
        self._door = door
        self._on_open = on_open
        self._on_refused = on_refused
        self._protocol = ServerProtocol(
            subprotocols=[Subprotocol(each) for each in SUBPROTOCOLS],
            max_size=_MAX_MESSAGE,
        )
        self._transport: Any = None
        self._listener: Listener | None = None
        self._parts: list[bytes] = []
        self._text = False
        self.peer = "a client"
        self.heard_s = 0.0
        self.writable = asyncio.Event()
        self.greeted = asyncio.Event()
        self.welcome = False

    # -- asyncio.Protocol -------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._transport.set_write_buffer_limits(high=_AHEAD_BYTES)
        bound_send_buffer(transport)
        host, port, *_ = transport.get_extra_info("peername") or ("?", 0)
        self.peer = f"{host}:{port}"
        self.heard_s = asyncio.get_running_loop().time()
        self.writable.set()

    def data_received(self, data: bytes) -> None:
        self.heard_s = asyncio.get_running_loop().time()
        self._protocol.receive_data(data)
        self._serve()

    def eof_received(self) -> None:
        self._protocol.receive_eof()
        self._serve()

    def _serve(self) -> None:
        """Whatever a client's bytes bring about ends its own connection at most."""
        try:
            self._answer()
        except Exception as error:  # an error that we did not foresee, of a library or our own
            self._broken(repr(error))

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.writable.set()
        self.greeted.set()
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.on_closed()

    # -- the server's side ------------------------------------------------------------------

    def write(self, parts: Sequence[bytes]) -> None:
        """Send whole frames; nothing where the connection is gone."""
        if self._protocol.state is State.OPEN and not self._transport.is_closing():
            self._transport.write(b"".join(parts))

    def ping(self) -> None:
        if self._protocol.state is State.OPEN:
            self._protocol.send_ping(b"")
            self._flush()

    def close(self) -> None:
        """Say so and hang up."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(1001)
            self._flush()
        self._transport.close()

    def abort(self) -> None:
        """Hang up at once, for a client that does not read."""
        if self._transport is not None:
            self._transport.abort()

    def _answer(self) -> None:
        for event in self._protocol.events_received():
            if isinstance(event, Request):
                self._shake(event)
            elif isinstance(event, Frame):
                self._take(event)
        self._flush()
        wrong = self._protocol.handshake_exc
        if wrong is not None:
            self._refuse(str(wrong))
        elif self._protocol.parser_exc is not None and self._listener is not None:
            self._broken(str(self._protocol.parser_exc))
        elif self._protocol.close_expected():
            self._transport.close()

    def _broken(self, why: str) -> None:
        if self._listener is None:
            self._refuse(why)
        else:
            self._listener.on_broken(why)
        self._transport.close()

    def _refuse(self, why: str) -> None:
        if not self._transport.is_closing():
            self._on_refused(f"{self.peer}: {why.strip()}")
            self._transport.close()

    def _shake(self, request: Request) -> None:
        refusal = self._door.refuses(request)
        response = self._protocol.reject(*refusal) if refusal else self._protocol.accept(request)
        self._protocol.send_response(response)
        self._flush()
        if refusal:
            self._refuse(refusal[1])
        elif self._protocol.state is State.OPEN:
            self._listener = self._on_open(self)
            self.welcome = True
            self.greeted.set()

    def _take(self, frame: Frame) -> None:
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
            self._text = frame.opcode is Opcode.TEXT
        elif frame.opcode is not Opcode.CONT:
            return
        self._parts.append(bytes(frame.data))
        if not frame.fin:
            return
        body, self._parts = b"".join(self._parts), []
        if self._listener is not None:
            (self._listener.on_text if self._text else self._listener.on_binary)(body)

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if self._transport.is_closing():
                return
            if data:
                self._transport.write(data)
            elif self._transport.can_write_eof():
                self._transport.write_eof()
