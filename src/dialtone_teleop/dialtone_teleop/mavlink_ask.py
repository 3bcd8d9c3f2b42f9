"""Asks an autopilot for its failsafe parameters, once, without driving it: for ``doctor``.

Blocking and alone on the line; while a robot runs, its own teleop holds the line and tells the
same on ``diagnostics`` (``advice``).
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pymavlink.dialects.v20 import common as mavlink

from dialtone_core.errors import DialtoneError
from dialtone_teleop.autobaud import find_serial, is_search
from dialtone_teleop.link_url import parse_link_url
from dialtone_teleop.links import Link, open_link
from dialtone_teleop.mavlink_dialect import dialect_of
from dialtone_teleop.mavlink_failsafe import names, rules, value_of
from dialtone_teleop.mavlink_messages import Target, heartbeat, read_parameters
from dialtone_teleop.mavlink_signing import read_key, sign
from dialtone_teleop.params import MavlinkParams

_READ_S = 0.05
_AGAIN_S = 0.5
#: So long an autopilot may take to be heard and to answer everything.
PATIENCE_S = 6.0


@dataclass
class Autopilot:
    """Who answered, and what; ``values`` has what it told of the parameters asked for."""

    target: Target = field(default_factory=lambda: Target(0, 0))
    dialect: str = ""
    values: dict[str, float] = field(default_factory=dict)


def ask_autopilot(params: MavlinkParams) -> Autopilot:
    """Find the autopilot at ``params.url`` and read its failsafe parameters.

    Returns when all are told or, with what was told, after ``PATIENCE_S``. Raises
    ``DialtoneError`` where the line does not open or no autopilot is heard on it.
    """
    try:
        url = parse_link_url(params.url)
        search = find_serial(url, _READ_S, threading.Event()) if is_search(url) else None
        link: Link = search or open_link(url, _READ_S)
    except OSError as error:
        raise DialtoneError(
            f"{params.url} does not open ({error.strerror or error})",
            fix="plug it in, correct mavlink.url, or end the robot that holds it",
        ) from error
    try:
        found = _Conversation(params, link).run(PATIENCE_S)
    finally:
        link.close()
    if not found.dialect:
        raise DialtoneError(
            f"no autopilot is heard at {params.url} within {PATIENCE_S:g} s",
            fix="check cable, power, baud rate and signing key",
        )
    return found


class _Conversation:
    """Our heartbeat, then the questions, until every answer is there."""

    def __init__(self, params: MavlinkParams, link: Link) -> None:
        self._params = params
        self._link = link
        self._found = Autopilot()
        self._codec = mavlink.MAVLink(None, params.system_id, params.component_id)
        self._codec.robust_parsing = True
        if params.signing_key_file:
            key = read_key(Path(params.signing_key_file).expanduser())
            sign(self._codec, key, params.component_id)

    def run(self, timeout_s: float) -> Autopilot:
        end_s, due_s = time.monotonic() + timeout_s, 0.0
        while time.monotonic() < end_s and not self._done():
            if time.monotonic() >= due_s:
                due_s = time.monotonic() + _AGAIN_S
                self._talk()
            for message in self._codec.parse_buffer(self._link.read()) or ():
                self._hear(message)
        return self._found

    def _done(self) -> bool:
        """Whether every rule has a value; of its parameters one is enough."""
        found = self._found
        return bool(found.dialect) and all(
            any(name in found.values for name in rule.names) for rule in rules(found.dialect)
        )

    def _talk(self) -> None:
        self._send(heartbeat())
        found = self._found
        if not found.dialect:
            return
        missing = [name for name in names(found.dialect) if name not in found.values]
        for request in read_parameters(found.target, missing):
            self._send(request)

    def _send(self, message: Any) -> None:
        self._link.write(message.pack(self._codec))
        self._codec.seq = (self._codec.seq + 1) % 256

    def _hear(self, message: Any) -> None:
        found, name = self._found, message.get_type()
        sender = Target(message.get_srcSystem(), message.get_srcComponent())
        if name == "HEARTBEAT" and not found.dialect:
            if message.autopilot == mavlink.MAV_AUTOPILOT_INVALID:
                return
            if self._params.target_system not in (0, sender.system):
                return
            found.target = sender
            dialect = dialect_of(message.autopilot, message.type, self._params.dialect)
            found.dialect = dialect.name
            self._link.confirm_peer()
            self._talk()
        elif name == "PARAM_VALUE" and sender == found.target:
            found.values[message.param_id] = value_of(message, found.dialect)
