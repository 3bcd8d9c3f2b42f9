"""Runs the pipeline on an actuator: commands from any thread, stops from a thread of its own.

A command acts in the thread that brings it. The thread named ``watchdog`` only stops: it sleeps
until the pipeline's next deadline, so a stop doesn't wait for a ROS executor that is busy.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from dialtone_core.clock import Clock
from dialtone_core.command import STOP, Applied, Attitude, Command, Envelope, Twist
from dialtone_core.errors import DialtoneError
from dialtone_teleop.actuators.base import Actuator, VehicleState, WithAttitude, WithModes
from dialtone_teleop.estop import EStopFile
from dialtone_teleop.lease import Answer, Holder, Lease, LeaseEvent
from dialtone_teleop.pipeline import Decision, Pipeline
from dialtone_teleop.stats import Percentiles

#: At the end zeros go out so often, each a datagram that might be lost.
_FAREWELL_ZEROS = 3


@dataclass(frozen=True, slots=True)
class Status:
    """What ``teleop/state`` says."""

    reasons: tuple[str, ...]
    source: str
    operator: str
    seq: int | None
    estop_by: str | None
    vehicle: VehicleState
    holder: Holder | None = None
    now_ns: int = 0

    def key(self) -> tuple[object, ...]:
        """What makes two of them differ enough to be told at once."""
        vehicle = self.vehicle
        return (
            self.reasons,
            self.source,
            self.operator,
            self.estop_by,
            self.holder.operator if self.holder else "",
            vehicle.armed,
            vehicle.mode,
            vehicle.link,
            vehicle.reason,
        )


class Engine:
    """Owns the pipeline's lock. ``on_applied`` is called right after each write, in its thread."""

    def __init__(
        self,
        pipeline: Pipeline,
        actuator: Actuator,
        clock: Clock,
        on_applied: Callable[[Applied], None],
        estop_file: EStopFile | None = None,
    ) -> None:
        self.pipeline = pipeline
        #: Called with each change of lease or e-stop, in the thread that caused or found it.
        self.on_lease: Callable[[LeaseEvent], None] = lambda _: None
        self.on_estop: Callable[[bool, str], None] = lambda *_: None
        self._estop_file = estop_file
        if estop_file is not None:
            pipeline.estop_by = estop_file.read()
        self.latency_ms = Percentiles()
        self.write_ms = Percentiles()
        self.setpoints = 0
        self._actuator = actuator
        self._clock = clock
        self._on_applied = on_applied
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._running = False
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        """Start the watchdog."""
        self._running = True
        self._thread.start()

    def close(self) -> None:
        """Send zeros, then end the watchdog; idempotent. The caller closes the actuator after."""
        with self._lock:
            if not self._running:
                return
            self._running = False
            for _ in range(_FAREWELL_ZEROS):
                self._execute(self.pipeline.stop("shutdown", self._clock.monotonic_ns()))
            self._changed.notify_all()
        self._thread.join(1.0)

    def command(self, command: Command, issued_wall_ns: int | None = None) -> Decision:
        """Act on ``command`` now. ``issued_wall_ns`` is when it was stamped on this machine."""
        with self._lock:
            now_ns = self._clock.monotonic_ns()
            idle = not self.pipeline.driving
            if not self._running:
                return Decision(None, ("shutdown",), command)
            decision = self.pipeline.command(command, self._actuator.state(now_ns), now_ns)
            self._execute(decision, command, issued_wall_ns)
            if idle and self.pipeline.driving:
                self._changed.notify_all()
            return decision

    def refuse(self, source: str, reason: str) -> None:
        """Count what could not even be read as a command."""
        with self._lock:
            self.pipeline.refuse(source, reason)

    def acquire(self, operator: str, role: str) -> Answer:
        return self._lease(lambda lease, now_ns: lease.acquire(operator, role, now_ns))

    def renew(self, operator: str) -> Answer:
        return self._lease(lambda lease, now_ns: lease.renew(operator, now_ns))

    def release(self, operator: str) -> Answer:
        return self._lease(lambda lease, now_ns: lease.release(operator, now_ns))

    def force(self, operator: str, role: str) -> Answer:
        """Take the lease over; whoever drove on the old one is stopped before this returns."""
        return self._lease(lambda lease, now_ns: lease.force(operator, role, now_ns))

    def set_deadman(self, source: str, pressed: bool) -> None:
        """The deadman of ``source`` spoke; letting go stops at once."""
        with self._lock:
            now_ns = self._clock.monotonic_ns()
            self.pipeline.arbiter.set_deadman(source, pressed, now_ns)
            self._execute(self.pipeline.tick(self._actuator.state(now_ns), now_ns))

    def set_lock(self, name: str, closed: bool) -> None:
        """A lock of the table spoke; a closing one stops at once."""
        with self._lock:
            now_ns = self._clock.monotonic_ns()
            self.pipeline.arbiter.set_lock(name, closed, now_ns)
            self._execute(self.pipeline.tick(self._actuator.state(now_ns), now_ns))

    def estop(self, active: bool, by: str) -> None:
        """Latch (zeros go out first) or clear the e-stop.

        Raises ``OSError`` where the latch file cannot be changed. The e-stop is latched then,
        whichever was asked for: a latch works at once but may not outlast a restart.
        """
        if not active and self._estop_file is not None:
            self._estop_file.write(None)
        with self._lock:
            self._execute(self.pipeline.estop(active, by, self._clock.monotonic_ns()))
            self._changed.notify_all()
        self.on_estop(active, by)
        if active and self._estop_file is not None:
            self._estop_file.write(self.pipeline.estop_by)

    def refusal(self, source: str, operator: str) -> str:
        """Why ``operator`` may move nothing through ``source`` now, or "".

        For motion that is no twist, such as an actuator's own text lines: e-stop and lease hold
        for it too.
        """
        with self._lock:
            if self.pipeline.estop_by is not None:
                return "estop"
            now_ns = self._clock.monotonic_ns()
            command = Command(source, STOP, now_ns, Envelope(operator))
            return self.pipeline.authority.refuse(command, now_ns)

    def arm(self, wanted: bool) -> None:
        """Ask the vehicle for readiness; before a disarm it is told to stop."""
        with self._lock:
            if not wanted:
                self._execute(self.pipeline.stop("disarm", self._clock.monotonic_ns()))
            self._actuator.arm(wanted)

    def modes(self) -> tuple[str, ...]:
        """Modes of the vehicle that ``set_mode`` takes."""
        actuator = self._actuator
        return actuator.modes() if isinstance(actuator, WithModes) else ()

    def set_mode(self, name: str, operator: str) -> None:
        """Stop, then leave the vehicle to its mode ``name``; a guided one takes it back.

        Raises ``DialtoneError`` while the e-stop is latched, where somebody else holds the lease,
        and for a mode that there is not: some modes move by themselves.
        """
        with self._lock:
            now_ns = self._clock.monotonic_ns()
            holder = self.pipeline.authority.lease.holder(now_ns)
            known = self.modes()
            if self.pipeline.estop_by is not None:
                raise DialtoneError("the e-stop is latched", fix="clear it first")
            if holder is not None and holder.operator != operator:
                raise DialtoneError(f"{holder.operator} holds the lease", fix="take it first")
            if name not in known:
                fix = f"take one of {', '.join(known)}" if known else "see whether it is connected"
                raise DialtoneError(f"the vehicle has no mode {name[:32]!r}", fix=fix)
            self._execute(self.pipeline.stop("mode_changed", now_ns))
            assert isinstance(self._actuator, WithModes)
            self._actuator.set_mode(name)

    def status(self) -> Status:
        with self._lock:
            now_ns = self._clock.monotonic_ns()
            vehicle = self._actuator.state(now_ns)
            last = self.pipeline.last
            reasons = self.pipeline.reasons
            if not vehicle.ready and vehicle.reason not in reasons:
                reasons = (*reasons, vehicle.reason)
            if self.pipeline.estop_by is not None and "estop" not in reasons:
                reasons = ("estop", *reasons)
            return Status(
                reasons,
                self.pipeline.arbiter.driver(now_ns),
                last.envelope.operator if last else "",
                last.envelope.seq if last else None,
                self.pipeline.estop_by,
                vehicle,
                self.pipeline.authority.lease.holder(now_ns),
                now_ns,
            )

    def _lease(self, change: Callable[[Lease, int], Answer]) -> Answer:
        """Change the lease; a driver who lost it is stopped at once."""
        with self._lock:
            now_ns = self._clock.monotonic_ns()
            answer = change(self.pipeline.authority.lease, now_ns)
            self._execute(self.pipeline.tick(self._actuator.state(now_ns), now_ns))
            self._tell_lease(now_ns)
            self._changed.notify_all()
            return answer

    def _tell_lease(self, now_ns: int) -> None:
        for event in self.pipeline.authority.lease.take_events(now_ns):
            self.on_lease(event)

    def _watch(self) -> None:
        with self._lock:
            while self._running:
                now_ns = self._clock.monotonic_ns()
                self._execute(self.pipeline.tick(self._actuator.state(now_ns), now_ns))
                self._tell_lease(now_ns)
                now_ns = self._clock.monotonic_ns()
                self._changed.wait(max(0, self.pipeline.wake_ns(now_ns) - now_ns) / 1e9)

    def _hands_off(self) -> bool:
        """Somebody else drives the vehicle: only an e-stop may still be sent to it."""
        return self._actuator.state(self._clock.monotonic_ns()).hands_off

    def _execute(
        self, decision: Decision, asked: Command | None = None, issued_wall_ns: int | None = None
    ) -> None:
        """Write what was decided and tell it; ``asked`` is the command that is acted on now."""
        if decision.twist is None:
            return
        if self.pipeline.estop_by is None and self._hands_off():
            return
        sent = self._write(decision.twist, decision.attitude)
        if sent is None:
            return
        wall_ns, now_ns = self._clock.wall_ns(), self._clock.monotonic_ns()
        self.pipeline.sent(sent, now_ns)
        self.setpoints += 1
        latency_ns = delay_ns = None
        if asked is not None:
            self.write_ms.add((now_ns - asked.received_ns) / 1e6)
            delay_ns = self.pipeline.delay_ns
            if issued_wall_ns is not None:
                latency_ns = wall_ns - issued_wall_ns
                self.latency_ms.add(latency_ns / 1e6)
        command = decision.command
        self._on_applied(
            Applied(
                sent,
                wall_ns,
                command.source if command else "",
                command.envelope.operator if command else "",
                command.envelope.seq if command else None,
                decision.reasons,
                latency_ns,
                delay_ns,
                decision.attitude,
            )
        )

    def _write(self, twist: Twist, attitude: Attitude | None) -> Twist | None:
        """The velocity that went out (a stop beside an attitude), ``None`` where nothing could."""
        if attitude is None:
            return self._actuator.send(twist)
        flies = self._actuator if isinstance(self._actuator, WithAttitude) else None
        return STOP if flies is not None and flies.send_attitude(attitude) else None
