"""What people ask of teleop besides motion: status, e-stop, arming, the lease. No ROS, no sockets.

``handlers`` are the verbs of ``dt.<robot>.srv.teleop.<verb>`` (docs/wire.md). A role is what the
asker says it is; who may say so on which subject is up to the NATS server's users.
"""

from __future__ import annotations

from typing import Any

from dialtone_core.clock import NS_PER_S, Clock
from dialtone_core.errors import DialtoneError
from dialtone_core.natsserve import Handler
from dialtone_teleop.engine import Engine
from dialtone_teleop.lease import MAX_OPERATOR, Answer, Holder, LeaseEvent
from dialtone_teleop.params import TeleopParams

_WORDS = {
    "held": "{holder} holds the lease",
    "not_holder": "you do not hold the lease",
    "role_too_low": "{holder} holds the lease with your role or a higher one",
    "bad_operator": "give an operator such as ada/3f2a",
    "unknown_role": "no such role",
}


class Control:
    """Checks requests and does them on the engine. Called from any thread."""

    def __init__(self, engine: Engine, params: TeleopParams, clock: Clock) -> None:
        self._engine = engine
        self._params = params
        self._clock = clock

    def estop(self, active: bool, by: str, role: str) -> str:
        """Fire (anyone) or clear (``estop.clear_role`` and above); "" or a warning.

        Raises ``DialtoneError`` where it stays latched although a clear was asked for.
        """
        if not active and not self._may_clear(role):
            needed = self._params.estop.clear_role
            raise DialtoneError(
                f"role {role} may not clear the e-stop", fix=f"ask somebody of role {needed}"
            )
        try:
            self._engine.estop(active, by)
        except OSError as error:
            what, fix = (
                f"its latch file cannot be changed ({error})",
                "make DIALTONE_HOME writable",
            )
            if not active:
                raise DialtoneError(f"the e-stop stays: {what}", fix=fix) from error
            return f"the e-stop is latched, but would not outlast a restart: {what}. Fix: {fix}"
        return ""

    def handlers(self) -> dict[str, Handler]:
        """Verbs of the package's NATS service."""
        return {
            "status": self._on_status,
            "estop": self._on_estop,
            "estop.fire": self._on_fire,
            "arm": self._on_arm,
            "mode": self._on_mode,
            "lease.acquire": self._on_acquire,
            "lease.renew": self._on_renew,
            "lease.release": self._on_release,
            "lease.force": self._on_force,
        }

    def lease_event(self, event: LeaseEvent) -> dict[str, Any]:
        """The body of ``evt.teleop.lease``."""
        return {
            "event": event.event,
            "holder": event.holder,
            "by": event.by,
            "stamp_ns": self._wall_ns(event.stamp_ns),
        }

    def estop_event(self, active: bool, by: str) -> dict[str, Any]:
        """The body of ``evt.teleop.estop``."""
        return {"active": active, "by": by, "stamp_ns": self._clock.wall_ns()}

    def _may_clear(self, role: str) -> bool:
        roles = self._params.lease.roles
        return role in roles and roles.index(role) >= roles.index(self._params.estop.clear_role)

    async def _on_status(self, body: dict[str, Any]) -> dict[str, Any]:
        status = self._engine.status()
        vehicle = status.vehicle
        return {
            "armed": vehicle.armed,
            "ready": vehicle.ready,
            "mode": vehicle.mode,
            "modes": list(self._engine.modes()),
            "link": vehicle.link,
            "estop": status.estop_by is not None,
            "estop_by": status.estop_by or "",
            "holder": self._holder(status.holder, status.now_ns),
            "source": status.source,
            "reasons": list(status.reasons),
            "speed_limit_mps": self._params.limits.x_mps,
            "turn_limit_rps": self._params.limits.yaw_rps,
            "battery": vehicle.battery,
        }

    async def _on_estop(self, body: dict[str, Any]) -> dict[str, Any]:
        active = _flag(body)
        role = _text(body, "role", self._params.lease.roles[0])
        warning = self.estop(active, _text(body, "operator", "nats"), role)
        return {"estop": active, "warning": warning} if warning else {"estop": active}

    async def _on_fire(self, body: dict[str, Any]) -> dict[str, Any]:
        """As ``estop``, but never clears: the subject of those who may stop and no more."""
        return await self._on_estop({**body, "active": True})

    async def _on_arm(self, body: dict[str, Any]) -> dict[str, Any]:
        self._engine.arm(_flag(body))
        return {"armed": self._engine.status().vehicle.armed}

    async def _on_mode(self, body: dict[str, Any]) -> dict[str, Any]:
        wanted = _text(body, "mode")
        self._engine.set_mode(wanted, _text(body, "operator"))
        return {"asked": wanted, "mode": self._engine.status().vehicle.mode}

    async def _on_acquire(self, body: dict[str, Any]) -> dict[str, Any]:
        role = _text(body, "role", self._params.lease.roles[0])
        return self._reply(self._engine.acquire(_text(body, "operator"), role))

    async def _on_renew(self, body: dict[str, Any]) -> dict[str, Any]:
        return self._reply(self._engine.renew(_text(body, "operator")))

    async def _on_release(self, body: dict[str, Any]) -> dict[str, Any]:
        return self._reply(self._engine.release(_text(body, "operator")))

    async def _on_force(self, body: dict[str, Any]) -> dict[str, Any]:
        return self._reply(self._engine.force(_text(body, "operator"), _text(body, "role")))

    def _reply(self, answer: Answer) -> dict[str, Any]:
        holder = self._holder(answer.holder, self._clock.monotonic_ns())
        reply = {"holder": holder, "ttl_s": self._params.lease.ttl_s}
        if answer.ok:
            return reply
        name = answer.holder.operator if answer.holder else "nobody"
        words = _WORDS[answer.error].format(holder=name)
        return reply | {"ok": False, "reason": answer.error, "error": words}

    def _holder(self, holder: Holder | None, now_ns: int) -> dict[str, Any] | None:
        if holder is None:
            return None
        return {
            "operator": holder.operator,
            "role": holder.role,
            "since_ns": self._wall_ns(holder.since_ns),
            "expires_in_s": max(0.0, (holder.until_ns - now_ns) / NS_PER_S),
        }

    def _wall_ns(self, monotonic_ns: int) -> int:
        return self._clock.wall_ns() - (self._clock.monotonic_ns() - monotonic_ns)


def _flag(body: dict[str, Any]) -> bool:
    value = body.get("active")
    if not isinstance(value, bool):
        raise DialtoneError("active is missing or not true or false")
    return value


def _text(body: dict[str, Any], name: str, default: str = "") -> str:
    value = body.get(name, default)
    if not isinstance(value, str) or len(value) > MAX_OPERATOR:
        raise DialtoneError(f"{name} is not a string of at most {MAX_OPERATOR} characters")
    return value
