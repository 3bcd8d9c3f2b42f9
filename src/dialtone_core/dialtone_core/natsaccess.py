"""Who may say what on a robot's embedded NATS server: roles as NATS users.

The server writes its config from here, and the gateway reads the users' passwords from a file that
only its owner can read; they are made up anew at each start of the server. A browser never sees
them: the gateway puts them in for a person who has logged in. A client of this machine that names
no user is ``local`` and may do everything, as ever; on the WebSocket listener it may do nothing.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from dialtone_core.paths import make_state_dir, state_dir, write_secret

ROLES = ("viewer", "operator", "admin")


@dataclass(frozen=True, slots=True)
class Permissions:
    """Subjects that a role may publish on and subscribe to; ``deny`` wins."""

    publish: tuple[str, ...]
    publish_deny: tuple[str, ...]
    subscribe: tuple[str, ...]


def permissions(robot: str, role: str) -> Permissions:
    """What ``role`` (one of ``ROLES``) may do. Everyone may fire the e-stop."""
    own = f"dt.{robot}"
    looks = (f"{own}.tlm.>", f"{own}.evt.>", "dt.*.evt.online", "dt.*.evt.offline", "_INBOX.>")
    asks = (
        f"{own}.srv.*.status",
        f"{own}.srv.bridge.routes",
        f"{own}.srv.teleop.estop",
        "$SRV.PING",
    )
    if role == "viewer":
        return Permissions(asks, (), looks)
    drives = (f"{own}.cmd.>", f"{own}.srv.>", *asks)
    if role == "operator":
        return Permissions(drives, (f"{own}.srv.teleop.lease.force",), looks)
    if role == "admin":
        return Permissions((f"{own}.>", "$SRV.>", *asks), (), ("dt.>", "_INBOX.>"))
    raise ValueError(f"no role {role!r}")


@dataclass(frozen=True, slots=True)
class NatsAccess:
    """Where the WebSocket listener is and with which password each role gets in."""

    websocket_url: str
    passwords: Mapping[str, str]

    @staticmethod
    def path(robot: str) -> Path:
        return state_dir() / "nats" / robot / "access.json"

    @classmethod
    def create(cls, websocket_port: int, host: str = "127.0.0.1") -> NatsAccess:
        """New passwords for every role."""
        passwords = {role: secrets.token_urlsafe(24) for role in ROLES}
        return cls(f"ws://{host}:{websocket_port}", passwords)

    @classmethod
    def read(cls, robot: str) -> NatsAccess | None:
        """What the server that ``robot`` started last wrote, or ``None``."""
        try:
            tree = json.loads(cls.path(robot).read_text(encoding="utf-8"))
            return cls(str(tree["websocket_url"]), dict(tree["passwords"]))
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def write(self, robot: str) -> None:
        """Leave it for the gateway, readable by its owner only."""
        make_state_dir("nats", robot)
        write_secret(self.path(robot), json.dumps(asdict(self)) + "\n")

    def config(self, robot: str) -> str:
        """The server's ``authorization`` and ``websocket`` blocks.

        The WebSocket listener is loopback only and for the gateway: a page of another origin is
        refused by ``same_origin``, a missing user by ``nobody``.
        """
        users = [
            {"user": "local", "password": secrets.token_urlsafe(24)},
            {
                "user": "nobody",
                "password": secrets.token_urlsafe(24),
                "permissions": {"publish": {"deny": ">"}, "subscribe": {"deny": ">"}},
            },
            *(self._user(robot, role) for role in ROLES),
        ]
        host, _, port = self.websocket_url.removeprefix("ws://").rpartition(":")
        return (
            f"authorization {{\n  users: {json.dumps(users, indent=2)}\n}}\n"
            'no_auth_user: "local"\n'
            f'websocket {{\n  listen: "{host}:{port}"\n  no_tls: true\n'
            '  same_origin: true\n  no_auth_user: "nobody"\n}\n'
        )

    def _user(self, robot: str, role: str) -> dict[str, object]:
        may = permissions(robot, role)
        publish: dict[str, list[str]] = {"allow": list(may.publish)}
        if may.publish_deny:
            publish["deny"] = list(may.publish_deny)
        return {
            "user": role,
            "password": self.passwords[role],
            "allowed_connection_types": ["WEBSOCKET"],
            "permissions": {"publish": publish, "subscribe": {"allow": list(may.subscribe)}},
        }
