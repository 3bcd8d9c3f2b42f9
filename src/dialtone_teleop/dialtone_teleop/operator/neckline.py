"""Lines to a robot's neck and its acknowledgements back, over NATS."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import orjson

from dialtone_core.command import Envelope
from dialtone_core.errors import WireError
from dialtone_core.wire import TYPE
from dialtone_teleop.operator.picture import string_data
from dialtone_teleop.operator.robot import RobotLine

STRING = "std_msgs/msg/String"


class NeckLine:
    """``say`` waits for the acknowledgement that names its line; others go to ``on_other``."""

    def __init__(self, line: RobotLine) -> None:
        self._line = line
        self._waiting: tuple[str, asyncio.Future[str]] | None = None
        self._on_other: Callable[[str], None] = lambda _: None

    async def open(self, on_other: Callable[[str], None]) -> None:
        """Hear acknowledgements from now on."""
        self._on_other = on_other
        await self._line.hear("tlm.neck.ack", self._on_ack)
        await self._line.flush(1.0)

    async def say(self, text: str, timeout_s: float) -> str | None:
        """Send one line in our name; its acknowledgement, or ``None`` where none came in time."""
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
