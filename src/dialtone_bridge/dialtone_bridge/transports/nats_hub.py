"""Whether the robot's server has joined its hub, and if not, why.

The server does not tell its clients. What the bridge can know: the hub answers each presence; and
where it does not, an attempt of our own to come in by the same door, as whom the server comes.

Protocol (nats-server 2.15, ``server/leafnode.go``): ``INFO {json}``, in the clear; TLS from there
on where it is wanted; ours ``CONNECT {json}`` and ``PING``; then ``PONG``, or ``-ERR`` and
the end.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import orjson

from dialtone_core.aio import end_if_cancelled
from dialtone_core.errors import DialtoneError
from dialtone_core.natsauth import Login, read_login, tls_context

_LOOK_S = 1.0
#: An answer to a presence is good for this long; a presence is said every 5 s.
ANSWER_S = 15.0
#: The server joins within this, or something is wrong.
_GRACE_S = 5.0
_AGAIN_S = 30.0
_TIMEOUT_S = 3.0
_LEAF_PORT = 7422
_MOST_BYTES = 256 * 1024


class HubLink:
    """``state``: ``none`` (no hub is set), ``waiting``, ``joined``, ``unanswered`` (it lets us in
    and answers no presence: nobody there does), ``refused``, ``away``.

    ``find`` gives the hub's URL and the file with our credentials, ``answered_s`` when it answered
    last. ``on_change(state, why)`` runs on the loop.
    """

    def __init__(
        self,
        find: Callable[[], tuple[str, str] | None],
        answered_s: Callable[[], float],
        on_change: Callable[[str, str], None],
    ) -> None:
        self.state = "none"
        self.why = ""
        self._find = find
        self._answered_s = answered_s
        self._on_change = on_change

    @property
    def ok(self) -> bool:
        return self.state not in ("refused", "away")

    async def run(self) -> None:
        """Until cancelled."""
        next_s = time.monotonic() + _GRACE_S
        while True:
            hub = self._find()
            now_s = time.monotonic()
            if hub is None:
                self._become("none", "")
            elif now_s - self._answered_s() < ANSWER_S:
                self._become("joined", "")
                next_s = 0.0
            elif now_s >= next_s:
                self._become(*await asyncio.to_thread(knock, *hub))
                next_s = time.monotonic() + _AGAIN_S
            elif self.state == "none":
                self._become("waiting", "")
            end_if_cancelled()
            await asyncio.sleep(_LOOK_S)

    def _become(self, state: str, why: str) -> None:
        if (state, why) != (self.state, self.why):
            self.state, self.why = state, why
            self._on_change(state, why)


def knock(url: str, credentials: str) -> tuple[str, str]:
    """Try to come in as the server does: ``unanswered``, ``refused`` or ``away``, and why.

    Blocks for a few seconds at most.
    """
    parts = urlsplit(url)
    if parts.scheme in ("ws", "wss"):
        return "unanswered", ""
    try:
        login = read_login(Path(credentials).expanduser()) if credentials else Login()
        address = (parts.hostname or "", parts.port or _LEAF_PORT)
        with socket.create_connection(address, _TIMEOUT_S) as line:
            return _come_in(line, url, login)
    except DialtoneError as error:
        return "refused", str(error)
    except OSError as error:
        return "away", str(error) or type(error).__name__
    except ValueError as error:
        return "refused", f"that is no hub ({error})"


def _come_in(line: socket.socket, url: str, login: Login) -> tuple[str, str]:
    deadline_s = time.monotonic() + _TIMEOUT_S
    info = orjson.loads(_next(line, bytearray(), deadline_s).removeprefix(b"INFO "))
    context = tls_context(url)
    if context is None:
        if info.get("tls_required"):
            return "refused", "it wants TLS. Fix: give hub_url as tls://"
        return _say_hello(line, info, login, deadline_s)
    line.settimeout(_TIMEOUT_S)
    try:
        with context.wrap_socket(line, server_hostname=urlsplit(url).hostname) as safe:
            return _say_hello(safe, info, login, deadline_s)
    except ssl.SSLError as error:
        return "refused", f"TLS does not come about: {error}"


def _say_hello(
    line: socket.socket, info: dict[str, str], login: Login, deadline_s: float
) -> tuple[str, str]:
    hello = {"name": "knock", "server_id": "knock", "headers": True, "proto": 1}
    who = login.hello(info.get("nonce", ""))
    line.sendall(b"CONNECT " + orjson.dumps({**hello, **who}) + b"\r\nPING\r\n")
    rest = bytearray()
    try:
        while not (said := _next(line, rest, deadline_s)).startswith((b"PONG", b"-ERR")):
            pass
    except ConnectionError:
        return "refused", "it hung up"
    if said.startswith(b"PONG"):
        return "unanswered", ""
    words = said.decode("utf-8", "replace").removeprefix("-ERR").strip(" '\r\n")
    return "refused", words[:200]


def _next(line: socket.socket, rest: bytearray, deadline_s: float) -> bytes:
    """One line; ``rest`` keeps what came behind it. Raises ``ConnectionError`` at the end."""
    while b"\n" not in rest:
        line.settimeout(max(0.01, deadline_s - time.monotonic()))
        data = line.recv(65536)
        if not data:
            raise ConnectionResetError("it hung up")
        rest += data
        if len(rest) > _MOST_BYTES:
            raise ValueError("a line without an end")
    found, _, behind = bytes(rest).partition(b"\n")
    rest[:] = behind
    return found
