"""Roles, in rising order: who has one has what lies below."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Role(IntEnum):
    """``PUBLIC`` is a person who has not logged in."""

    PUBLIC = 0
    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3

    @property
    def text(self) -> str:
        return self.name.lower()

    @classmethod
    def parse(cls, text: str) -> Role:
        """``operator`` → ``OPERATOR``; raises ``ValueError`` for anything else, ``public`` too."""
        for role in cls:
            if role is not cls.PUBLIC and role.text == text:
                return role
        raise ValueError(f"no role {text[:40]!r}; take viewer, operator or admin")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks. ``session`` is this login's short id, ``kind`` how they proved it.

    ``kind``: ``password``, ``shared`` (the shared secret), ``tailscale``, ``local``
    (``insecure_local``). ``expires_at_s`` is Unix time.
    """

    user: str
    role: Role
    session: str
    expires_at_s: float
    kind: str = "password"

    @property
    def operator(self) -> str:
        """The name under which this login drives: ``ada/3f2a9c`` (docs/wire.md)."""
        return f"{self.user}/{self.session}"
