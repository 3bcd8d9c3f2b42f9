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
from collections import deque
from collections.abc import Callable, Sequence

import orjson

from dialtone_core.aio import timeout
from dialtone_core.errors import DialtoneError
from dialtone_core.natsauth import Login
from dialtone_core.natsretry import Backoff

_CONNECT_S = 3.0
_FIRST_WAIT_S, _LAST_WAIT_S = 0.2, 5.0
#: Silence for so long is asked about, and for twice as long the end of the line.
_QUIET_S = 5.0
#: Longest line that a server may send: its INFO, with room to spare.
_LINE_BYTES = 256 * 1024


def matches(pattern: str, subject: str) -> bool:
    """Whether a subscription to ``pattern`` gets ``subject``; ``*`` is a token, ``>`` the rest."""
    return _matches(pattern.split("."), subject.split("."))


def _matches(wanted: Sequence[str], have: Sequence[str]) -> bool:
    for index, token in enumerate(wanted):
        if token == ">":
            return len(have) > index
        if index >= len(have) or token not in ("*", have[index]):
            return False
    return len(wanted) == len(have)


class Interest:
    """The subjects wanted, from the server's ``LS+`` and ``LS-`` lines. Pure.

    Whole subjects are looked up, whatever their number; more than ``MAX_PATTERNS`` with wildcards
    want everything, so that no client makes the look-up slow.
    """

    MAX_PATTERNS = 256

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._subjects: dict[str, set[str]] = {}
        self._patterns: dict[str, set[str]] = {}
        self._tokens: list[list[str]] = []

    def take(self, line: bytes) -> bool:
        """Apply one line; whether what is wanted under ``prefix`` changed."""
        words = line.decode("utf-8", "replace").split()
        if len(words) < 2 or words[0] not in ("LS+", "LS-"):
            return False
        pattern, queue = words[1], words[2] if len(words) > 2 else ""
        if not _meets(pattern, self._prefix):
            return False
        wild = not {"*", ">"}.isdisjoint(pattern.split("."))
        changed = _note(self._patterns if wild else self._subjects, words[0], pattern, queue)
        if changed and wild:
            self._tokens = [each.split(".") for each in self._patterns]
        return changed

    def wants(self, subject: str) -> bool:
        """Whether somebody subscribes to ``subject``."""
        if subject in self._subjects or len(self._tokens) > self.MAX_PATTERNS:
            return True
        have = subject.split(".")
        return any(_matches(each, have) for each in self._tokens)


def _note(known: dict[str, set[str]], verb: str, subject: str, queue: str) -> bool:
    """Whether ``subject`` came or went: each has plain subscribers (no queue) and queues."""
    if verb == "LS+":
        known.setdefault(subject, set()).add(queue)
        return len(known[subject]) == 1
    if queue not in known.get(subject, ()):
        return False
    known[subject].discard(queue)
    if known[subject]:
        return False
    del known[subject]
    return True


def _meets(pattern: str, prefix: str) -> bool:
    """Whether ``pattern`` can match a subject that begins with the tokens of ``prefix``."""
    for token, wanted in zip(pattern.split("."), prefix.split("."), strict=False):
        if token == ">":
            return True
        if token not in ("*", wanted):
            return False
    return True


class InterestWatch:
    """Keeps ``on_change`` told of what is wanted under ``prefix``, or ``None`` while unknown.

    However many lines come at once, it is told once. ``find`` gives the server's leaf node address
    and our login there at each attempt, or ``None`` where it has none.
    What is known stays known while the server restarts; when it stays away, nothing is known.
    """

    def __init__(
        self,
        find: Callable[[], tuple[str, int, Login] | None],
        name: str,
        prefix: str,
        on_change: Callable[[Interest | None], None],
    ) -> None:
        self._find = find
        self._name = name
        self._prefix = prefix
        self._on_change = on_change
        self._waits = Backoff(_FIRST_WAIT_S, _LAST_WAIT_S)
        self.state = "unknown"

    async def run(self) -> None:
        """Watch until cancelled; a refusal is tried again as seldom as that of any client."""
        while True:
            why = ""
            try:
                await self._watch()
            except (OSError, ValueError, asyncio.TimeoutError, DialtoneError) as error:
                why = str(error) or type(error).__name__
                self.state = f"unknown: {why}"
                if self._waits.at_last:
                    self._on_change(None)
            await asyncio.sleep(self._waits.next_s(why))

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
        """Apply what the server says until it hangs up or falls silent.

        A line that a NAT forgot stays open for ever on our side: silence is asked about, and no
        answer ends it.
        """
        interest, lines = Interest(self._prefix), _Lines(reader)
        settled = changed = asked = False
        while True:
            try:
                line = await lines.next(_QUIET_S)
            except asyncio.TimeoutError:
                if asked:
                    raise ValueError(f"the server said nothing for {2 * _QUIET_S:g} s") from None
                writer.write(b"PING\r\n")
                asked = True
                continue
            if not line:
                return
            asked = False
            changed = interest.take(line) or changed
            if line.startswith(b"PING"):
                writer.write(b"PONG\r\n")
            elif line.startswith(b"-ERR"):
                raise ValueError(line.decode("utf-8", "replace").strip())
            elif line.startswith(b"PONG") and not settled:
                settled = changed = True
                self.state = "watched"
                self._waits.reset()
            if settled and changed and not lines.waiting:
                changed = False
                self._on_change(interest)


class _Lines:
    """Lines of a stream, and whether more have come already."""

    _READ_BYTES = 65536

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._found: deque[bytes] = deque()
        self._rest = b""

    @property
    def waiting(self) -> bool:
        return bool(self._found)

    async def next(self, timeout_s: float) -> bytes:
        """The next line, empty at the end; raises ``TimeoutError``, ``ValueError`` for no line."""
        while not self._found:
            async with timeout(timeout_s):
                data = await self._reader.read(self._READ_BYTES)
            if not data:
                return b""
            *whole, self._rest = (self._rest + data).split(b"\n")
            if len(self._rest) > _LINE_BYTES:
                raise ValueError("the server sent a line without end")
            self._found.extend(whole)
        return self._found.popleft() or b"\n"
