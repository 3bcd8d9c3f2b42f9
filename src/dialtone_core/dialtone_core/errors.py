"""Errors that a person reads: what went wrong, where, and the fix, in one line."""

from __future__ import annotations


class DialtoneError(Exception):
    """A failure with a known remedy.

    ``str(error)`` is one line. The command line prints it and exits with ``exit_code``; a node
    logs it and exits the same way, so a supervisor can tell a wrong setting (2) from a crash.
    """

    exit_code = 2

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        self.what = what
        self.where = where
        self.fix = fix
        super().__init__(self._line())

    def _line(self) -> str:
        line = f"{self.where}: {self.what}" if self.where else self.what
        line = f"{line}. Fix: {self.fix}" if self.fix else line
        return " ".join(line.split())


class ConfigError(DialtoneError):
    """A parameter has a wrong name, type or value."""


class WireError(ValueError):
    """Bytes from outside are not what the contract says.

    Never fatal: the receiver counts it under ``reason`` and goes on. ``reason`` is a short,
    stable token (``not_json``, ``not_finite``, …) that diagnostics can use as a key.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}" if detail else reason)
