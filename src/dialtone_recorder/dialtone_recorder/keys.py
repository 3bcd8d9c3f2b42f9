"""Single keys from a terminal, without Enter; none where stdin is no terminal."""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager

_ARROWS = {"\x1b[C": "right", "\x1b[D": "left", "\x1b[A": "up", "\x1b[B": "down"}


class Keys:
    """``get(timeout_s)`` waits for a key and names it; "" is none."""

    def __init__(self, descriptor: int | None) -> None:
        self.descriptor = descriptor

    def get(self, timeout_s: float) -> str:
        """A character, or ``left``, ``right``, ``up``, ``down``; Ctrl-C stays a signal."""
        waiting = [] if self.descriptor is None else [self.descriptor]
        ready, _, _ = select.select(waiting, [], [], max(0.0, timeout_s))
        if not ready or self.descriptor is None:
            return ""
        data = os.read(self.descriptor, 16).decode(errors="replace")
        if not data:
            self.descriptor = None
        return _ARROWS.get(data, data[:1])


@contextmanager
def open_keys() -> Iterator[Keys]:
    """Keys as they are pressed, the terminal as before on leaving."""
    if not sys.stdin.isatty():
        yield Keys(None)
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield Keys(descriptor)
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
