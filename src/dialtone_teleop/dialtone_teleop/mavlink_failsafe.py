"""What an autopilot does when this computer falls silent: the parameters that say so, judged.

A rule names the parameter (and what newer firmware calls it), what is wrong with its value, and
what to set instead. Sources: ArduPilot's parameter lists (FS_GCS_ENABLE, FS_TIMEOUT, FS_ACTION,
FS_GCS_TIMEOUT, GUID_TIMEOUT, SYSID_MYGCS, which 4.7 calls MAV_GCS_SYSID) and PX4's
(COM_OF_LOSS_T, COM_OBL_RC_ACT); ArduRover's GUIDED drives on for 3 s whatever is set.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pymavlink.dialects.v20 import common as mavlink

#: What FS_GCS_ENABLE 0 means for a rover.
DRIVES_ON = "FS_GCS_ENABLE is 0: the vehicle drives on for 3 s when this computer dies"
_INTEGERS = {
    mavlink.MAV_PARAM_TYPE_UINT8: "B",
    mavlink.MAV_PARAM_TYPE_INT8: "b",
    mavlink.MAV_PARAM_TYPE_UINT16: "H",
    mavlink.MAV_PARAM_TYPE_INT16: "h",
    mavlink.MAV_PARAM_TYPE_UINT32: "I",
    mavlink.MAV_PARAM_TYPE_INT32: "i",
}


@dataclass(frozen=True, slots=True)
class Advice:
    """A parameter that makes the vehicle less safe, and what to set."""

    name: str
    what: str
    fix: str


@dataclass(frozen=True, slots=True)
class Rule:
    """``good(value, system_id)`` judges; ``what`` and ``fix`` may use {name}, {value}, {ours}."""

    names: tuple[str, ...]
    good: Callable[[float, int], bool]
    what: str
    fix: str

    def judge(self, values: Mapping[str, float], system_id: int) -> Advice | None:
        """Advice, or ``None`` where the value is good or was not told."""
        for name in self.names:
            if name in values and not self.good(values[name], system_id):
                fill = {"name": name, "value": f"{values[name]:g}", "ours": system_id}
                return Advice(name, self.what.format(**fill), self.fix.format(**fill))
        return None


_GCS_ID = Rule(
    ("SYSID_MYGCS", "MAV_GCS_SYSID"),
    lambda value, ours: round(value) == ours,
    "{name} is {value}: its failsafe watches another system than this computer ({ours})",
    "set {name} to {ours}, which is mavlink.system_id",
)
_ROVER = (
    Rule(("FS_GCS_ENABLE",), lambda value, _: value != 0, DRIVES_ON, "set FS_GCS_ENABLE to 1"),
    Rule(
        ("FS_TIMEOUT",),
        lambda value, _: 0 < value <= 2,
        "FS_TIMEOUT is {value}: that many seconds pass before its failsafe acts",
        "set FS_TIMEOUT to 1.5",
    ),
    Rule(
        ("FS_ACTION",),
        lambda value, _: value != 0,
        "FS_ACTION is 0: its failsafe does nothing",
        "set FS_ACTION to 2 (HOLD)",
    ),
    _GCS_ID,
)
_COPTER = (
    Rule(
        ("FS_GCS_ENABLE",),
        lambda value, _: value != 0,
        "FS_GCS_ENABLE is 0: no failsafe acts when this computer dies",
        "set FS_GCS_ENABLE to 5 (land)",
    ),
    Rule(
        ("FS_GCS_TIMEOUT",),
        lambda value, _: 0 < value <= 2,
        "FS_GCS_TIMEOUT is {value}: that many seconds pass before its failsafe acts",
        "set FS_GCS_TIMEOUT to 2",
    ),
    Rule(
        ("GUID_TIMEOUT",),
        lambda value, _: 0 < value <= 1,
        "GUID_TIMEOUT is {value}: it flies on for that many seconds after the last setpoint",
        "set GUID_TIMEOUT to 1 or less",
    ),
    _GCS_ID,
)
_PX4 = (
    Rule(
        ("COM_OF_LOSS_T",),
        lambda value, _: 0 < value <= 1,
        "COM_OF_LOSS_T is {value}: it stays in OFFBOARD that many seconds without setpoints",
        "set COM_OF_LOSS_T to 1 or less",
    ),
    Rule(
        ("COM_OBL_RC_ACT",),
        lambda value, _: round(value) not in (1, 2),
        "COM_OBL_RC_ACT is {value}: without setpoints it falls back to manual flight, "
        "whoever is at the sticks",
        "set COM_OBL_RC_ACT to 5 (hold) or 4 (land)",
    ),
)
_RULES = {"ArduRover": _ROVER, "ArduCopter": _COPTER, "PX4": _PX4}


def rules(dialect: str) -> tuple[Rule, ...]:
    """Those of an autopilot, by ``Dialect.name``."""
    return _RULES[dialect]


def names(dialect: str) -> tuple[str, ...]:
    """The parameters to ask for."""
    return tuple(name for rule in _RULES[dialect] for name in rule.names)


def judge(dialect: str, values: Mapping[str, float], system_id: int) -> list[Advice]:
    """What of ``values`` makes the vehicle less safe; what was not told is not judged."""
    found = (rule.judge(values, system_id) for rule in _RULES[dialect])
    return [advice for advice in found if advice is not None]


def value_of(message: Any, dialect: str) -> float:
    """The number in a PARAM_VALUE. PX4 sends the bytes of an integer in the float's place."""
    code = _INTEGERS.get(message.param_type)
    if dialect != "PX4" or code is None:
        return float(message.param_value)
    raw = struct.pack("<f", message.param_value)
    return float(struct.unpack_from(f"<{code}", raw)[0])
