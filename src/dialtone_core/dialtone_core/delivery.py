"""Bounded delivery from any thread to one asyncio loop.

The producer (an rclpy executor thread) appends and wakes the loop **once per burst**: a
``call_soon_threadsafe`` costs a pipe write, so one a message would dominate at 10,000 msg/s.
Every lane is bounded in messages and bytes, has a stated policy, and counts what it drops.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Generic, Literal, TypeVar

T = TypeVar("T")


class Priority(IntEnum):
    """Lower goes first: a command never waits behind telemetry."""

    COMMAND = 0
    EVENT = 1
    TELEMETRY = 2
    BULK = 3


@dataclass(frozen=True, slots=True)
class Policy:
    """How a lane behaves when its reader is slower than its writer.

    ``latest`` keeps the newest item only; ``queue`` keeps up to ``max_messages`` and
    ``max_bytes`` and drops the oldest.
    """

    kind: Literal["latest", "queue"] = "queue"
    max_messages: int = 1024
    max_bytes: int = 16 * 1024 * 1024

    def __post_init__(self) -> None:
        if self.max_messages < 1 or self.max_bytes < 1:
            raise ValueError("a lane holds at least one message and one byte")


LATEST = Policy("latest", 1)


class Lane(Generic[T]):
    """One bounded queue inside an ``Outbox``. ``put`` may be called from any thread."""

    def __init__(self, name: str, policy: Policy, priority: Priority, outbox: Outbox[T]) -> None:
        self.name = name
        self.policy = policy
        self.priority = priority
        self.delivered = 0
        self.dropped = 0
        self.dropped_bytes = 0
        self._items: deque[tuple[T, int]] = deque()
        self._bytes = 0
        self._queued = False
        self._closed = False
        self._outbox = outbox

    def __len__(self) -> int:
        return len(self._items)

    @property
    def waiting_bytes(self) -> int:
        return self._bytes

    def put(self, item: T, size: int) -> None:
        """Append ``item`` of ``size`` bytes, dropping the oldest beyond the bounds."""
        self.put_all(((item, size),))

    def put_all(self, items: Sequence[tuple[T, int]]) -> None:
        """Append items with their sizes in bytes, as ``put`` does, and wake the reader once."""
        added = sum([size for _, size in items])
        with self._outbox._lock:
            if self._closed:
                return
            self._items.extend(items)
            self._bytes += added
            self._outbox._bytes += added
            limit = 1 if self.policy.kind == "latest" else self.policy.max_messages
            while len(self._items) > limit or (
                self._bytes > self.policy.max_bytes and len(self._items) > 1
            ):
                self._drop_oldest()
            sleeping = self._outbox._grew(self)
        if sleeping:
            self._outbox._wake()

    def _drop_oldest(self) -> None:
        _, size = self._items.popleft()
        self._bytes -= size
        self._outbox._bytes -= size
        self.dropped += 1
        self.dropped_bytes += size

    def _take(self) -> T:
        item, size = self._items.popleft()
        self._bytes -= size
        self._outbox._bytes -= size
        self.delivered += 1
        return item


class Outbox(Generic[T]):
    """Everything that waits for one sink: lanes served by priority, round robin within one.

    ``bind`` once from the loop that will read; then ``await wait()`` and serve ``drain()``.
    Beyond ``max_bytes`` in all lanes together the lane that holds most of them drops its oldest,
    so that a big topic never costs a small one its messages.
    """

    def __init__(self, max_bytes: int | None = None) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._lanes: list[Lane[T]] = []
        # Lanes that hold something, by priority; a lane among a thousand is found at once.
        self._ready: dict[Priority, deque[Lane[T]]] = {each: deque() for each in Priority}
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._event: asyncio.Event | None = None
        self._signalled = False

    def bind(self, loop: asyncio.AbstractEventLoop) -> None:
        """Name the reading loop. Items put before are not lost: ``wait`` returns at once."""
        with self._lock:
            self._loop = loop
            self._event = asyncio.Event()
            self._signalled = any(lane._items for lane in self._lanes)
            if self._signalled:
                self._event.set()

    def open_lane(
        self, name: str, policy: Policy | None = None, priority: Priority = Priority.TELEMETRY
    ) -> Lane[T]:
        lane: Lane[T] = Lane(name, policy or Policy(), priority, self)
        with self._lock:
            self._lanes.append(lane)
        return lane

    def close_lane(self, lane: Lane[T]) -> None:
        """Forget ``lane`` and what waits in it; idempotent."""
        with self._lock:
            if lane in self._lanes:
                self._lanes.remove(lane)
                lane._closed = True
                self._bytes -= lane._bytes
                if lane._queued:
                    self._ready[lane.priority].remove(lane)
                    lane._queued = False

    @property
    def lanes(self) -> tuple[Lane[T], ...]:
        with self._lock:
            return tuple(self._lanes)

    async def wait(self) -> None:
        """Return once something waits."""
        if self._event is None:
            raise RuntimeError("bind the outbox to a loop before waiting on it")
        await self._event.wait()

    def drain(self, max_items: int = 256, max_bytes: int | None = None) -> list[tuple[Lane[T], T]]:
        """Take up to ``max_items`` waiting items, best priority first, lanes in turn.

        Ends with the item that passes ``max_bytes``. The lock is taken once, so that a producer is
        not held up for each item; what arrives later is judged at the next call. Leaves the outbox
        signalled when items remain, so the next ``wait`` returns at once.
        """
        found: list[tuple[Lane[T], T]] = []
        with self._lock:
            least = -1 if max_bytes is None else self._bytes - max_bytes
            while len(found) < max_items and self._bytes >= least:
                lane = self._next_lane()
                if lane is None:
                    self._signalled = False
                    if self._event is not None:
                        self._event.clear()
                    break
                found.append((lane, lane._take()))
        return found

    def _next_lane(self) -> Lane[T] | None:
        """The lane whose turn it is, moved behind its peers of the same priority."""
        for ready in self._ready.values():
            while ready:
                lane = ready[0]
                if lane._items:
                    ready.rotate(-1)
                    return lane
                ready.popleft()._queued = False
        return None

    def _grew(self, lane: Lane[T]) -> bool:
        """``lane`` took items: it waits for its turn, and the biggest pays for the room.

        Whether the reader must be woken; to be done without the lock, for which the reader would
        wait at once.
        """
        if not lane._queued:
            lane._queued = True
            self._ready[lane.priority].append(lane)
        if self._max_bytes is not None:
            while self._bytes > self._max_bytes:
                biggest = max(self._lanes, key=lambda each: each._bytes)
                if len(biggest._items) < 2:
                    break
                biggest._drop_oldest()
        sleeping = not self._signalled
        self._signalled = True
        return sleeping

    def _wake(self) -> None:
        loop, event = self._loop, self._event
        if loop is None or event is None:
            return
        try:
            loop.call_soon_threadsafe(event.set)
        except RuntimeError:
            # The loop closed under a producer that is still running: nobody will read.
            self._loop = None
