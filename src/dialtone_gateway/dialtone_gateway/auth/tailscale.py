"""Identity from Tailscale Serve: its headers, believed only when tailscaled confirms them.

Serve sets ``Tailscale-User-Login`` and ``X-Forwarded-For`` on requests of tailnet users and
strips them from everybody else's (tailscale.com/kb/1312/serve). Any program of this machine could
set them too, so the forwarded address is looked up with ``whois`` at tailscaled's LocalAPI, a UNIX
socket; both must name the same person. Funnel visitors have no such header and must log in.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import logging
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import aiohttp

from dialtone_core.clock import NS_PER_S, Clock
from dialtone_core.errors import ConfigError
from dialtone_gateway.params import TailscaleParams
from dialtone_gateway.roles import Identity, Role

LOG = logging.getLogger("gateway")

LOGIN_HEADER = "Tailscale-User-Login"
#: LocalAPI wants this host; the socket is what names the daemon.
_WHOIS = "http://local-tailscaled.sock/localapi/v0/whois"
_REMEMBER_S = 30
_MOST_REMEMBERED = 256
_LIFE_S = 3600.0


def parse_roles(lines: list[str]) -> dict[str, Role]:
    """``ada@example.com=operator`` by login; ``*`` is anyone of the tailnet."""
    roles: dict[str, Role] = {}
    for line in lines:
        login, _, role = line.rpartition("=")
        try:
            roles[login.strip().lower()] = Role.parse(role.strip())
        except ValueError as error:
            raise ConfigError(
                f"tailscale.roles has {line[:80]!r}", fix=f"write login=role ({error})"
            ) from error
    return roles


class Tailscale:
    """Asks one tailscaled; answers are remembered for half a minute."""

    def __init__(self, params: TailscaleParams, clock: Clock) -> None:
        self._params = params
        self._clock = clock
        self._roles = parse_roles(params.roles)
        self._session: aiohttp.ClientSession | None = None
        self._known: OrderedDict[str, tuple[str, int]] = OrderedDict()
        self._complained = False

    async def identify(self, headers: Mapping[str, str], peer: str) -> Identity | None:
        """Who is behind this request, or ``None``: not through Serve, not confirmed, no role."""
        login = headers.get(LOGIN_HEADER, "").lower()
        if not self._params.enabled or not login or not _is_loopback(peer):
            return None
        address = headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
        try:
            address = str(ipaddress.ip_address(address))
        except ValueError:
            return None
        role = self._roles.get(login) or self._roles.get("*")
        if role is None or await self._whois(address) != login:
            return None
        session = hashlib.sha256(f"{login} {address}".encode()).hexdigest()[:8]
        now_s = self._clock.wall_ns() / NS_PER_S
        return Identity(login[:40], role, session, now_s + _LIFE_S, "tailscale")

    def role_now(self, login: str) -> Role | None:
        """What a login that was once confirmed may do now."""
        if not self._params.enabled:
            return None
        return self._roles.get(login.lower()) or self._roles.get("*")

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _whois(self, address: str) -> str:
        """The login name that tailscaled knows for ``address``; empty where it knows none."""
        now_ns = self._clock.monotonic_ns()
        login, asked_ns = self._known.get(address, ("", -(10**18)))
        if now_ns - asked_ns < _REMEMBER_S * NS_PER_S:
            return login
        login = await self._ask(address)
        self._known[address] = (login, now_ns)
        while len(self._known) > _MOST_REMEMBERED:
            self._known.popitem(last=False)
        return login

    async def _ask(self, address: str) -> str:
        if self._session is None:
            connector = aiohttp.UnixConnector(path=self._params.socket)
            limit = aiohttp.ClientTimeout(total=2)
            self._session = aiohttp.ClientSession(connector=connector, timeout=limit)
        target = f"[{address}]:1" if ":" in address else f"{address}:1"
        try:
            async with self._session.get(_WHOIS, params={"addr": target}) as response:
                body: Any = await response.json() if response.status == 200 else {}
            return str(body["UserProfile"]["LoginName"]).lower()
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            if not self._complained:
                self._complained = True
                LOG.warning(
                    "cannot ask tailscaled at %s (%s); nobody gets in by Tailscale. "
                    "Fix: run tailscaled, and let this user read its socket",
                    self._params.socket,
                    error,
                )
        except (ValueError, KeyError, TypeError):
            pass
        return ""


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
