"""The terminal in the mode that driving needs, and back again however it ends."""

from __future__ import annotations

import os
import termios
from contextlib import suppress
from typing import Any

from dialtone_core.errors import DialtoneError
from dialtone_teleop.cockpit.keys import DISABLE, ENABLE, FOCUS_OFF, FOCUS_ON, PING


class DriveTerminal:
    """Bytes as they are typed, no echo, no signals from keys; reports of focus and releases.

    ``with DriveTerminal(0, 1) as terminal``. A terminal that has gone (SIGHUP) is left silently.
    """

    def __init__(self, input_fd: int, output_fd: int) -> None:
        if not (os.isatty(input_fd) and os.isatty(output_fd)):
            raise DialtoneError(
                "driving needs a terminal", fix="run it in one, or publish commands over NATS"
            )
        self.input_fd = input_fd
        self._output_fd = output_fd
        self._before: list[Any] = []

    def __enter__(self) -> DriveTerminal:
        self._before = termios.tcgetattr(self.input_fd)
        mode = termios.tcgetattr(self.input_fd)
        mode[0] &= ~(termios.IXON | termios.ICRNL | termios.INLCR)
        mode[3] &= ~(termios.ECHO | termios.ICANON | termios.ISIG | termios.IEXTEN)
        termios.tcsetattr(self.input_fd, termios.TCSAFLUSH, mode)
        self._write(ENABLE + FOCUS_ON)
        return self

    def __exit__(self, *_: object) -> None:
        self._write(FOCUS_OFF + DISABLE)
        with suppress(termios.error, OSError):
            termios.tcsetattr(self.input_fd, termios.TCSAFLUSH, self._before)

    def ping(self) -> None:
        """Ask whether the terminal is there; it answers among the keys."""
        self._write(PING)

    def read(self) -> bytes:
        """What was typed; ``b""`` once the terminal has gone."""
        try:
            return os.read(self.input_fd, 4096)
        except OSError:
            return b""

    def _write(self, text: str) -> None:
        with suppress(OSError):
            os.write(self._output_fd, text.encode())
