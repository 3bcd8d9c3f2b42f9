"""Many processes on one terminal: prefixed, coloured, and never waited for."""

from __future__ import annotations

import threading
from collections import deque
from typing import TextIO

_COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)
_RESET = "\x1b[0m"


class Terminal:
    """Writes lines from a thread of its own, so that a stopped terminal stops no robot.

    What does not fit into the queue is dropped, oldest first, and counted in a line of its own;
    the log files have everything. Any thread may ``write``.
    """

    def __init__(self, stream: TextIO, *, muted: bool = False, capacity: int = 2000) -> None:
        self._stream = stream
        self._muted = muted
        self.colour = self._stream.isatty()
        self._lines: deque[str] = deque()
        self._capacity = capacity
        self._dropped = 0
        self._width = 0
        self._codes: dict[str, int] = {}
        self._ready = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="terminal", daemon=True)
        self._thread.start()

    def register(self, name: str) -> None:
        """Reserve a colour and the column for ``name``."""
        self._codes.setdefault(name, _COLOURS[len(self._codes) % len(_COLOURS)])
        self._width = max(self._width, len(name))

    def write(self, name: str, line: str) -> None:
        """Show one line of the process ``name``, unless muted."""
        if self._muted:
            return
        prefix = f"{name:<{self._width}} | "
        if self.colour:
            prefix = f"\x1b[{self._codes.get(name, 37)}m{prefix}{_RESET}"
        self.put(prefix + line)

    def say(self, line: str, *, bad: bool = False) -> None:
        """Show one line of the supervisor itself."""
        colour = "1;31" if bad else "1"
        self.put(f"\x1b[{colour}m{line}{_RESET}" if self.colour else line)

    def put(self, text: str) -> None:
        """Queue ``text`` as it is, a line or several."""
        with self._ready:
            if len(self._lines) >= self._capacity:
                self._lines.popleft()
                self._dropped += 1
            self._lines.append(text)
            self._ready.notify()

    def close(self, timeout_s: float = 0.3) -> None:
        """Write what waits, for at most ``timeout_s``; idempotent."""
        with self._ready:
            self._closed = True
            self._ready.notify()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            with self._ready:
                self._ready.wait_for(lambda: self._lines or self._closed)
                if not self._lines:
                    return
                batch, dropped = list(self._lines), self._dropped
                self._lines.clear()
                self._dropped = 0
            if dropped:
                batch.insert(0, f"… {dropped} lines not shown here; the log files have them")
            try:
                self._stream.write("\n".join(batch) + "\n")
                self._stream.flush()
            except (OSError, ValueError):
                continue  # the terminal has gone; the robot goes on
