"""A mode that an operator chose for the vehicle: asked for until its heartbeat shows it."""

from __future__ import annotations

from collections.abc import Callable

from pymavlink.dialects.v20 import common as mavlink

from dialtone_teleop.mavlink_dialect import Dialect

_RETRY_NS = 500_000_000
#: A heartbeat a second shows the mode: 5 s are enough for a link that loses some.
_MOST_TRIES = 10


class ModeRequest:
    """One wish. ``over`` once the vehicle granted and showed it, refused, or never answered."""

    def __init__(self, dialect: Dialect, name: str, log: Callable[[str, str], None]) -> None:
        self.name = name
        self.over = False
        self._number = next(number for number, each in dialect.names.items() if each == name)
        self._parameters = dialect.mode_parameters(self._number)
        self._log = log
        self._granted = False
        self._retry_ns = 0
        self._tries = 0

    def on_ack(self, result: int) -> None:
        """COMMAND_ACK of MAV_CMD_DO_SET_MODE."""
        if result == mavlink.MAV_RESULT_ACCEPTED:
            self._granted = True
            return
        reason = mavlink.enums["MAV_RESULT"][result].name
        self._end("warn", f"the vehicle refuses mode {self.name}: {reason}")

    def tick(self, shown: int, now_ns: int) -> tuple[float, ...] | None:
        """Parameters of MAV_CMD_DO_SET_MODE when it is time to ask; ``shown``: of HEARTBEAT."""
        if self.over:
            return None
        if self._granted and shown == self._number:
            self._end("info", f"mode {self.name}, as asked for: hands off until armed again")
            return None
        if now_ns < self._retry_ns:
            return None
        if self._tries == _MOST_TRIES:
            self._end("warn", f"the vehicle does not enter mode {self.name}; given up")
            return None
        self._tries += 1
        self._retry_ns = now_ns + _RETRY_NS
        return (mavlink.MAV_MODE_FLAG_CUSTOM_MODE_ENABLED, *self._parameters)

    def _end(self, level: str, line: str) -> None:
        self.over = True
        self._log(level, line)
