"""An operator's line to one robot over NATS: find it, ask it, drive it, hear it."""

from __future__ import annotations

import asyncio
import getpass
import json
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import nats.errors
import orjson
from nats.aio.client import Client

from dialtone_core import wire
from dialtone_core.aio import timeout
from dialtone_core.errors import DialtoneError
from dialtone_core.naming import DEFAULT_ROBOT, check_robot_name
from dialtone_core.natslink import NO_REPLAY, connect
from dialtone_core.paths import RobotFile

#: So long a command may be acted on after its receipt (ms).
TTL_MS = 300
_CONNECT_S = 3.0


@dataclass(frozen=True, slots=True)
class Where:
    """How to reach a robot."""

    robot: str
    url: str
    credentials: str = ""


def find_robot(robot: str = "", nats_url: str = "", credentials: str = "") -> Where:
    """By name and URL, or whatever robot runs on this machine; raises ``DialtoneError``."""
    if robot:
        check_robot_name(robot)
    if nats_url:
        return Where(robot or DEFAULT_ROBOT, nats_url, credentials)
    file = RobotFile.find(robot)
    return Where(file.robot, file.nats_url, credentials or file.nats_credentials)


def operator_name(user: str = "") -> str:
    """``<user>/<session>``: two windows of one person contend like two people."""
    if not user:
        try:
            user = getpass.getuser()
        except (OSError, KeyError):
            user = "operator"
    return f"{user[:50]}/{secrets.token_hex(2)}"


class RobotLine:
    """See the module. ``connected`` follows the link; commands are never kept for later."""

    def __init__(self, where: Where, client: Client, operator: str) -> None:
        self.where = where
        self.operator = operator
        self._client = client
        self._seq = 0

    @classmethod
    async def open(cls, where: Where, operator: str) -> RobotLine:
        """Connect; raises ``DialtoneError`` where that takes longer than 3 s."""
        up = asyncio.Event()
        why = "no answer"

        def on_state(connected: bool, reason: str) -> None:
            nonlocal why
            why = reason
            if connected:
                up.set()
            else:
                up.clear()

        client = await connect(
            where.url,
            f"operator {operator}",
            pending_bytes=NO_REPLAY,
            on_state=on_state,
            credentials=where.credentials,
        )
        try:
            async with timeout(_CONNECT_S):
                await up.wait()
        except (TimeoutError, asyncio.TimeoutError):
            await client.close()
            raise DialtoneError(
                f"cannot reach the NATS server ({why})",
                where=where.url,
                fix="check the URL, and that the robot runs",
            ) from None
        return cls(where, client, operator)

    @property
    def connected(self) -> bool:
        return bool(self._client.is_connected)

    async def close(self) -> None:
        await self._client.close()

    async def ask(
        self, package: str, verb: str, body: dict[str, Any] | None = None, timeout_s: float = 1.0
    ) -> dict[str, Any] | None:
        """A service's reply, or ``None`` where nobody offers it.

        What is offered but does not answer in time is ``{"ok": false, "error": …}``.
        """
        subject = wire.service_subject(self.where.robot, package, verb)
        try:
            reply = await self._client.request(subject, orjson.dumps(body or {}), timeout_s)
            answer = json.loads(reply.data)
        except nats.errors.NoRespondersError:
            return None
        except (nats.errors.Error, TimeoutError, asyncio.TimeoutError) as error:
            why = "no answer" if isinstance(error, TimeoutError | asyncio.TimeoutError) else ""
            return {"ok": False, "error": why or str(error) or type(error).__name__}
        except ValueError:
            return {"ok": False, "error": "the reply is not JSON"}
        return answer if isinstance(answer, dict) else {"ok": False, "error": "no JSON object"}

    async def drive(self, forward_mps: float, turn_rps: float) -> bool:
        """One velocity command; false where it could not leave (it is not kept)."""
        self._seq += 1
        body = {
            "linear": {"x": forward_mps},
            "angular": {"z": turn_rps},
            "operator": self.operator,
            "seq": self._seq,
            "ttl_ms": TTL_MS,
            "issued_ns": time.time_ns(),
        }
        return await self.command("cmd_vel", orjson.dumps(body))

    async def command(
        self, path: str, payload: bytes, headers: dict[str, str] | None = None
    ) -> bool:
        """Publish on ``dt.<robot>.cmd.<path>``; false where it could not leave."""
        if not self.connected:
            return False
        subject = wire.command_subject(self.where.robot, path)
        try:
            await self._client.publish(subject, payload, headers=headers)
            await self._client._flush_pending()
        except (nats.errors.Error, OSError):
            return False
        return True

    async def flush(self, timeout_s: float) -> bool:
        """Wait until the server has what was sent."""
        try:
            await self._client.flush(timeout=max(1, round(timeout_s)))
        except (nats.errors.Error, OSError, TimeoutError, asyncio.TimeoutError, ValueError):
            return False
        return True

    async def hear(self, subject: str, callback: Callable[[bytes], None]) -> None:
        """``callback(payload)`` for each message on ``dt.<robot>.<subject>``."""

        async def on_message(message: Any) -> None:
            callback(message.data)

        handler: Callable[[Any], Awaitable[None]] = on_message
        await self._client.subscribe(f"dt.{self.where.robot}.{subject}", cb=handler)

    async def estop(self, active: bool, role: str = "operator") -> dict[str, Any]:
        """Fire or clear; by teleop's own service, else by the bridge's way to the ROS one."""
        body = {"active": active, "operator": self.operator, "role": role}
        reply = await self.ask("teleop", "estop", body)
        if reply is None:
            reply = await self.ask("ros", "teleop.estop", {"data": active})
            if reply is not None and reply.get("ok") and not reply.get("success", True):
                return {"ok": False, "error": str(reply.get("message", "refused"))}
        if reply is None:
            return {"ok": False, "error": f"nothing on {self.where.robot} answers for its e-stop"}
        return reply
