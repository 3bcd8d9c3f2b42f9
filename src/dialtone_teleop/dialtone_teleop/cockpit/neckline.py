"""Lines to a robot's neck and its acknowledgements back, over NATS."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import orjson

from dialtone_core.command import Envelope
from dialtone_core.errors import WireError
from dialtone_core.wire import TYPE
from dialtone_teleop.cockpit.lease import LeaseKeeper
from dialtone_teleop.cockpit.picture import string_data
from dialtone_teleop.cockpit.robot import RobotLine
from dialtone_teleop.neck_protocol import QUESTIONS

STRING = "std_msgs/msg/String"
_LOOKS, _LOOK_S = 15, 0.2


def _carries_acks(row: dict[str, Any]) -> bool:
    return str(row.get("topic", "")).endswith("neck/ack") and bool(row.get("subscribed"))


class NeckLine:
    """``say`` waits for the acknowledgement that names its line; others go to ``on_other``."""

    def __init__(self, line: RobotLine) -> None:
        self._line = line
        self._waiting: tuple[str, asyncio.Future[str]] | None = None
        self._on_other: Callable[[str], None] = lambda _: None
        self._lease = LeaseKeeper(line, "operator")
        self._keeping: asyncio.Task[None] | None = None

    async def open(self, on_other: Callable[[str], None]) -> None:
        """Hear acknowledgements from now on; those of before are passed over.

        The bridge carries them only once it knows that somebody listens.
        """
        await self._line.hear("tlm.neck.ack", self._on_ack)
        await self._line.flush(1.0)
        for _ in range(_LOOKS):
            reply = await self._line.ask("bridge", "routes")
            rows = (reply or {}).get("routes", [])
            if not rows or any(_carries_acks(row) for row in rows):
                break
            await asyncio.sleep(_LOOK_S)
        await asyncio.sleep(_LOOK_S)
        self._on_other = on_other

    async def close(self) -> None:
        """Let go of the lease; idempotent."""
        if self._keeping is not None:
            self._keeping.cancel()
        await self._lease.release()

    async def say(self, text: str, timeout_s: float) -> str | None:
        """Send one line in our name; its acknowledgement, or ``None`` where none came in time.

        The first that moves something takes the lease, where the robot has one.
        """
        if text not in QUESTIONS and not self._lease.may_drive:
            await self._lease.want(time.monotonic())
            if not self._lease.may_drive:
                return f"refused {text} ({self._lease.notice})"
        if self._keeping is None:
            self._keeping = asyncio.create_task(self._keep())
        found: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting = (text, found)
        data = Envelope(self._line.operator).to_frame_id(text)
        payload = orjson.dumps({"data": data})
        try:
            if not await self._line.command("neck.command", payload, {TYPE: STRING}):
                return None
            return await asyncio.wait_for(found, timeout_s)
        except (TimeoutError, asyncio.TimeoutError):
            return None
        finally:
            self._waiting = None

    async def _keep(self) -> None:
        while True:
            await self._lease.keep(time.monotonic())
            await asyncio.sleep(_LOOK_S)

    def _on_ack(self, payload: bytes) -> None:
        try:
            ack = string_data(payload)
        except WireError:
            return
        if self._waiting is not None and not ack.startswith("says "):
            text, found = self._waiting
            of = ack.partition(" ")[2]
            if not found.done() and of.startswith((f"{text} -> ", f"{text[:60]} (")):
                found.set_result(ack)
                return
        self._on_other(ack)
