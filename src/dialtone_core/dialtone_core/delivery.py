"""Bounded delivery from any thread to one asyncio loop.

The producer (an rclpy executor thread) appends and wakes the loop **once per burst**: a
``call_soon_threadsafe`` costs a pipe write, so one a message would dominate at 10,000 msg/s.
Every lane is bounded in messages, bytes and age, has a stated policy, and counts what it drops.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
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
    ``max_bytes`` and drops the oldest. What waited longer than ``max_age_ns`` (0: no matter how
    long) gives way to what is newer, so that no flood of old items follows a stall; the newest
    item of a lane never does, for a topic may be silent for hours.
    """

    kind: Literal["latest", "queue"] = "queue"
    max_messages: int = 1024
    max_bytes: int = 16 * 1024 * 1024
    max_age_ns: int = 0

    def __post_init__(self) -> None:
        if self.max_messages < 1 or self.max_bytes < 1 or self.max_age_ns < 0:
            raise ValueError("a lane holds at least one message and one byte, of no negative age")


LATEST = Policy("latest", 1)


class Lane(Generic[T]):
    """One bounded queue inside an ``Outbox``. ``put`` may be called from any thread."""

    def __init__(
        self,
        name: str,
        policy: Policy,
        priority: Priority,
        outbox: Outbox[T],
        shared: bool = True,
    ) -> None:
        self.name = name
        self.policy = policy
        self.priority = priority
        self.shared = shared
        self.delivered = 0
        self.dropped = 0
        self.dropped_bytes = 0
        #: Item, its bytes, monotonic ns when it was put.
        self._items: deque[tuple[T, int, int]] = deque()
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
        now_ns = self._outbox._now_ns()
        with self._outbox._lock:
            if self._closed:
                return
            self._items.extend([(item, size, now_ns) for item, size in items])
            self._weigh(added)
            limit = 1 if self.policy.kind == "latest" else self.policy.max_messages
            while len(self._items) > limit or (
                self._bytes > self.policy.max_bytes and len(self._items) > 1
            ):
                self._drop_oldest()
            sleeping = self._outbox._grew(self)
        if sleeping:
            self._outbox._wake()

    def _weigh(self, change: int) -> None:
        self._bytes += change
        if self.shared:
            self._outbox._bytes += change

    def _drop_oldest(self) -> None:
        _, size, _ = self._items.popleft()
        self._weigh(-size)
        self.dropped += 1
        self.dropped_bytes += size

    def _drop_stale(self, now_ns: int) -> None:
        items, limit_ns = self._items, self.policy.max_age_ns
        while limit_ns and len(items) > 1 and now_ns - items[0][2] > limit_ns:
            self._drop_oldest()

    def _take(self) -> tuple[T, int]:
        item, size, _ = self._items.popleft()
        self._bytes -= size
        if self.shared:
            self._outbox._bytes -= size
        self.delivered += 1
        return item, size


class Outbox(Generic[T]):
    """Everything that waits for one sink: lanes served by priority, round robin within one.

    ``bind`` once from the loop that will read; then ``await wait()`` and serve ``drain()``.
    Beyond ``max_bytes`` in all shared lanes together the one that holds most of them drops its
    oldest, so that a big topic never costs a small one its messages. A lane that is not shared has
    its own bounds alone: neither pays for the other. ``now_ns`` is a monotonic clock.
    """

    def __init__(
        self, max_bytes: int | None = None, now_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._max_bytes = max_bytes
        self._now_ns = now_ns
        self._bytes = 0
        self._lanes: list[Lane[T]] = []
        # Lanes that hold something, by priority; a lane among a thousand is found at once.
        self._ready: dict[Priority, deque[Lane[T]]] = {each: deque() for each in Priority}
        #: Lanes by what they hold, while there is too much; ``None`` where that is not known.
        self._heavy: list[tuple[int, int, Lane[T]]] | None = None
        self._turns = itertools.count()
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
        self,
        name: str,
        policy: Policy | None = None,
        priority: Priority = Priority.TELEMETRY,
        *,
        shared: bool = True,
    ) -> Lane[T]:
        lane: Lane[T] = Lane(name, policy or Policy(), priority, self, shared)
        with self._lock:
            self._lanes.append(lane)
        return lane

    def close_lane(self, lane: Lane[T]) -> None:
        """Forget ``lane`` and what waits in it; idempotent."""
        with self._lock:
            if lane in self._lanes:
                self._lanes.remove(lane)
                lane._closed = True
                lane._weigh(-lane._bytes)
                lane._items.clear()
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
        now_ns, taken = self._now_ns(), 0
        with self._lock:
            self._heavy = None
            while len(found) < max_items and (max_bytes is None or taken <= max_bytes):
                lane = self._next_lane()
                if lane is None:
                    self._signalled = False
                    if self._event is not None:
                        self._event.clear()
                    break
                lane._drop_stale(now_ns)
                item, size = lane._take()
                taken += size
                found.append((lane, item))
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
        most = self._max_bytes
        if most is not None and lane.shared and (self._bytes > most or self._heavy is not None):
            self._make_room(lane, most)
        sleeping = not self._signalled
        self._signalled = True
        return sleeping

    def _make_room(self, grown: Lane[T], max_bytes: int) -> None:
        """The biggest lane drops its oldest, again and again; its newest stays.

        A client that does not read holds a thousand lanes full: they are looked through once and
        then kept in order.
        """
        if self._heavy is None:
            shared = [each for each in self._lanes if each.shared]
            self._heavy = [(-each._bytes, next(self._turns), each) for each in shared]
            heapq.heapify(self._heavy)
        else:
            heapq.heappush(self._heavy, (-grown._bytes, next(self._turns), grown))
        while self._heavy and self._bytes > max_bytes:
            size, _, biggest = self._heavy[0]
            if -size != biggest._bytes or biggest._closed or len(biggest._items) < 2:
                heapq.heappop(self._heavy)  # another entry tells what it holds now, or none must
                continue
            biggest._drop_oldest()
            heapq.heapreplace(self._heavy, (-biggest._bytes, next(self._turns), biggest))
        if not self._heavy or len(self._heavy) > 4 * len(self._lanes):
            self._heavy = None

    def _wake(self) -> None:
        loop, event = self._loop, self._event
        if loop is None or event is None:
            return
        try:
            loop.call_soon_threadsafe(event.set)
        except RuntimeError:
            # The loop closed under a producer that is still running: nobody will read.
            self._loop = None
