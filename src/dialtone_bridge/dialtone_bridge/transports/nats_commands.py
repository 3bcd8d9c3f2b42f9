"""Commands from NATS: each is judged, passed on, or refused by name.

Commands act when they come. Where they come faster than ROS takes them, a queue would be acted on
seconds later, and a robot drive on after its operator died: so of the velocities that wait, the
newest of each operator counts, and of all that wait the oldest go. A zero says that somebody let
go, which teleop wants to hear before it moves again: the newest of each operator is passed on too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from nats.aio.msg import Msg

from dialtone_bridge.stats import Refusals
from dialtone_bridge.transports.base import Inbound, Log
from dialtone_core import wire
from dialtone_core.command import Envelope, Twist
from dialtone_core.delivery import Outbox, Policy, Priority
from dialtone_core.errors import WireError

_VELOCITY = "cmd_vel"
_WAITING = Policy("queue", 1024, 16 * 1024 * 1024)


class NatsCommands:
    """Hears the robot's command subjects; ``origin`` is how commands name the transport."""

    def __init__(
        self, robot: str, origin: str, inbound: Inbound, log: Log, namespace: str = "/"
    ) -> None:
        self.refusals = Refusals()
        self.received = 0
        self.superseded = 0
        self._outbox: Outbox[Msg] = Outbox()
        self._lane = self._outbox.open_lane("commands", _WAITING, Priority.COMMAND)
        self._robot = robot
        self._namespace = namespace
        self._origin = origin
        self._inbound = inbound
        self._log = log

    def bind(self, loop: asyncio.AbstractEventLoop) -> None:
        self._outbox.bind(loop)

    async def on_message(self, message: Msg) -> None:
        """Take one from the client library; quick, so that its queue never fills."""
        self._lane.put(message, len(message.data))

    async def run(self) -> None:
        """Act on what came until cancelled."""
        while True:
            await self._outbox.wait()
            self.judge([message for _, message in self._outbox.drain(_WAITING.max_messages)])
            await asyncio.sleep(0)

    def judge(self, messages: Sequence[Msg]) -> None:
        """Pass on what came together; whatever is wrong with one is counted, never raised."""
        velocities = [self._velocity(each) for each in messages]
        counts = _newest(velocities)
        for index, message in enumerate(messages):
            found = velocities[index]
            if found is not None and index not in counts:
                self.superseded += 1
                continue
            try:
                if found is not None:
                    self._inbound.velocity(self._origin, *found)
                elif not self._is_velocity(message):
                    self._pass_on(message)
                else:
                    continue  # refused already
                self.received += 1
            except WireError as error:
                self._refuse(message, error)

    def _is_velocity(self, message: Msg) -> bool:
        return bool(message.subject == wire.command_subject(self._robot, _VELOCITY))

    def _velocity(self, message: Msg) -> tuple[Twist, Envelope] | None:
        """The velocity in ``message``; ``None`` where it is something else, or refused now."""
        if not self._is_velocity(message):
            return None
        try:
            _check_sender(message)
            twist, envelope = wire.decode_velocity(message.data)
        except WireError as error:
            self._refuse(message, error)
            return None
        operator = (message.headers or {}).get(wire.OPERATOR, "")
        if operator and not envelope.operator:
            envelope = replace(envelope, operator=operator[:64])
        return twist, envelope

    def _pass_on(self, message: Msg) -> None:
        _check_sender(message)
        path = wire.command_topic(self._robot, message.subject, self._namespace)
        if not self._inbound.accepts(path):
            raise WireError("topic_not_allowed", path[:80])
        headers = message.headers or {}
        encoding = headers.get(wire.ENCODING, "json")
        self._inbound.message(path, headers.get(wire.TYPE, ""), encoding, message.data)

    def _refuse(self, message: Msg, error: WireError) -> None:
        if self.refusals.total() == 0:
            self._log.warning(f"refused a command on {message.subject}: {error}")
        self.refusals.count(error.reason, error.detail)

    def figures(self) -> dict[str, object]:
        """For diagnostics: how many came, how many were refused and why."""
        return {
            "commands": self.received,
            "commands_superseded": self.superseded,
            "commands_overrun": self._lane.dropped,
            **self.refusals.figures(),
        }


def _newest(velocities: Sequence[tuple[Twist, Envelope] | None]) -> set[int]:
    """Which of them count: of each operator the newest, and the newest zero."""
    found: dict[tuple[str, bool], int] = {}
    for index, each in enumerate(velocities):
        if each is not None:
            twist, envelope = each
            found[envelope.operator, False] = index
            if twist.is_zero():
                found[envelope.operator, True] = index
    return set(found.values())


def _check_sender(message: Msg) -> None:
    """Refuse a stored message that somebody had the server send here (JetStream's DIRECT.GET goes
    wherever the asker names, with the server's rights)."""
    if message.headers and "Nats-Stream" in message.headers:
        raise WireError("stored", "a message that was kept somewhere is no command")
