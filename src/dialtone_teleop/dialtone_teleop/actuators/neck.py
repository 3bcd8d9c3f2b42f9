"""A Stewart-platform head on a serial line (see ``neck_protocol`` for what its firmware takes).

The head holds the last position that it was told and has no stop, so a stop means that nothing
more is written: a zero twist writes nothing. A twist jogs it (``z`` raises, angular rates turn),
by small steps for as long as twists come. While it homes it hears nothing, so nothing is written
then, and nothing is kept for later.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace

from dialtone_core.clock import NS_PER_S, Clock
from dialtone_core.command import Twist
from dialtone_core.errors import WireError
from dialtone_teleop.actuator_params import NeckParams
from dialtone_teleop.actuators.base import VehicleState
from dialtone_teleop.neck_device import NeckDevice
from dialtone_teleop.neck_jog import Jog
from dialtone_teleop.neck_protocol import (
    Attitude,
    Command,
    Head,
    Word,
    Wxyz,
    limit_tilt,
    parse,
)
from dialtone_teleop.neck_targets import to_command
from dialtone_teleop.params import TeleopParams
from dialtone_teleop.telemetry import Telemetry

Refusal = Callable[[str], str]


class NeckActuator:
    """See the module and ``base.Actuator``. ``told`` is called with each new ``Head``.

    ``on_ack(text)`` is called for each line that was written or refused:
    ``ok <command> -> <line>`` or ``refused <command> (<reason>)``, and ``says <text>`` for what
    the firmware says. ``refusal(operator)`` names why nothing may move, or "".
    """

    def __init__(self, params: NeckParams, clock: Clock) -> None:
        self._params = params
        self._clock = clock
        self._lock = threading.RLock()
        self._head = Head()
        self._jog = Jog(params.max_tilt_rad)
        self._refused: Counter[str] = Counter()
        self._written = 0
        self._streamed_ns: dict[str, int] = {}
        self._stream_period_ns = round(NS_PER_S / params.max_rate_hz)
        self.refusal: Refusal = lambda _: ""
        self.on_ack: Callable[[str], None] = lambda _: None
        self.on_head: Callable[[Head], None] = lambda _: None
        self._device = NeckDevice(params, clock, self._homed, self._says)

    def attach(self, node: object, refusal: Refusal) -> None:
        """Make the neck's topics on the rclpy ``node``."""
        from dialtone_teleop.ros_neck import NeckTopics

        self.refusal = refusal
        NeckTopics(node, self)

    def open(
        self, on_telemetry: Callable[[Telemetry], None], log: Callable[[str, str], None]
    ) -> None:
        self._device.open(log)

    def close(self) -> None:
        self._device.close()

    def command(self, text: str, operator: str = "") -> str:
        """One line of the grammar; the acknowledgement, which ``on_ack`` gets too."""
        try:
            command = parse(text)
        except WireError as error:
            return self._refuse(text, error.reason, error.detail)
        return self._act(command, text.strip(), operator)

    def attitude(self, wxyz: Wxyz, operator: str = "") -> None:
        """Turn the head to a unit quaternion, tilted at most ``max_tilt_rad``."""
        norm = math.sqrt(sum(each * each for each in wxyz))
        if not math.isfinite(norm) or abs(norm - 1.0) > 0.02:
            self._refuse("attitude", "not_unit")
        elif self._due("attitude"):
            w, x, y, z = (each / norm for each in wxyz)
            held = limit_tilt((w, x, y, z), self._params.max_tilt_rad)
            self._act(Attitude(held), "attitude", operator)

    def joints(self, positions: Mapping[str, float], operator: str = "") -> None:
        """Targets by joint name (see docs/wire.md): m and rad."""
        try:
            command = to_command(positions)
        except WireError as error:
            self._refuse("joints", error.reason, error.detail)
            return
        if self._due("joints"):
            self._act(command, "joints", operator)

    def send(self, twist: Twist) -> Twist | None:
        """Jog by one step; what of ``twist`` the head can do."""
        with self._lock:
            now_ns = self._clock.monotonic_ns()
            able = Twist(0.0, 0.0, twist.z, twist.roll, twist.pitch, twist.yaw)
            if able.is_zero():
                self._jog.rest()
                return able if self._device.up else None
            if self._device.reason(now_ns):
                return None
            head = self._jog.step(self._head, able, now_ns)
            if head == self._head or self._write(head, head.line()):
                return able
            return None

    def arm(self, wanted: bool) -> None:
        """The head has no arming; HOME is a command of its own."""

    def state(self, now_ns: int) -> VehicleState:
        reason = self._device.reason(now_ns)
        return VehicleState(
            ready=not reason,
            reason=reason,
            link=self._device.up,
            link_age_s=self._device.age_s(now_ns),
            armed=not reason,
            mode="HOMING" if reason == "homing" else "POSITION",
            speed_mps=0.0 if self._device.up else None,
            turn_rps=0.0 if self._device.up else None,
        )

    def figures(self) -> dict[str, object]:
        refused = {f"neck.refused.{reason}": count for reason, count in self._refused.items()}
        return {"written": self._written, **self._device.figures(), **refused}

    def _act(self, command: Command, text: str, operator: str) -> str:
        question = isinstance(command, Word) and not command.is_home
        # Asked without the lock: who answers holds one of their own while they call ``send``.
        reason = "" if question else self.refusal(operator)
        with self._lock:
            reason = reason or self._device.reason(self._clock.monotonic_ns())
            if reason:
                return self._refuse(text, reason)
            if isinstance(command, Word):
                return self._word(command, text)
            head = self._head.merged(command)
            head = head.clamped(self._params.actuator_min_mm, self._params.actuator_max_mm)
            if isinstance(command, Attitude) and head.wxyz is not None:
                held = limit_tilt(head.wxyz, self._params.max_tilt_rad)
                head = replace(head, wxyz=held)
            line = head.line()
            if not self._write(head, line):
                return self._refuse(text, "line_down")
            return self._ack("ok", f"{text} -> {line}")

    def _word(self, word: Word, text: str) -> str:
        done = self._device.home(word.name) if word.is_home else self._device.ask(word.name)
        if not done:
            return self._refuse(text, "line_down")
        self._written += 1
        if word.is_home:
            self._tell(Head())
        return self._ack("ok", f"{text} -> {word.name}")

    def _write(self, head: Head, line: str) -> bool:
        """Under the lock; what the head was told changes only with a line that went out."""
        if not self._device.write(line):
            return False
        self._written += 1
        self._tell(head)
        return True

    def _homed(self, line: str) -> None:
        """The device wrote a HOME by itself, on connect."""
        with self._lock:
            self._jog.rest()
            self._tell(Head())
        self._ack("ok", f"{line} -> {line}")

    def _tell(self, head: Head) -> None:
        self._head = head
        self.on_head(head)

    def _due(self, stream: str) -> bool:
        now_ns = self._clock.monotonic_ns()
        if (
            now_ns - self._streamed_ns.get(stream, -self._stream_period_ns)
            < self._stream_period_ns
        ):
            return False
        self._streamed_ns[stream] = now_ns
        return True

    def _says(self, text: str) -> None:
        self._ack("says", "".join(c if c.isprintable() else "?" for c in text))

    def _refuse(self, text: str, reason: str, detail: str = "") -> str:
        self._refused[reason] += 1
        why = f"{reason}: {detail}" if detail else reason
        shown = "".join(c if c.isprintable() else "?" for c in text.strip())[:60]
        return self._ack("refused", f"{shown} ({why})")

    def _ack(self, kind: str, text: str) -> str:
        ack = f"{kind} {text}"
        self.on_ack(ack)
        return ack


def create(params: TeleopParams, clock: Clock) -> NeckActuator:
    return NeckActuator(params.neck, clock)
