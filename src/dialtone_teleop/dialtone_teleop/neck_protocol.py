"""The text lines of the neck's firmware: parse, check, merge, write. Pure.

The firmware (115200 baud, ``\\n``-ended ASCII) takes words (``HOME``, ``HOME_SOFT``,
``HOME_BRUTE``, ``HEALTH``, ``STATUS``), moves of its six actuators in mm (``1:55,2:60``), a head
pose (``X50,Y-20``) or a quaternion (``Q:1,0,0,0,H30``). It clamps no actuator, acknowledges no
motion, has no stop and no watchdog. Fields that a pose leaves out fall back to 0 (S and A to 1),
so a pose is merged here with what was asked before and written whole. It reads at most six parts
of a ``Q:`` line and drops a seventh, so one is refused here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from dialtone_core.errors import WireError

#: A longer line is nobody's; the firmware's own lines are shorter.
MAX_LINE = 120
HOMES = ("HOME", "HOME_BRUTE", "HOME_SOFT")
QUESTIONS = ("HEALTH", "STATUS")
ANGLE_LIMIT, HEIGHT_LIMIT_MM, PACE_LIMIT = 700, 70, 10.0
ACTUATORS = range(1, 7)
_ANGLES = ("X", "Y", "Z", "R", "P")
_INTEGER = re.compile(r"[+-]?\d{1,6}", re.ASCII)
_DECIMAL = re.compile(
    r"[+-]?(\d{1,6}(\.\d{0,9})?|\.\d{1,9})(e-\d{1,2})?", re.ASCII | re.IGNORECASE
)
#: Norms this close to 1 are a unit quaternion that was rounded.
_NORM_TOLERANCE = 0.02
_Q_PARTS = 6

#: (w, x, y, z), in the firmware's order.
Wxyz: TypeAlias = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Word:
    """``HOME…`` or a question."""

    name: str

    @property
    def is_home(self) -> bool:
        return self.name in HOMES


@dataclass(frozen=True, slots=True)
class Actuators:
    """Lengths in mm by actuator, 1 to 6."""

    lengths: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Pose:
    """Fields of a head pose as given: X, Y, Z, R, P (tenths), H (mm), S, A (pace)."""

    fields: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Attitude:
    """A unit quaternion, with H, S and A where given."""

    wxyz: Wxyz
    fields: Mapping[str, float] = field(default_factory=dict)


Command: TypeAlias = Word | Actuators | Pose | Attitude


def parse(line: str) -> Command:
    """One line; raises ``WireError`` whose ``reason`` names what is wrong with it.

    ``empty``, ``too_long``, ``not_ascii``, ``unknown_word``, ``unknown_field``,
    ``duplicate_field``, ``not_integer``, ``not_number``, ``out_of_range``, ``too_many_parts``,
    ``too_few_parts``, ``not_unit``.
    """
    line = line.strip(" \t\r\n")
    if not line:
        raise WireError("empty")
    if len(line) > MAX_LINE:
        raise WireError("too_long", f"{len(line)} characters, at most {MAX_LINE}")
    if not (line.isascii() and line.isprintable()):
        raise WireError("not_ascii")
    if line in HOMES or line in QUESTIONS:
        return Word(line)
    if line.startswith("Q:"):
        return _attitude(line[2:].split(","))
    parts = [part.strip() for part in line.split(",")]
    if all(":" in part for part in parts):
        return _actuators(parts)
    return Pose(_fields(parts, (*_ANGLES, "H", "S", "A")))


def _attitude(parts: list[str]) -> Attitude:
    if len(parts) < 4:
        raise WireError("too_few_parts", "Q: wants w,x,y,z")
    if len(parts) > _Q_PARTS:
        raise WireError("too_many_parts", "the firmware drops the seventh of a Q: line")
    w, x, y, z = (_decimal(part.strip(), "Q") for part in parts[:4])
    norm = math.sqrt(w * w + x * x + y * y + z * z)
    if abs(norm - 1.0) > _NORM_TOLERANCE:
        raise WireError("not_unit", f"the quaternion's length is {norm:.3g}")
    rest = _fields([part.strip() for part in parts[4:]], ("H", "S", "A"))
    return Attitude((w / norm, x / norm, y / norm, z / norm), rest)


def _actuators(parts: list[str]) -> Actuators:
    lengths: dict[int, int] = {}
    for part in parts:
        name, _, text = part.partition(":")
        if name not in ("1", "2", "3", "4", "5", "6"):
            raise WireError("unknown_field", f"actuator {name[:10]!r}, not 1 to 6")
        if int(name) in lengths:
            raise WireError("duplicate_field", name)
        if not _INTEGER.fullmatch(text):
            raise WireError("not_integer", part[:20])
        lengths[int(name)] = int(text)
    return Actuators(lengths)


def _fields(parts: list[str], allowed: tuple[str, ...]) -> dict[str, float]:
    found: dict[str, float] = {}
    for part in parts:
        name, text = part[:1], part[1:]
        if name not in allowed:
            single = len(parts) == 1 and not _DECIMAL.fullmatch(text)
            raise WireError("unknown_word" if single else "unknown_field", part[:20])
        if name in found:
            raise WireError("duplicate_field", name)
        found[name] = _field(name, text)
    return found


def _field(name: str, text: str) -> float:
    if name in ("S", "A"):
        return _within(name, _decimal(text, name), 0.0, PACE_LIMIT)
    if not _INTEGER.fullmatch(text):
        raise WireError("not_integer", f"{name}{text}"[:20])
    low, high = (0, HEIGHT_LIMIT_MM) if name == "H" else (-ANGLE_LIMIT, ANGLE_LIMIT)
    return _within(name, int(text), low, high)


def _decimal(text: str, name: str) -> float:
    if not _DECIMAL.fullmatch(text):
        raise WireError("not_number", f"{name} {text[:20]!r}")
    return float(text)


def _within(name: str, value: float, low: float, high: float) -> float:
    if not low <= value <= high:
        raise WireError("out_of_range", f"{name} is {value:g}, not {low:g} to {high:g}")
    return value


@dataclass(frozen=True, slots=True)
class Head:
    """What the head was last told. Immutable, so that it changes only once a line is written.

    ``wxyz`` is set after a ``Q:`` line, ``lengths`` after moves of single actuators; each way of
    telling replaces the other two.
    """

    angles: tuple[int, int, int, int, int] = (0, 0, 0, 0, 0)
    height_mm: int = 0
    speed: float = 1.0
    acceleration: float = 1.0
    wxyz: Wxyz | None = None
    lengths: Mapping[int, int] = field(default_factory=dict)

    def merged(self, command: Command) -> Head:
        """This head after ``command``."""
        if isinstance(command, Word):
            return Head() if command.is_home else self
        if isinstance(command, Actuators):
            lengths = dict(sorted({**self.lengths, **command.lengths}.items()))
            return replace(self, lengths=lengths, wxyz=None)
        given = command.fields
        told = replace(
            self,
            height_mm=int(given.get("H", self.height_mm)),
            speed=given.get("S", self.speed),
            acceleration=given.get("A", self.acceleration),
            lengths={},
        )
        if isinstance(command, Attitude):
            return replace(told, wxyz=command.wxyz, angles=(0, 0, 0, 0, 0))
        x, y, z, r, p = (
            int(given.get(name, old)) for name, old in zip(_ANGLES, self.angles, strict=True)
        )
        return replace(told, angles=(x, y, z, r, p), wxyz=None)

    def clamped(self, low_mm: int, high_mm: int) -> Head:
        """With every actuator's length within bounds: the firmware has none."""
        held = {name: min(max(mm, low_mm), high_mm) for name, mm in self.lengths.items()}
        return replace(self, lengths=held)

    def line(self) -> str:
        """The whole state as the firmware reads it, without the line's end."""
        if self.lengths:
            return ",".join(f"{name}:{mm}" for name, mm in self.lengths.items())
        height = f"H{self.height_mm}"
        speed, acceleration = f"S{_plain(self.speed)}", f"A{_plain(self.acceleration)}"
        if self.wxyz is not None:
            # H and S are the two parts beside the quaternion; A falls back to 1.
            quaternion = ",".join(_plain(v) for v in self.wxyz)
            return f"Q:{quaternion},{height},{speed}"
        angles = [f"{name}{v}" for name, v in zip(_ANGLES, self.angles, strict=True)]
        return ",".join([*angles, height, speed, acceleration])


def parse_health(line: str) -> dict[str, str]:
    """``HEALTH|DEVICE=NECK|…`` as a dict; empty where ``line`` is something else."""
    head, *pairs = line.strip().split("|")
    if head != "HEALTH":
        return {}
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


def is_neck(health: Mapping[str, str]) -> bool:
    """Whether a device with this ``HEALTH`` is a neck that speaks our protocol."""
    return health.get("DEVICE") == "NECK" and health.get("PROTO", "1") == "1"


def limit_tilt(wxyz: Wxyz, most_rad: float) -> Wxyz:
    """``wxyz`` with its z axis at most ``most_rad`` off upright; the turn about z stays.

    A rotation splits into a tilt about a level axis after a turn about z: q = tilt · turn.
    """
    w, x, y, z = wxyz
    level = math.hypot(w, z)
    tilt = 2 * math.atan2(math.hypot(x, y), level)
    if tilt <= most_rad:
        return wxyz
    tw, tz = (w / level, z / level) if level > 1e-9 else (1.0, 0.0)
    # tilt = q · turn⁻¹ has no z part; only its axis is needed.
    ax, ay = x * tw - y * tz, y * tw + x * tz
    ax, ay = _level_axis(ax, ay)
    c, s = math.cos(most_rad / 2), math.sin(most_rad / 2)
    return (c * tw, s * (ax * tw + ay * tz), s * (ay * tw - ax * tz), c * tz)


def _level_axis(x: float, y: float) -> tuple[float, float]:
    length = math.hypot(x, y)
    return x / length, y / length


def _plain(value: float) -> str:
    """Without an exponent, which the firmware does not read."""
    text = f"{value:.4f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
