"""Finds the serial device and the baud rate at which an autopilot speaks.

A rate is right where a whole MAVLink frame with a right checksum is heard; an autopilot sends a
heartbeat a second without being asked. USB devices take any rate, so the first one is right.
"""

from __future__ import annotations

import glob
import threading
import time
from collections.abc import Iterator

from pymavlink.dialects.v20 import common as mavlink

from dialtone_teleop.link_url import LinkUrl
from dialtone_teleop.links import Serial

#: In the order in which autopilots are set up: USB and companion ports, radios, fast companions.
RATES = (115200, 57600, 921600, 460800, 230400, 500000, 1_500_000, 38400, 19200, 9600)
#: A heartbeat comes once a second, and some.
_LISTEN_S = 1.3
#: No stream of frames has so many bytes without a whole one: the longest has 280.
_ENOUGH_BYTES = 600
_READ_S = 0.05


def is_search(url: LinkUrl) -> bool:
    """Whether device or rate are to be found."""
    return url.scheme == "serial" and (url.number == 0 or glob.has_magic(url.address))


def find_serial(
    url: LinkUrl, read_timeout_s: float, stopping: threading.Event, first_rate: int = 0
) -> Serial:
    """The first device and rate with an autopilot; ``first_rate`` (the last right one) first.

    Raises ``OSError`` that says what was tried; takes at most 1.3 s for each rate of each device,
    and ends early once ``stopping`` is set.
    """
    devices = sorted(glob.glob(url.address)) if glob.has_magic(url.address) else [url.address]
    problems = []
    for device in devices:
        try:
            found = _listen(LinkUrl("serial", device, url.number), stopping, first_rate)
        except OSError as error:
            problems.append(f"{device}: {error.strerror or error}")
            continue
        if found is not None:
            found.patience(read_timeout_s)
            return found
        tried = "any baud rate" if url.number == 0 else f"{url.number} baud"
        problems.append(f"{device}: no MAVLink is heard at {tried}")
    raise OSError("; ".join(problems) or f"no device matches {url.address}")


def _listen(url: LinkUrl, stopping: threading.Event, first_rate: int) -> Serial | None:
    port: Serial | None = None
    for rate in _rates(url.number, first_rate):
        if port is None:
            port = Serial(LinkUrl("serial", url.address, rate), _READ_S)
        try:
            port.speak_at(rate)
            if _hears_mavlink(port, stopping):
                return port
        except OSError:
            port.close()
            raise
        if stopping.is_set():
            break
    if port is not None:
        port.close()
    return None


def _rates(given: int, first: int) -> Iterator[int]:
    if given:
        yield given
        return
    if first:
        yield first
    yield from (rate for rate in RATES if rate != first)


def _hears_mavlink(port: Serial, stopping: threading.Event) -> bool:
    codec = mavlink.MAVLink(None)
    codec.robust_parsing = True
    heard, end_s = 0, time.monotonic() + _LISTEN_S
    while heard < _ENOUGH_BYTES and time.monotonic() < end_s and not stopping.is_set():
        data = port.read()
        heard += len(data)
        if any(_is_known(message.get_type()) for message in codec.parse_buffer(data) or ()):
            return True
    return False


def _is_known(name: str) -> bool:
    """Whether the checksum was checked: the library lets unknown messages pass without."""
    return name != "BAD_DATA" and not name.startswith("UNKNOWN")
