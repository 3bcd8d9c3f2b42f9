"""Which subjects somebody subscribes to, told by the NATS server the moment it changes.

A client cannot ask a server that. A leaf node can: the server keeps each leaf node told of the
subjects that its side wants, so that nothing crosses the link for nobody. This connection says
that it is a leaf node, subscribes to nothing, sends nothing, and listens. Streams count as
subscribers, and so do those of servers behind this one.

Protocol (nats-server 2.15, ``server/leafnode.go``): ``INFO {json}``, ours ``CONNECT {json}`` and
``PING``; then ``LS+ subject [queue weight]`` for each interest that is or comes, ``LS- subject
[queue]`` when its last subscriber goes, ``PONG`` after the first batch; ``PING`` wants ``PONG``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import orjson

from dialtone_core.aio import timeout
from dialtone_core.natsauth import Login

_CONNECT_S = 3.0
_FIRST_WAIT_S, _LAST_WAIT_S = 0.2, 5.0
#: Longest line that a server may send: its INFO, with room to spare.
_LINE_BYTES = 256 * 1024


def matches(pattern: str, subject: str) -> bool:
    """Whether a subscription to ``pattern`` gets ``subject``; ``*`` is a token, ``>`` the rest."""
    wanted, have = pattern.split("."), subject.split(".")
    for index, token in enumerate(wanted):
        if token == ">":
            return len(have) > index
        if index >= len(have) or token not in ("*", have[index]):
            return False
    return len(wanted) == len(have)


class Interest:
    """The subjects wanted, from the server's ``LS+`` and ``LS-`` lines. Pure."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._wanted: set[tuple[str, str]] = set()

    def take(self, line: bytes) -> bool:
        """Apply one line; whether what is wanted under ``prefix`` changed."""
        words = line.decode("utf-8", "replace").split()
        if len(words) < 2 or words[0] not in ("LS+", "LS-"):
            return False
        key = (words[1], words[2] if len(words) > 2 else "")
        if not _meets(words[1], self._prefix):
            return False
        before = len(self._wanted)
        if words[0] == "LS+":
            self._wanted.add(key)
        else:
            self._wanted.discard(key)
        return len(self._wanted) != before

    def patterns(self) -> frozenset[str]:
        return frozenset(pattern for pattern, _ in self._wanted)


def _meets(pattern: str, prefix: str) -> bool:
    """Whether ``pattern`` can match a subject that begins with the tokens of ``prefix``."""
    for token, wanted in zip(pattern.split("."), prefix.split("."), strict=False):
        if token == ">":
            return True
        if token not in ("*", wanted):
            return False
    return True


def wants(patterns: Iterable[str] | None, subject: str) -> bool:
    """Whether ``subject`` is wanted; ``None`` (not known) wants everything."""
    return patterns is None or any(matches(pattern, subject) for pattern in patterns)


class InterestWatch:
    """Keeps ``on_change`` told of the patterns wanted under ``prefix``, or ``None`` while unknown.

    ``find`` gives the server's leaf node address and our login there at each attempt, or ``None``
    where it has none.
    What is known stays known while the server restarts; when it stays away, nothing is known.
    """

    def __init__(
        self,
        find: Callable[[], tuple[str, int, Login] | None],
        name: str,
        prefix: str,
        on_change: Callable[[frozenset[str] | None], None],
    ) -> None:
        self._find = find
        self._name = name
        self._prefix = prefix
        self._on_change = on_change
        self.state = "unknown"

    async def run(self) -> None:
        """Watch until cancelled."""
        wait_s = _FIRST_WAIT_S
        while True:
            try:
                await self._watch()
                wait_s = _FIRST_WAIT_S
            except (OSError, ValueError, asyncio.TimeoutError) as error:
                self.state = f"unknown: {str(error) or type(error).__name__}"
                if wait_s == _LAST_WAIT_S:
                    self._on_change(None)
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, _LAST_WAIT_S)

    async def _watch(self) -> None:
        address = self._find()
        if address is None:
            raise ValueError("the server offers no leaf node port")
        async with timeout(_CONNECT_S):
            reader, writer = await asyncio.open_connection(*address[:2], limit=_LINE_BYTES)
        try:
            async with timeout(_CONNECT_S):
                info = orjson.loads((await reader.readline()).removeprefix(b"INFO "))
            if info.get("tls_required"):  # and our login must not go in the clear
                raise ValueError("the leaf node port wants TLS")
            hello = self._hello(address[2].hello(info.get("nonce", "")))
            writer.write(b"CONNECT " + hello + b"\r\nPING\r\n")
            await self._listen(reader, writer)
        finally:
            writer.close()

    def _hello(self, who: dict[str, str]) -> bytes:
        ours = {"name": self._name, "server_id": self._name, "headers": True, "proto": 1}
        return orjson.dumps({**ours, **who})

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        interest = Interest(self._prefix)
        settled = False
        while line := await reader.readline():
            changed = interest.take(line)
            if line.startswith(b"PING"):
                writer.write(b"PONG\r\n")
            elif line.startswith(b"-ERR"):
                raise ValueError(line.decode("utf-8", "replace").strip())
            elif line.startswith(b"PONG"):
                settled, changed = True, True
                self.state = "watched"
            if settled and changed:
                self._on_change(interest.patterns())
