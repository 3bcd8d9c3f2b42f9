"""Links to an autopilot, as people write them: ``serial:/dev/ttyACM0:115200``, ``…ACM*:auto``."""

from __future__ import annotations

from typing import NamedTuple

SCHEMES = ("udpin", "udpout", "tcp", "serial")
AUTO = "auto"


class LinkUrl(NamedTuple):
    """``address`` is a host or a device, ``number`` a port or a baud rate (0: to be found)."""

    scheme: str
    address: str
    number: int

    def __str__(self) -> str:
        number = self.number or AUTO
        return f"{self.scheme}:{self.address}:{number}"


def parse_link_url(url: str) -> LinkUrl:
    """Parse; raises ``ValueError`` that names the parameter and what was given."""
    scheme, _, rest = url.partition(":")
    address, _, number = rest.rpartition(":")
    if scheme == "serial" and number == AUTO and address:
        return LinkUrl(scheme, address, 0)
    if scheme not in SCHEMES or not address or not _is_count(number):
        raise ValueError(
            f"mavlink.url is {url!r}, not like udpin:127.0.0.1:14550 or serial:/dev/ttyACM0:115200"
        )
    if scheme != "serial" and int(number) > 65535:
        raise ValueError(f"mavlink.url is {url!r}: a port is 1 to 65535")
    return LinkUrl(scheme, address, int(number))


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) > 0
