"""A ROS domain that nobody else on this machine uses."""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
from pathlib import Path

from dialtone_core.errors import DialtoneError
from dialtone_core.ports import is_free

#: Above 101 a domain's ports run into Linux's ephemeral range (32768 and up).
_CANDIDATES = range(101, 10, -1)


class FreeDomain:
    """Holds a free ``ROS_DOMAIN_ID`` until closed.

    RTPS 2.3 §9.6.1: a domain's first participant binds UDP port 7410 + 250 × domain. A domain is
    free when nobody does and no other holder has its lock file.
    """

    def __init__(self) -> None:
        for number in _CANDIDATES:
            path = Path(tempfile.gettempdir(), f"dialtone-domain-{number}.lock")
            try:
                handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            except PermissionError:
                continue
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(handle)
                continue
            if _unused(number):
                self.number = number
                self._handle = handle
                return
            os.close(handle)
        raise DialtoneError("no free ROS domain", fix="stop other ROS programs on this machine")

    def close(self) -> None:
        """Let others have the domain; idempotent."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def __enter__(self) -> FreeDomain:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _unused(number: int) -> bool:
    return is_free(7410 + 250 * number, host="0.0.0.0", kind=socket.SOCK_DGRAM)
