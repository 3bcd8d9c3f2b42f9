"""What a driver asks of teleop besides motion: the e-stop, its clearing, arming."""

from __future__ import annotations

import asyncio

from dialtone_teleop.cockpit.robot import RobotLine
from dialtone_teleop.cockpit.view import View

_ESTOP_TRIES = 10


class Requests:
    """Each says in ``view`` what became of it."""

    def __init__(self, line: RobotLine, view: View, role: str) -> None:
        self._line = line
        self._view = view
        self._role = role

    async def estop(self) -> None:
        """Fire until the robot confirms it, and say loudly while it does not."""
        for _ in range(_ESTOP_TRIES):
            reply = await self._line.estop(True, self._role)
            if reply.get("ok"):
                self._view.estop = True
                self._view.notice = str(reply.get("warning", ""))
                return
            self._view.notice = f"THE E-STOP IS NOT CONFIRMED: {reply.get('error')}"
            await asyncio.sleep(0.2)

    async def clear(self) -> None:
        reply = await self._line.estop(False, self._role)
        self._view.notice = "" if reply.get("ok") else f"still latched: {reply.get('error')}"

    async def arm(self, wanted: bool) -> None:
        """Ask for arming or disarming; the state tells when it is done."""
        body = {"active": wanted, "operator": self._line.operator}
        reply = await self._line.ask("teleop", "arm", body)
        reply = reply or {"error": "this robot cannot be armed from here"}
        asked = "arm" if wanted else "disarm"
        self._view.notice = f"asked to {asked}" if reply.get("ok") else str(reply.get("error"))
