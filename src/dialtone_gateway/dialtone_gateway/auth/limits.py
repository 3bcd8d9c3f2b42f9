"""Rate limits: token buckets by key, bounded in number, and a gate before costly work."""

from __future__ import annotations

import asyncio
import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from dialtone_core.clock import Clock

T = TypeVar("T")


class RateLimit:
    """``burst`` at once, then one each ``every_s``, for each key; remembers ``most_keys``.

    Beyond that the key unseen longest is forgotten: an attacker with many addresses gains a fresh
    bucket each, which the gate before the costly work bounds.
    """

    def __init__(self, clock: Clock, burst: int, every_s: float, most_keys: int = 4096) -> None:
        self._clock = clock
        self._burst = float(burst)
        self._every_ns = every_s * 1e9
        self._most_keys = most_keys
        self._buckets: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def take(self, key: str) -> float:
        """Take one; 0 when there was one, otherwise the seconds until there is."""
        now_ns = self._clock.monotonic_ns()
        tokens, since_ns = self._buckets.pop(key, (self._burst, now_ns))
        tokens = min(self._burst, tokens + (now_ns - since_ns) / self._every_ns)
        granted = tokens >= 1
        self._buckets[key] = (tokens - 1 if granted else tokens, now_ns)
        while len(self._buckets) > self._most_keys:
            self._buckets.popitem(last=False)
        return 0.0 if granted else (1 - tokens) * self._every_ns / 1e9

    def forgive(self, key: str) -> None:
        """A full bucket again, as after a right password."""
        self._buckets.pop(key, None)


def address_key(address: str) -> str:
    """What counts as one client: an IPv4 address, or the /64 that one IPv6 host chooses from."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if parsed.version == 6:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


class BusyError(Exception):
    """Too many wait for the same costly work."""


class Gate:
    """One worker thread for costly work, and at most ``most_waiting`` who wait for it."""

    def __init__(self, most_waiting: int = 8) -> None:
        self._most_waiting = most_waiting
        self._waiting = 0
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="login")
        self.runs = 0

    async def run(self, work: Callable[[], T]) -> T:
        """``work()`` in the worker thread; raises ``BusyError`` where too many wait."""
        if self._waiting >= self._most_waiting:
            raise BusyError
        self._waiting += 1
        try:
            self.runs += 1
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
