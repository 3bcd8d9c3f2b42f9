"""Commands: what an operator asks for, and what was really sent."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qsl, urlencode

from dialtone_core.errors import WireError


@dataclass(frozen=True, slots=True)
class Twist:
    """Velocity in ``base_link`` (REP 103: x forward, y left, z up): m/s and rad/s."""

    x: float = 0.0
    y: float = 0.0
    z: float = 0.0
    roll: float = 0.0
    pitch: float = 0.0
    yaw: float = 0.0

    def is_finite(self) -> bool:
        return all(map(math.isfinite, self.as_tuple()))

    def is_zero(self) -> bool:
        return not any(self.as_tuple())

    def as_tuple(self) -> tuple[float, float, float, float, float, float]:
        """(vx, vy, vz, wx, wy, wz)."""
        return (self.x, self.y, self.z, self.roll, self.pitch, self.yaw)


STOP = Twist()


@dataclass(frozen=True, slots=True)
class Attitude:
    """Orientation or body rates, with thrust: what an aircraft is flown by.

    ``orientation`` is (x, y, z, w) of ``base_link`` in ``odom`` (FLU in ENU), ``rates`` are rad/s
    about x, y, z of ``base_link``; one of them is ``None``. ``thrust`` is a share of the most:
    0..1, or −1..1 for a vehicle that drives backwards.
    """

    thrust: float
    orientation: tuple[float, float, float, float] | None = None
    rates: tuple[float, float, float] | None = None

    def is_finite(self) -> bool:
        return all(map(math.isfinite, (self.thrust, *(self.orientation or self.rates or ()))))


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who sent a command and how long it is good for.

    The standard messages have no room for it, so on ROS it rides in ``header.frame_id`` as a
    query: ``base_link?operator=ada&seq=12&ttl_ms=300``. A plain ``base_link`` is empty.
    ``issued_ns`` is the operator's own clock and is compared only through a measured offset.
    """

    operator: str = ""
    seq: int | None = None
    ttl_ns: int | None = None
    issued_ns: int | None = None

    def to_frame_id(self, frame: str = "base_link") -> str:
        """Encode for ``header.frame_id``."""
        pairs: list[tuple[str, str]] = []
        if self.operator:
            pairs.append(("operator", self.operator))
        if self.seq is not None:
            pairs.append(("seq", str(self.seq)))
        if self.ttl_ns is not None:
            pairs.append(("ttl_ms", format(self.ttl_ns / 1e6, "g")))
        if self.issued_ns is not None:
            pairs.append(("issued_ns", str(self.issued_ns)))
        return f"{frame}?{urlencode(pairs)}" if pairs else frame

    @classmethod
    def from_frame_id(cls, frame_id: str) -> tuple[str, Envelope]:
        """Decode ``header.frame_id`` to (frame, envelope); raises ``WireError``."""
        frame, _, query = frame_id.partition("?")
        if not query:
            return frame, EMPTY_ENVELOPE
        try:
            fields = dict(parse_qsl(query, max_num_fields=8))
            ttl_ns = round(float(fields["ttl_ms"]) * 1e6) if "ttl_ms" in fields else None
            seq = int(fields["seq"]) if "seq" in fields else None
            issued_ns = int(fields["issued_ns"]) if "issued_ns" in fields else None
        except (ValueError, OverflowError) as error:
            raise WireError("bad_envelope", frame_id[:80]) from error
        return frame, cls(fields.get("operator", ""), seq, ttl_ns, issued_ns)


EMPTY_ENVELOPE = Envelope()


@dataclass(frozen=True, slots=True)
class Command:
    """One command on its way to the vehicle: a velocity, or an ``attitude`` with a zero ``twist``.

    ``source`` names the input (``cmd_vel``, ``nats``, ``foxglove``); ``received_ns`` is the
    robot's *monotonic* receipt, the only stamp that timeouts look at.
    """

    source: str
    twist: Twist
    received_ns: int
    envelope: Envelope = field(default=EMPTY_ENVELOPE)
    attitude: Attitude | None = None

    def is_zero(self) -> bool:
        """Whether it asks for no motion; an attitude always does."""
        return self.attitude is None and self.twist.is_zero()

    def with_twist(self, twist: Twist) -> Command:
        return replace(self, twist=twist)


@dataclass(frozen=True, slots=True)
class Applied:
    """What really went out to the vehicle, and why it differs from what was asked.

    ``reasons`` are stable tokens such as ``limit_x`` or ``timeout``; empty means "as asked".
    ``latency_ns`` is from the command's first stamp on this machine to the wire, ``delay_ns`` what
    its way here took beyond the fastest lately (it needs the operator's ``issued_ns``); both are
    ``None`` for what no command caused, such as the zeros of a stop. With an ``attitude`` that
    went out, and ``twist`` is zero.
    """

    twist: Twist
    wall_ns: int
    source: str = ""
    operator: str = ""
    seq: int | None = None
    reasons: tuple[str, ...] = ()
    latency_ns: int | None = None
    delay_ns: int | None = None
    attitude: Attitude | None = None
