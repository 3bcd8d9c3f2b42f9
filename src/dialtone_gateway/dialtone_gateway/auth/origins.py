"""Host and Origin: which names the gateway answers to, and which sites may use it.

A page of another site can point its own name at this machine (DNS rebinding) or call it in the
background (CSRF). Against the first, only known names are answered: an address in digits is safe,
because rebinding needs a name. Against the second, the Origin that browsers send must be ours.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

_LOCAL = frozenset({"localhost", "ip6-localhost"})
#: Headers that some proxy adds: who has one of them did not come straight from this machine.
FORWARDED = (
    "Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Real-Ip",
    "Via",
    "Cf-Connecting-Ip",
    "Cf-Ray",
    "Tailscale-User-Login",
    "Tailscale-Funnel-Request",
    "Ngrok-Auth-User-Id",
)


class Origins:
    """``public_host`` may be set while running, as a tunnel tells its address."""

    def __init__(self, hosts: Iterable[str], origins: Iterable[str], bind: str) -> None:
        own = socket.gethostname().lower()
        known = {own, f"{own}.local", bind.lower(), *(host.lower() for host in hosts)}
        self._hosts = frozenset(known) | _LOCAL
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins)
        self.public_host = ""

    def host_allowed(self, host: str) -> bool:
        """Whether a ``Host`` header names this gateway."""
        name = host_name(host)
        if name is None:
            return False
        return is_address(name) or name in self._hosts or name == self.public_host != ""

    def origin_allowed(self, origin: str, host: str) -> bool:
        """Whether a page of ``origin`` may call a gateway that it knows as ``host``.

        The scheme is not compared: a proxy that speaks TLS makes it differ.
        """
        if origin.rstrip("/").lower() in self._origins:
            return True
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            return False
        return _without_default_port(parts.netloc) == _without_default_port(host)


def came_directly(headers: Mapping[str, str], peer: str, host: str) -> bool:
    """Whether the request is from this machine, by a name of this machine, through no proxy."""
    name = host_name(host)
    local = name in _LOCAL or (name is not None and is_loopback(name))
    return local and is_loopback(peer) and not any(header in headers for header in FORWARDED)


def host_name(host: str) -> str | None:
    """``[::1]:8080`` → ``::1``; ``None`` where it is no host at all."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
    except ValueError:
        return None
    clean = parts.netloc == host and "@" not in host and bool(parts.hostname)
    return parts.hostname.rstrip(".") if clean and parts.hostname else None


def is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _without_default_port(netloc: str) -> str:
    lower = netloc.lower()
    for port in (":80", ":443"):
        if lower.endswith(port):
            return lower[: -len(port)]
    return lower
