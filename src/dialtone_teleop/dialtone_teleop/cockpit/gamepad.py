"""A gamepad through evdev, where that package is installed: ``pip install evdev-binary``.

The left stick drives while LB is held (a deadman), B is the e-stop. What the kernel reports is a
state that stays until it changes, so a pad that is unplugged lets go of everything.
Codes: linux/input-event-codes.h.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

EV_KEY, EV_ABS = 1, 3
ABS_X, ABS_Y = 0, 1
BTN_EAST, BTN_TL = 0x131, 0x136
#: Sticks do not come to rest at 0.
DEAD_ZONE = 0.12


@dataclass
class PadState:
    """The pad as its events so far make it; ``ranges``: (lowest, highest) by axis."""

    ranges: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    enabled: bool = False
    forward: float = 0.0
    left: float = 0.0

    def feed(self, kind: int, code: int, value: int) -> bool:
        """Take one event; true where it asks for the e-stop."""
        if kind == EV_KEY and code == BTN_TL:
            self.enabled = bool(value)
        elif kind == EV_KEY and code == BTN_EAST:
            return value == 1
        elif kind == EV_ABS and code == ABS_Y:
            self.forward = -self._share(code, value)
        elif kind == EV_ABS and code == ABS_X:
            self.left = -self._share(code, value)
        return False

    def wants(self) -> tuple[float, float]:
        """(forward, left), −1 to 1; zeros while LB is up."""
        return (self.forward, self.left) if self.enabled else (0.0, 0.0)

    def _share(self, axis: int, value: int) -> float:
        low, high = self.ranges.get(axis, (-32768, 32767))
        share = 2 * (value - low) / (high - low) - 1 if high > low else 0.0
        share = max(-1.0, min(1.0, share))
        if abs(share) < DEAD_ZONE:
            return 0.0
        return (abs(share) - DEAD_ZONE) / (1 - DEAD_ZONE) * (1 if share > 0 else -1)


class Gamepad:
    """An open pad. ``fileno`` is for the loop; ``read`` after it became readable."""

    def __init__(self, device: Any) -> None:
        self._device = device
        self.name = str(device.name)
        ranges = {code: (info.min, info.max) for code, info in device.capabilities()[EV_ABS]}
        self.state = PadState(ranges)

    def fileno(self) -> int:
        return int(self._device.fd)

    def read(self) -> bool:
        """Take what waits; true where the e-stop is asked for. Unplugged: ``OSError``."""
        asked = [self.state.feed(each.type, each.code, each.value) for each in self._device.read()]
        return any(asked)

    def close(self) -> None:
        self._device.close()


def open_gamepad() -> Gamepad | None:
    """The first pad with a stick and LB, or ``None``: no pad, no permission, no evdev."""
    try:
        import evdev
    except ImportError:
        return None
    for path in evdev.list_devices():
        if not os.access(path, os.R_OK):
            continue
        try:
            device = evdev.InputDevice(path)
        except OSError:
            continue
        able = device.capabilities()
        axes = {each[0] for each in able.get(EV_ABS, []) if isinstance(each, tuple)}
        if {ABS_X, ABS_Y} <= axes and BTN_TL in able.get(EV_KEY, []):
            return Gamepad(device)
        device.close()
    return None
