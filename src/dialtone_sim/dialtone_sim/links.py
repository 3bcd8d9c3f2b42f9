"""UDP addresses as people write them: ``udp:127.0.0.1:14560``."""

from __future__ import annotations

import socket
from typing import NamedTuple

from dialtone_core.errors import ConfigError

SCHEMES = ("udp", "udpin", "udpout")


class UdpAddress(NamedTuple):
    """``udpin`` is bound to; ``udpout`` and ``udp`` are sent to, or bound to by a receiver."""

    scheme: str
    host: str
    port: int

    @property
    def pair(self) -> tuple[str, int]:
        return (self.host, self.port)

    def __str__(self) -> str:
        return f"{self.scheme}:{self.host}:{self.port}"


def parse_udp(url: str, name: str) -> UdpAddress:
    """Parse ``scheme:host:port``; raises ``ValueError`` that names the parameter ``name``."""
    scheme, _, rest = url.partition(":")
    host, _, port = rest.rpartition(":")
    if scheme not in SCHEMES or not host or not port.isascii() or not port.isdigit():
        raise ValueError(f"{name} is {url!r}, not like udp:127.0.0.1:14560")
    if not 0 < int(port) < 65536:
        raise ValueError(f"{name} is {url!r}: a port is 1 to 65535")
    return UdpAddress(scheme, host, int(port))


def bind_udp(address: UdpAddress, name: str) -> socket.socket:
    """A non-blocking socket that receives at ``address``.

    Raises ``ConfigError`` where the address is taken or not this machine's.
    """
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        receiver.bind(address.pair)
    except (OSError, UnicodeError) as error:
        receiver.close()
        raise ConfigError(
            f"cannot listen there ({getattr(error, 'strerror', None) or error})",
            where=f"{name} {address}",
            fix="give a free port of this machine",
        ) from error
    receiver.setblocking(False)
    return receiver


def connect_udp(address: UdpAddress, name: str) -> socket.socket:
    """A non-blocking socket that talks to ``address`` only: the kernel drops everybody else.

    Raises ``ConfigError`` where the host has no address.
    """
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sender.connect(address.pair)
    except (OSError, UnicodeError) as error:
        sender.close()
        raise ConfigError(
            f"cannot send there ({getattr(error, 'strerror', None) or error})",
            where=f"{name} {address}",
            fix="give a host that exists",
        ) from error
    sender.setblocking(False)
    return sender
