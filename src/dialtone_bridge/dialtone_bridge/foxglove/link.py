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
    """Who may come in: browsers from ``origins`` (regular expressions), and with ``token``."""

    origins: Sequence[re.Pattern[str]]
    token: str = ""

    def refuses(self, request: Request) -> tuple[HTTPStatus, str] | None:
        """Why this request may not come in. Programs send no Origin, browsers always do."""
        origins = request.headers.get_all("Origin")
        if len(origins) > 1 or (
            origins and not any(each.fullmatch(origins[0]) for each in self.origins)
        ):
            return HTTPStatus.FORBIDDEN, "this web page may not connect (foxglove_origins)\n"
        if self.token and not hmac.compare_digest(_token(request).encode(), self.token.encode()):
            return HTTPStatus.UNAUTHORIZED, "a token is wanted: ?token=… or a Bearer header\n"
        return None


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

    def on_closed(self) -> None: ...


class Link(asyncio.Protocol):
    """See above. ``on_open`` makes the listener once the handshake is through."""

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
        self.peer = ""
        self.heard_s = 0.0
        self.writable = asyncio.Event()

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

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.writable.set()
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
        self._transport.abort()

    def _serve(self) -> None:
        for event in self._protocol.events_received():
            if isinstance(event, Request):
                self._shake(event)
            elif isinstance(event, Frame):
                self._take(event)
        self._flush()
        if self._protocol.handshake_exc is not None or self._protocol.close_expected():
            self._transport.close()

    def _shake(self, request: Request) -> None:
        refusal = self._door.refuses(request)
        if refusal is not None:
            self._on_refused(refusal[1].strip())
            self._protocol.send_response(self._protocol.reject(*refusal))
            return
        response = self._protocol.accept(request)
        self._protocol.send_response(response)
        self._flush()
        if self._protocol.state is State.OPEN:
            self._listener = self._on_open(self)

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
