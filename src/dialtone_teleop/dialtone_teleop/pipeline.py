"""From a command to what goes out, and from silence to a stop. Pure: time and vehicle come in.

A command passes: well-formed → fresh → e-stop → neutral → lease → vehicle (ready, tilt, battery)
→ arbiter → limits → fence. The first that objects gives the reason, and a refused command changes
nothing: the robot goes on with the last valid one until that runs out. Between commands ``tick``
only ever stops: at the deadline of the last command, when the vehicle stops being drivable, when
the lease is lost, a deadman let go or a lock closed. A stop is explicit zeros, repeated, then
silence. Not thread-safe; its owner serialises.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from dialtone_core.clock import NS_PER_S
from dialtone_core.command import STOP, Attitude, Command, Twist
from dialtone_teleop.actuators.base import VehicleState
from dialtone_teleop.arbiter import Arbiter
from dialtone_teleop.attitude import AttitudeLimits
from dialtone_teleop.authority import Authority
from dialtone_teleop.freshness import Freshness
from dialtone_teleop.neutral import Neutral
from dialtone_teleop.params import StopParams, TeleopParams
from dialtone_teleop.safety import Limiter, refuse_malformed, refuse_not_ready
from dialtone_teleop.watch import Fence, LinkQuality, Watch


@dataclass(frozen=True, slots=True)
class Decision:
    """``twist`` is to be sent now, or ``None``; ``reasons`` say why it is not what was asked.

    Where there is an ``attitude``, that is sent instead of the twist, which is a stop then.
    """

    twist: Twist | None
    reasons: tuple[str, ...] = ()
    command: Command | None = None
    attitude: Attitude | None = None


#: Longest time (ns) between two looks at vehicle and locks while something moves.
TICK_NS = 20_000_000
_IDLE_NS = NS_PER_S
#: A stop begins with so many zeros, so far apart: each may be a datagram that gets lost.
_BURST_ZEROS = 3
BURST_NS = 5_000_000


class Pipeline:
    """The whole way of a command; see the module."""

    def __init__(self, params: TeleopParams) -> None:
        self.arbiter = Arbiter(params.sources, params.locks)
        self.authority = Authority(params)
        self.link_quality = LinkQuality(params.safety.link, params.max_delay_s)
        self.refused: dict[str, Counter[str]] = {name: Counter() for name in params.sources}
        self.accepted: Counter[str] = Counter()
        self.reasons: tuple[str, ...] = ("idle",)
        self.last: Command | None = None
        self.estop_by: str | None = None
        self._stop: StopParams = params.stop
        self._freshness = Freshness(params.max_delay_s)
        self._limiter = Limiter(params.limits)
        self._neutral = Neutral()
        self._watch = Watch(params.safety)
        self._fence = Fence(params.safety.fence)
        self._attitude = AttitudeLimits(params.attitude, params.safety.fence.shape != "none")
        self._out = STOP
        self._unready = ""
        self._zero_ns = round(NS_PER_S / params.stop.zeros_hz)
        self._deadline_ns: int | None = None
        self._zeros_until_ns = -1
        self._next_zero_ns = 0
        self._burst = 0

    @property
    def driving(self) -> bool:
        """Whether the last command is still good."""
        return self._deadline_ns is not None

    @property
    def delay_ns(self) -> int | None:
        """What the last command took beyond the fastest of its sender, where it was stamped."""
        return self._freshness.delay_ns

    def command(self, command: Command, vehicle: VehicleState, now_ns: int) -> Decision:
        """Judge one command; ``twist`` is ``None`` where it is refused."""
        self._look(vehicle)
        reason = (
            refuse_malformed(command)
            or self._freshness.refuse(command)
            or self._refuse_stopped(command, now_ns)
            or self.authority.refuse(command, now_ns)
            or refuse_not_ready(vehicle)
            or self._watch.refuse(vehicle)
            or self._attitude.refuse(command.attitude)
            or self.arbiter.offer(command, now_ns)
        )
        if reason:
            return self._refuse(command, reason)
        attitude, twist = command.attitude, STOP
        if attitude is None:
            twist, reasons = self._shape(command.twist, vehicle, now_ns)
        else:
            scale = self.link_quality.scale(self._freshness.delay_ns)
            attitude, reasons = self._attitude.limit(attitude, scale)
        self.accepted[command.source] += 1
        self.last = command
        self.reasons = reasons
        self._deadline_ns = self.arbiter.deadline_ns(command)
        self._zeros_until_ns = -1
        return Decision(twist, reasons, command, attitude)

    def refuse(self, source: str, reason: str) -> None:
        """Count a command that was no command at all (``bad_envelope``)."""
        self.refused.setdefault(source, Counter())[reason] += 1

    def estop(self, active: bool, by: str, now_ns: int) -> Decision:
        """Latch or clear. Latching stops at once, whoever drives and whatever the vehicle says."""
        if not active:
            if self.estop_by is not None:
                self._neutral.cleared(now_ns)
            self.estop_by = None
            self.reasons = ("idle",) if not self.driving else self.reasons
            return Decision(None)
        self.estop_by = self.estop_by if self.estop_by is not None else by
        self.arbiter.release()
        return self._begin_stop("estop", now_ns)

    def tick(self, vehicle: VehicleState, now_ns: int) -> Decision:
        """What silence means at ``now_ns``."""
        self._look(vehicle)
        if self._deadline_ns is not None:
            reason = self._reason_to_stop(vehicle, now_ns)
            if reason:
                self.arbiter.release()
                return self._begin_stop(reason, now_ns)
            return Decision(None)
        if self._may_fall_silent(vehicle, now_ns):
            return Decision(None)
        if now_ns < self._next_zero_ns:
            return Decision(None)
        return self._zero(now_ns)

    def stop(self, reason: str, now_ns: int) -> Decision:
        """Stop now, for a reason from outside (``shutdown``)."""
        self.arbiter.release()
        return self._begin_stop(reason, now_ns)

    def wake_ns(self, now_ns: int) -> int:
        """When ``tick`` should be called next, at the latest."""
        if self._deadline_ns is not None:
            return min(self._deadline_ns, now_ns + TICK_NS)
        if self.estop_by is not None or now_ns < self._zeros_until_ns:
            return max(self._next_zero_ns, now_ns + 1_000_000)
        holder = self.authority.lease.holder(now_ns)
        return min(now_ns + _IDLE_NS, holder.until_ns if holder else now_ns + _IDLE_NS)

    def sent(self, twist: Twist, now_ns: int) -> None:
        """``twist`` really went out."""
        self._limiter.sent(twist, now_ns)
        self._out = twist

    def _look(self, vehicle: VehicleState) -> None:
        """Remember why the vehicle can't be driven; forget it as a reason once it can."""
        if not vehicle.ready:
            self._unready = refuse_not_ready(vehicle)
        elif self.reasons == (self._unready,):
            self.reasons = ("idle",)

    def _refuse_stopped(self, command: Command, now_ns: int) -> str:
        held = self._neutral.refuse(command, now_ns)
        return "estop" if self.estop_by is not None else held

    def _shape(
        self, twist: Twist, vehicle: VehicleState, now_ns: int
    ) -> tuple[Twist, tuple[str, ...]]:
        """``twist`` within every limit, and the tokens of what was changed."""
        scale = self.link_quality.scale(self._freshness.delay_ns)
        limited = self._limiter.limit(twist, now_ns, scale)
        reasons = limited.reasons
        if scale < 1.0 and any(each.startswith("limit_") for each in reasons):
            reasons = (*reasons, "slow_link")
        held, reason = self._fence.hold(limited.twist, vehicle)
        return held, (*reasons, reason) if reason else reasons

    def _refuse(self, command: Command, reason: str) -> Decision:
        self.refuse(command.source, reason)
        if not self.driving:
            self.reasons = (reason,)
        return Decision(None, (reason,), command)

    def _reason_to_stop(self, vehicle: VehicleState, now_ns: int) -> str:
        if self._deadline_ns is None or self.last is None or now_ns >= self._deadline_ns:
            return "timeout"
        return (
            refuse_not_ready(vehicle)
            or self._watch.refuse(vehicle)
            or self.authority.refuse(self.last, now_ns)
            or self.arbiter.reason_to_stop(now_ns)
            or self._fence.hold(self._out, vehicle)[1]
        )

    def _begin_stop(self, reason: str, now_ns: int) -> Decision:
        self.reasons = (reason,)
        self._deadline_ns = None
        self._zeros_until_ns = now_ns + round(self._stop.zeros_s * NS_PER_S)
        self._burst = _BURST_ZEROS
        return self._zero(now_ns)

    def _zero(self, now_ns: int) -> Decision:
        self._burst -= 1
        self._next_zero_ns = now_ns + (BURST_NS if self._burst > 0 else self._zero_ns)
        return Decision(STOP, self.reasons, self.last)

    def _may_fall_silent(self, vehicle: VehicleState, now_ns: int) -> bool:
        if now_ns < self._zeros_until_ns:
            return False
        return self.estop_by is None or self._at_rest(vehicle)

    def _at_rest(self, vehicle: VehicleState) -> bool:
        """Whether the vehicle itself says that it stands; unknown is not at rest."""
        if not vehicle.link or vehicle.speed_mps is None or vehicle.turn_rps is None:
            return False
        return (
            vehicle.speed_mps < self._stop.rest_mps and abs(vehicle.turn_rps) < self._stop.rest_rps
        )
