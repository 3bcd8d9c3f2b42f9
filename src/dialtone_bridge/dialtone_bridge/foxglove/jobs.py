"""Requests that take time, counted by client and kind: nobody waits for somebody else's."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

from dialtone_core.errors import WireError

Work = Callable[[], Awaitable[None]]
#: What may wait for its turn of one client's requests, all kinds together.
_MAX_WAITING = 4096
_MAX_WAITING_BYTES = 16 * 1024 * 1024


@dataclass
class _Kind:
    """Requests of one kind of one client: under way, and waiting with their sizes in bytes."""

    most: int
    under_way: set[asyncio.Task[None]] = field(default_factory=set)
    waiting: deque[tuple[Work, int]] = field(default_factory=deque)


class Jobs:
    """Does so many of each kind at once for each client and the others in turn; on the loop.

    A call that hangs holds up calls of the same service by the same client and no other: an
    e-stop never waits for it. ``failed`` hears of what a piece of work raised.
    """

    def __init__(self, failed: Callable[[BaseException], None]) -> None:
        self._failed = failed
        self._kinds: dict[tuple[int, str], _Kind] = {}
        self._waiting: Counter[int] = Counter()
        self._bytes: Counter[int] = Counter()

    def start(self, client: int, kind: str, most: int, work: Work, size: int = 0) -> None:
        """Do ``work`` (which keeps ``size`` bytes) once fewer than ``most`` of its kind are under
        way; raises ``WireError`` where too much waits already."""
        key = (client, kind)
        known = self._kinds.get(key)
        if known is None:
            known = self._kinds[key] = _Kind(most)
        if len(known.under_way) < most:
            self._run(key, known, work)
            return
        waiting, held = self._waiting[client], self._bytes[client]
        if waiting >= _MAX_WAITING or held + size > _MAX_WAITING_BYTES:
            raise WireError("busy", f"{waiting} requests of yours wait for an answer")
        known.waiting.append((work, size))
        self._waiting[client] += 1
        self._bytes[client] += size

    def drop(self, client: int, kind: str) -> None:
        """End what is under way of ``kind`` for ``client``, and what waits."""
        known = self._kinds.get((client, kind))
        if known is not None:
            while known.waiting:
                self._take(client, known)
            for task in known.under_way:
                task.cancel()

    def close(self) -> None:
        """End everything."""
        for client, kind in list(self._kinds):
            self.drop(client, kind)

    def _run(self, key: tuple[int, str], known: _Kind, work: Work) -> None:
        async def carry() -> None:
            await work()

        task = asyncio.get_running_loop().create_task(carry())
        known.under_way.add(task)
        task.add_done_callback(partial(self._done, key, known))

    def _take(self, client: int, known: _Kind) -> Work:
        work, size = known.waiting.popleft()
        self._waiting[client] -= 1
        self._bytes[client] -= size
        if not self._waiting[client]:
            del self._waiting[client], self._bytes[client]
        return work

    def _done(self, key: tuple[int, str], known: _Kind, task: asyncio.Task[None]) -> None:
        known.under_way.discard(task)
        failure = None if task.cancelled() else task.exception()
        if failure is not None:
            self._failed(failure)
        if known.waiting:
            self._run(key, known, self._take(key[0], known))
        elif not known.under_way:
            self._kinds.pop(key, None)
