"""Which driving keys are held, and what that asks for. Pure; times are monotonic s.

Where the terminal reports releases a key is held until its release, as long as the terminal
answers. Elsewhere a key is held for a moment after each time it comes: long after the first press,
for the keyboard waits before it repeats, and short while it repeats. Letting go then stops within
``REPEAT_HOLD_S``.
"""

from __future__ import annotations

import math

from dialtone_teleop.cockpit.keys import PRESS, RELEASE, Key

#: Keyboards start to repeat after 0.25 to 0.6 s and then repeat 10 to 30 times a second.
FIRST_HOLD_S, REPEAT_HOLD_S = 0.6, 0.25
#: A terminal that leaves a ping unanswered for so long may have eaten a release.
DEAF_S = 0.6

#: (forward, left) of each key.
DRIVE_KEYS = {
    "w": (1, 0),
    "up": (1, 0),
    "s": (-1, 0),
    "down": (-1, 0),
    "a": (0, 1),
    "left": (0, 1),
    "d": (0, -1),
    "right": (0, -1),
}


class Hands:
    """See the module. ``releases``: whether the terminal reports them."""

    def __init__(self) -> None:
        self.releases = False
        self._held: dict[str, float] = {}
        #: Keys that count no more until let go, and until when they count as not let go.
        self._spent: dict[str, float] = {}
        self._pinged_s: float | None = None

    def key(self, key: Key, now_s: float) -> bool:
        """A driving key was pressed, repeated or released; false where ``key`` is none."""
        if key.name not in DRIVE_KEYS:
            return False
        if key.event == RELEASE:
            self._held.pop(key.name, None)
            self._spent.pop(key.name, None)
        elif self._spent.get(key.name, -1.0) > now_s:
            if not self.releases:
                self._spent[key.name] = now_s + FIRST_HOLD_S
        elif self.releases:
            if key.event == PRESS:
                self._held[key.name] = math.inf
        else:
            again = self._held.get(key.name, -1.0) > now_s
            self._held[key.name] = now_s + (REPEAT_HOLD_S if again else FIRST_HOLD_S)
        return True

    def let_go(self, now_s: float) -> None:
        """Forget what is held; a key that stays down asks for nothing until pressed anew."""
        until_s = math.inf if self.releases else now_s + FIRST_HOLD_S
        for name, held_s in self._held.items():
            if held_s > now_s:
                self._spent[name] = until_s
        self._held.clear()
        self._pinged_s = None

    def focus_lost(self) -> None:
        """The keyboard went to another window, and with it every release."""
        self._held.clear()
        self._spent.clear()
        self._pinged_s = None

    def wants(self, now_s: float) -> tuple[int, int]:
        """(forward, left), each −1, 0 or 1; opposite keys cancel each other."""
        if self._pinged_s is not None and now_s - self._pinged_s > DEAF_S:
            self.let_go(now_s)
        keys = [DRIVE_KEYS[name] for name, until_s in self._held.items() if until_s > now_s]
        forward, left = (sum(each[axis] for each in keys) for axis in (0, 1))
        return max(-1, min(1, forward)), max(-1, min(1, left))

    def pinged(self, now_s: float) -> None:
        """The terminal was asked whether it is there."""
        if self._pinged_s is None:
            self._pinged_s = now_s

    def answered(self) -> None:
        """It is."""
        self._pinged_s = None
