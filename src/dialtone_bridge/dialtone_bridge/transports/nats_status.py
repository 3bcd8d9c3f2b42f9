"""What the robot says of itself on NATS: presence, online and offline, the latency of the link.

Presence is said every few seconds and stands in a bucket whose entries die by themselves, which is
the last will of a robot that lost power. A hub answers each, so that the way to it and back is
measured beside that to our own server.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any

import nats.errors
import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg

from dialtone_bridge.jetstream import JetStreamError, bucket, ensure_stream
from dialtone_bridge.presence import Roll, read_presence
from dialtone_core import __version__, wire
from dialtone_core.aio import end_if_cancelled, timeout
from dialtone_core.errors import WireError
from dialtone_core.natsaccess import PRESENCE, last_bucket

PERIOD_S = 5.0
#: A link to a hub comes up a moment after that to our own server: say the first words again soon.
_EAGER_S, _EAGER_TIMES = 0.5, 6
TTL_S = 15.0
_PING_S = 2.0
#: What the newest messages of a robot may take; the embedded server gives memory 64 MB.
_LAST_BYTES = 32 * 1024 * 1024


class Status:
    """``describe`` gives what is known beside the name: routes, capabilities.

    ``on_buckets`` runs whenever it is known anew whether the server has the buckets, ``trouble``
    whenever another robot is heard that goes by our name.
    """

    def __init__(
        self,
        robot: str,
        describe: Callable[[], dict[str, Any]],
        on_buckets: Callable[[bool], Awaitable[None]],
        trouble: Callable[[str], None],
    ) -> None:
        self.rtt_ms: float | None = None
        self.hub_rtt_ms: float | None = None
        self.jetstream = "unknown"
        self._robot = robot
        self._describe = describe
        self._on_buckets = on_buckets
        self._trouble = trouble
        self._instance = secrets.token_hex(6)
        self._roll = Roll(TTL_S)
        self._pong = f"dt.{robot}.sync.pong"
        self._asked: dict[int, float] = {}
        self._last_hub_s = float("-inf")
        self._poke = asyncio.Event()
        self._eager = _EAGER_TIMES

    def hub_answered_s(self) -> float:
        """When the hub answered last, by the monotonic clock."""
        return self._last_hub_s

    def poke(self) -> None:
        """Say it now: the link is back."""
        self.jetstream = "unknown"
        self._eager = _EAGER_TIMES
        self._poke.set()

    def hurry(self) -> None:
        """Say it now: there is something new to say."""
        self._poke.set()

    async def run(self, client: Client) -> None:
        """Until cancelled."""
        await client.subscribe(self._pong, cb=self._on_pong)
        await client.subscribe(f"dt.{self._robot}.evt.presence", cb=self._on_presence)
        fresh = True
        while True:
            end_if_cancelled()
            self._poke.clear()
            if client.is_connected:
                try:
                    await self._say(client, fresh)
                    fresh = False
                except (nats.errors.Error, asyncio.TimeoutError):
                    fresh = True
            else:
                self.rtt_ms, fresh = None, True
            end_if_cancelled()
            try:
                async with timeout(_EAGER_S if self._eager else PERIOD_S):
                    self._eager = max(self._eager - 1, 0)
                    await self._poke.wait()
                fresh = fresh or self.jetstream == "unknown"
            except asyncio.TimeoutError:
                continue

    async def leave(self, client: Client) -> None:
        """Say that the robot goes, if somebody can hear it."""
        if not client.is_connected:
            return
        try:
            await client.publish(wire.event_subject(self._robot, "offline"), self._event())
            gone = {"KV-Operation": "DEL"}
            await client.publish(f"$KV.{PRESENCE}.{self._robot}", b"", headers=gone)
            await client.flush(timeout=1)
        except (nats.errors.Error, asyncio.TimeoutError):
            return

    async def _say(self, client: Client, fresh: bool) -> None:
        if fresh:
            await client.publish(wire.event_subject(self._robot, "online"), self._event())
        if self.jetstream != "ready":
            await self._make_buckets(client)
        asked_s = time.monotonic()
        await client.flush(timeout=_PING_S)  # a ping, and the server's pong
        self.rtt_ms = round(1000 * (time.monotonic() - asked_s), 3)
        if time.monotonic() - self._last_hub_s > TTL_S:
            self.hub_rtt_ms = None
        number = time.monotonic_ns()
        self._asked = {number: time.monotonic()}
        body = orjson.dumps({**self._body(), "ping": number})
        await client.publish(f"dt.{self._robot}.evt.presence", body, reply=self._pong)
        await client.publish(f"$KV.{PRESENCE}.{self._robot}", body)

    async def _make_buckets(self, client: Client) -> None:
        presence = bucket(PRESENCE, ttl_s=TTL_S, storage="memory")
        last = bucket(last_bucket(self._robot), storage="memory", size=_LAST_BYTES)
        try:
            await ensure_stream(client, presence)
            await ensure_stream(client, last)
        except JetStreamError as error:
            self.jetstream = f"none: {error.what}"
            await self._on_buckets(False)
        else:
            self.jetstream = "ready"
            await self._on_buckets(True)

    async def _on_pong(self, message: Msg) -> None:
        try:
            said = orjson.loads(message.data)
            number = said["ping"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return
        if said.get("clash") is True:
            self._clash("the hub")
        asked_s = self._asked.pop(number, None) if isinstance(number, int) else None
        if asked_s is not None:
            self._last_hub_s = time.monotonic()
            self.hub_rtt_ms = round(1000 * (self._last_hub_s - asked_s), 3)

    async def _on_presence(self, message: Msg) -> None:
        """Our own words come back, and those of whoever goes by our name on the same server."""
        try:
            instance = read_presence(self._robot, message.data).get("instance", "")
        except WireError:
            return
        if self._roll.seen(self._robot, instance, time.monotonic()):
            self._clash("our server")

    def _clash(self, where: str) -> None:
        self._trouble(
            f"name_clash: another robot at {where} is named {self._robot}, and we take each "
            "other's commands. Fix: give one of the two another name"
        )

    def _body(self) -> dict[str, Any]:
        return {
            "robot": self._robot,
            "instance": self._instance,
            "version": __version__,
            "stamp_ns": time.time_ns(),
            "rtt_ms": self.rtt_ms,
            "hub_rtt_ms": self.hub_rtt_ms,
            **self._describe(),
        }

    def _event(self) -> bytes:
        return orjson.dumps({"version": __version__, "stamp_ns": time.time_ns()})
