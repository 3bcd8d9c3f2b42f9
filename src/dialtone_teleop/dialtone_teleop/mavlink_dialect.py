"""How kinds of autopilots differ: their modes, and what they want before they obey.

Which one it is tells HEARTBEAT's ``autopilot`` and ``type``. Sources: ArduPilot's rover and copter
mode numbers; PX4's ``px4_custom_mode.h`` (main mode in bits 16–23, sub mode in 24–31) and its
offboard documentation: setpoints faster than 2 Hz for a second before OFFBOARD and all through it.
"""

from __future__ import annotations

from dataclasses import dataclass

from pymavlink.dialects.v20 import common as mavlink

_ROVER = {0: "MANUAL", 1: "ACRO", 3: "STEERING", 4: "HOLD", 5: "LOITER", 6: "FOLLOW"} | {
    7: "SIMPLE",
    10: "AUTO",
    11: "RTL",
    12: "SMART_RTL",
    15: "GUIDED",
    16: "INITIALISING",
}
_COPTER = {0: "STABILIZE", 2: "ALT_HOLD", 3: "AUTO", 4: "GUIDED", 5: "LOITER", 6: "RTL", 9: "LAND"}
_COPTER_TYPES = (2, 3, 4, 13, 14, 15)
_PX4_OFFBOARD = 6
_PX4 = {
    main << 16: name
    for main, name in enumerate(
        ("MANUAL", "ALTCTL", "POSCTL", "AUTO", "ACRO", "OFFBOARD", "STABILIZED", "RATTITUDE"), 1
    )
} | {
    4 << 16 | 3 << 24: "AUTO.LOITER",
    4 << 16 | 4 << 24: "AUTO.MISSION",
    4 << 16 | 5 << 24: "AUTO.RTL",
    4 << 16 | 6 << 24: "AUTO.LAND",
}


@dataclass(frozen=True, slots=True)
class Dialect:
    """``guided`` is the ``custom_mode`` in which it takes setpoints.

    ``packed`` modes have a main and a sub mode. ``stream`` says that setpoints must already flow
    when the guided mode is asked for, and never stop.
    """

    name: str
    guided: int
    names: dict[int, str]
    packed: bool = False
    stream: bool = False

    def mode_name(self, custom_mode: int) -> str:
        """The mode's name, its number where it has none here."""
        return self.names.get(custom_mode, str(custom_mode))

    def mode_parameters(self, custom_mode: int) -> tuple[float, float]:
        """param2 and param3 of MAV_CMD_DO_SET_MODE."""
        if self.packed:
            return custom_mode >> 16 & 0xFF, custom_mode >> 24
        return custom_mode, 0


ROVER = Dialect("ArduRover", 15, _ROVER)
COPTER = Dialect("ArduCopter", 4, _COPTER)
PX4 = Dialect("PX4", _PX4_OFFBOARD << 16, _PX4, packed=True, stream=True)


DIALECTS = {"rover": ROVER, "copter": COPTER, "px4": PX4}


def dialect_of(autopilot: int, vehicle_type: int, given: str = "auto") -> Dialect:
    """By HEARTBEAT's fields, unless ``given`` is a key of ``DIALECTS``."""
    if given in DIALECTS:
        return DIALECTS[given]
    if autopilot == mavlink.MAV_AUTOPILOT_PX4:
        return PX4
    return COPTER if vehicle_type in _COPTER_TYPES else ROVER
