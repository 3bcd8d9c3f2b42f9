"""Commands from NATS: each is judged, passed on, or refused by name."""

from __future__ import annotations

from dataclasses import replace

from nats.aio.msg import Msg

from dialtone_bridge.stats import Refusals
from dialtone_bridge.transports.base import Inbound, Log
from dialtone_core import wire
from dialtone_core.errors import WireError

_VELOCITY = "cmd_vel"


class NatsCommands:
    """Hears the robot's command subjects; ``origin`` is how commands name the transport."""

    def __init__(
        self, robot: str, origin: str, inbound: Inbound, log: Log, namespace: str = "/"
    ) -> None:
        self.refusals = Refusals()
        self.received = 0
        self._robot = robot
        self._namespace = namespace
        self._origin = origin
        self._inbound = inbound
        self._log = log

    async def on_message(self, message: Msg) -> None:
        """Judge one command and pass it on; whatever is wrong with it is counted, never raised."""
        try:
            self._take(message)
            self.received += 1
        except WireError as error:
            if self.refusals.total() == 0:
                self._log.warning(f"refused a command on {message.subject}: {error}")
            self.refusals.count(error.reason, error.detail)

    def _take(self, message: Msg) -> None:
        path = wire.command_topic(self._robot, message.subject, self._namespace)
        if path == _VELOCITY:
            twist, envelope = wire.decode_velocity(message.data)
            operator = (message.headers or {}).get(wire.OPERATOR, "")
            if operator and not envelope.operator:
                envelope = replace(envelope, operator=operator[:64])
            self._inbound.velocity(self._origin, twist, envelope)
            return
        if not self._inbound.accepts(path):
            raise WireError("topic_not_allowed", path[:80])
        headers = message.headers or {}
        encoding = headers.get(wire.ENCODING, "json")
        self._inbound.message(path, headers.get(wire.TYPE, ""), encoding, message.data)

    def figures(self) -> dict[str, object]:
        """For diagnostics: how many came, how many were refused and why."""
        values: dict[str, object] = {
            "commands": self.received,
            "commands_refused": self.refusals.total(),
        }
        values |= {f"refused.{reason}": n for reason, n in self.refusals.by_reason.items()}
        if self.refusals.last:
            values["last_refusal"] = self.refusals.last
        return values
