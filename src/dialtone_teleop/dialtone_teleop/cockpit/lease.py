"""An operator's side of the lease: ask for it, keep it, lose it, let it go."""

from __future__ import annotations

from typing import Any, Protocol


class Asks(Protocol):
    """What the keeper needs of a ``RobotLine``."""

    operator: str

    async def ask(
        self, package: str, verb: str, body: dict[str, Any] | None = None, timeout_s: float = 1.0
    ) -> dict[str, Any] | None: ...


class LeaseKeeper:
    """``may_drive`` is true while we hold the lease, or where the robot has none.

    Times are monotonic s. ``notice`` is the last thing to tell the operator.
    """

    def __init__(self, line: Asks, role: str) -> None:
        self._line = line
        self._role = role
        self.exists = True
        self.held = False
        self.holder = ""
        self.notice = ""
        self._ttl_s = 2.0
        self._due_s = -1.0

    @property
    def may_drive(self) -> bool:
        return self.held or not self.exists

    async def want(self, now_s: float) -> None:
        """Get the lease if we have it not; at most twice a second."""
        if not self.held and now_s >= self._due_s:
            self._due_s = now_s + 0.5
            await self._ask("acquire", now_s)

    async def force(self, now_s: float) -> None:
        """Take it from a lower role."""
        await self._ask("force", now_s)

    async def keep(self, now_s: float) -> None:
        """Renew it in time; call often."""
        if self.held and now_s >= self._due_s:
            self._due_s = now_s + self._ttl_s / 4
            await self._ask("renew", now_s)

    async def release(self) -> None:
        """Let go, as far as the line allows."""
        if self.held:
            self.held = False
            await self._line.ask(
                "teleop", "lease.release", {"operator": self._line.operator}, timeout_s=0.5
            )

    def changed(self, event: dict[str, Any]) -> bool:
        """``evt.teleop.lease`` spoke; true where that took the lease from us."""
        holder = event.get("holder") or ""
        self.holder = str(holder.get("operator", "") if isinstance(holder, dict) else holder)
        if not self.held or self.holder == self._line.operator:
            return False
        self._lose(f"{event.get('by') or 'somebody'} took the lease over", self.holder)
        return True

    async def _ask(self, verb: str, now_s: float) -> None:
        body = {"operator": self._line.operator, "role": self._role}
        reply = await self._line.ask("teleop", f"lease.{verb}", body)
        self.exists = reply is not None
        if reply is None:
            self.held = False
            return
        holder = reply.get("holder") or {}
        name = str(holder.get("operator", "")) if isinstance(holder, dict) else ""
        if reply.get("ok"):
            self.held, self.holder, self.notice = True, self._line.operator, ""
            self._ttl_s = float(reply.get("ttl_s", 2.0))
            self._due_s = now_s + self._ttl_s / 4
        elif self.held and not name and reply.get("error") == "no answer":
            self.notice = "the lease cannot be renewed: no answer"
        else:
            self._lose(str(reply.get("error", "the lease is not to be had")), name)

    def _lose(self, notice: str, holder: str) -> None:
        self.held, self.holder, self.notice = False, holder, notice
