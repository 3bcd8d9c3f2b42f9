"""The recorder under the driver's fingers: begin and end, pause, judge, throw away."""

from __future__ import annotations

from typing import Any

from dialtone_teleop.cockpit.robot import RobotLine
from dialtone_teleop.cockpit.view import View

#: Key → what it does. Throwing away is asked about first and has its own way.
KEYS = ("r", "p", "o", "k")
DISCARD_KEY = "backspace"
DISCARD_QUESTION = "Throw this recording away? y throws it away, any other key goes on."
_TIMEOUT_S = 5.0


class RecorderKeys:
    """Asks the recorder's services; ``view`` shows what they answered. On the session's loop."""

    def __init__(self, line: RobotLine, view: View) -> None:
        self._line = line
        self._view = view

    async def key(self, name: str) -> None:
        """``r`` begins and ends, ``p`` pauses and goes on, ``o`` (OK) and ``k`` (KO) judge."""
        view = self._view
        if name == "r":
            await self._begin_or_end()
        elif not view.recording:
            view.notice = "nothing is being recorded: r begins"
        elif name == "p":
            verb = "resume" if view.paused else "pause"
            if await self._ask(verb, {}):
                view.paused = verb == "pause"
                view.notice = "recording pauses" if view.paused else "recording goes on"
        else:
            await self._judge("success" if name == "o" else "fail")

    async def discard(self) -> None:
        """End the recording and remove it."""
        if await self._ask("discard", {}):
            self._ended("recording thrown away")

    async def _begin_or_end(self) -> None:
        if self._view.recording:
            if await self._ask("stop", {}):
                self._ended("recording stopped")
            return
        begun = await self._ask("start", {"operator": self._line.operator})
        if begun:
            self._view.recording = str(begun.get("episode") or "yes")
            self._view.notice = "recording started"

    async def _judge(self, outcome: str) -> None:
        if await self._ask("label", {"outcome": outcome}):
            self._view.outcome = outcome
            self._view.notice = f"marked as {outcome}"

    def _ended(self, notice: str) -> None:
        view = self._view
        view.recording = view.outcome = ""
        view.paused = False
        view.notice = notice

    async def _ask(self, verb: str, request: dict[str, Any]) -> dict[str, Any]:
        """The reply; empty where it was refused, and the notice says why."""
        reply = await self._line.ask("recorder", verb, request, _TIMEOUT_S)
        reply = reply or {"error": "this robot has no recorder"}
        if reply.get("ok"):
            return reply
        self._view.notice = f"recorder: {reply.get('error')}"
        return {}
