"""Who may say what on a robot's embedded NATS server: roles as NATS users.

The server writes its config from here, and the gateway reads the users' passwords from a file that
only its owner can read; they are made up anew at each start of the server. A browser never sees
them: the gateway puts them in for a person who has logged in. Programs sign in with an nkey seed
of their role, from a file beside it. A client of this machine that names no user is ``local``, if
the robot is open to its loopback at all; on the WebSocket listener it may do nothing.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dialtone_core.paths import make_state_dir, state_dir, write_secret
from dialtone_core.process import is_running

ROLES = ("viewer", "operator", "admin")
#: Those that programs sign in as, each with an nkey of its own.
KEY_ROLES = ("robot", *ROLES)
#: KV bucket of the robots that are up.
PRESENCE = "dt_presence"


def last_bucket(robot: str) -> str:
    """The KV bucket with the newest message of topics, for clients that come late."""
    return f"dt_{robot}_last"


@dataclass(frozen=True, slots=True)
class Permissions:
    """Subjects that a role may publish on and subscribe to; ``deny`` wins."""

    publish: tuple[str, ...]
    publish_deny: tuple[str, ...]
    subscribe: tuple[str, ...]
    subscribe_deny: tuple[str, ...] = ()

    def config(self) -> dict[str, Any]:
        """As the server's config has them. No ``allow_responses``: roles say who may answer."""
        publish: dict[str, list[str]] = {"allow": list(self.publish)}
        subscribe: dict[str, list[str]] = {"allow": list(self.subscribe)}
        if self.publish_deny:
            publish["deny"] = list(self.publish_deny)
        if self.subscribe_deny:
            subscribe["deny"] = list(self.subscribe_deny)
        return {"publish": publish, "subscribe": subscribe}


def reads(*buckets: str) -> tuple[str, ...]:
    """What a client publishes to read JetStream KV ``buckets`` (ADR-8, ADR-31), and no more.

    No consumer: the server delivers a consumer's messages wherever its maker says, with rights of
    its own, so whoever may make one may publish everywhere. Ask again instead of watching.
    """
    verbs = ("STREAM.INFO.{}", "STREAM.MSG.GET.{}", "DIRECT.GET.{}", "DIRECT.GET.{}.>")
    return (
        "$JS.API.INFO",
        *(f"$JS.API.{verb.format(f'KV_{bucket}')}" for bucket in buckets for verb in verbs),
    )


def inbox(*names: str) -> tuple[str, ...]:
    """Where the answers go of those who may not overhear others': ``_INBOX.<name>.>``."""
    return tuple(f"_INBOX.{name}.>" for name in names)


def permissions(robot: str, role: str, nkey: str = "") -> Permissions:
    """What ``role`` (one of ``ROLES``) may do. Everyone may fire the e-stop.

    A viewer who signs in with ``nkey`` hears no answers but those to its own inbox; of one
    without, the gateway sees to that. The e-stop not on ``srv.teleop.estop``: who may publish
    there may clear it, with a role that they claim.
    """
    own = f"dt.{robot}"
    looks = (f"{own}.tlm.>", f"{own}.evt.>", "dt.*.evt.online", "dt.*.evt.offline")
    hears = (*looks, "_INBOX.>")
    asks = (
        f"{own}.srv.*.status",
        f"{own}.srv.bridge.routes",
        f"{own}.srv.teleop.estop.fire",
        "$SRV.PING",
        *reads(last_bucket(robot), PRESENCE),
    )
    if role == "viewer":
        return Permissions(asks, (), (*looks, *inbox("viewer", nkey)) if nkey else hears)
    drives = (f"{own}.cmd.>", f"{own}.srv.>", *asks)
    if role == "operator":
        return Permissions(drives, (f"{own}.srv.teleop.lease.force",), hears)
    if role == "admin":
        return Permissions((f"{own}.>", "$SRV.>", *asks), (), ("dt.>", "_INBOX.>"))
    if role == "robot":
        everything = (f"{own}.>", "$JS.>", "$KV.>", "$SRV.>", "_INBOX.>", "$O.>")
        return Permissions(everything, (), (*everything, "dt.*.evt.>"))
    if role == "local":
        return Permissions((">",), _NOT_LOCAL, (">",), (f"{own}.srv.>", "$SYS.>"))
    raise ValueError(f"no role {role!r}")


#: What changes something in JetStream, or has the server send wherever the caller says.
_STREAM_CHANGES = "CREATE UPDATE DELETE PURGE RESTORE SNAPSHOT PEER LEADER MSG.DELETE"
_CONSUMER_CHANGES = "CREATE DURABLE DELETE PAUSE RESET UNPIN PEER LEADER MSG.NEXT"
_CHANGES = (
    *(f"STREAM.{verb}.>" for verb in _STREAM_CHANGES.split()),
    *(f"CONSUMER.{verb}.>" for verb in _CONSUMER_CHANGES.split()),
    "ACCOUNT.>",
    "META.>",
    "SERVER.>",
)
#: A client of this machine that names no user may do all but speak for the robot, take the lease
#: from its holder, or change what is stored, here or in another domain (``$JS.<domain>.API``).
_NOT_LOCAL = (
    "dt.*.tlm.>",
    "dt.*.evt.>",
    "dt.*.sync.durable",
    "dt.*.sync.pong",
    "dt.*.srv.teleop.lease.force",
    "$KV.>",
    "$SYS.>",
    "$JS.ACK.>",
    "$JS.FC.>",
    *(f"$JS.{api}.{change}" for api in ("API", "*.API") for change in _CHANGES),
)


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

    def config(self, robot: str, keys: NatsKeys | None = None, *, local: str = "") -> str:
        """The server's ``authorization`` and ``websocket`` blocks.

        ``local`` is the role of clients that name no user: ``local``, ``closed`` (none gets in),
        or empty for everything. The WebSocket listener is loopback only and for the gateway: a
        page of another origin is refused by ``same_origin``, a missing user by ``nobody``.
        """
        users: list[dict[str, Any]] = [
            {
                "user": "nobody",
                "password": secrets.token_urlsafe(24),
                "permissions": {"publish": {"deny": ">"}, "subscribe": {"deny": ">"}},
            },
            *(self._user(robot, role) for role in ROLES),
        ]
        if local != "closed":
            anyone: dict[str, Any] = {"user": "local", "password": secrets.token_urlsafe(24)}
            if local:
                anyone["permissions"] = permissions(robot, local).config()
            users.append(anyone)
        users += keys.users(robot) if keys is not None else []
        host, _, port = self.websocket_url.removeprefix("ws://").rpartition(":")
        return (
            f"authorization {{\n  users: {json.dumps(users, indent=2)}\n}}\n"
            + ('no_auth_user: "local"\n' if local != "closed" else "")
            + f'websocket {{\n  listen: "{host}:{port}"\n  no_tls: true\n'
            '  same_origin: true\n  no_auth_user: "nobody"\n}\n'
        )

    def _user(self, robot: str, role: str) -> dict[str, object]:
        return {
            "user": role,
            "password": self.passwords[role],
            "allowed_connection_types": ["WEBSOCKET"],
            "permissions": permissions(robot, role).config(),
        }


@dataclass(frozen=True, slots=True)
class NatsKeys:
    """The nkey seed of each role, kept over restarts in ``nats/<robot>/<role>.nk``, mode 0600."""

    seeds: Mapping[str, str] = field(repr=False)

    @classmethod
    def load(cls, robot: str) -> NatsKeys:
        """Those of ``robot``, made where missing."""
        folder = make_state_dir("nats", robot)
        folder.chmod(0o700)
        for role in KEY_ROLES:
            if not cls.seed(folder, role):
                write_secret(folder / f"{role}.nk", new_seed() + "\n")
        return cls({role: cls.seed(folder, role) for role in KEY_ROLES})

    @staticmethod
    def seed(folder: Path, role: str) -> str:
        """The seed of one role, or an empty string where none was made or we may not read it."""
        try:
            return (folder / f"{role}.nk").read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            return ""

    def users(self, robot: str) -> list[dict[str, Any]]:
        """The users of the server's config; it learns the public keys only."""
        return [
            {"nkey": key, "permissions": permissions(robot, role, key).config()}
            for role, key in ((role, public_key(seed)) for role, seed in self.seeds.items())
        ]


def public_key(seed: str) -> str:
    """What a server may know of ``seed``."""
    import nkeys  # type: ignore[import-untyped]

    found: bytes = nkeys.from_seed(bytearray(seed.encode())).public_key
    return found.decode()


def new_seed() -> str:
    """A new user's nkey seed (``SU…``)."""
    import nkeys

    made: bytes = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)
    return made.decode()


def embedded_folder(url: str, *, running: bool = False) -> Path | None:
    """Folder of the embedded server at ``url``, or ``None``; of several, the one started last.

    ``running`` leaves out what a server left behind that has ended.
    """
    asked = urlsplit(url)
    if asked.hostname not in ("127.0.0.1", "localhost", "::1"):
        return None
    found: list[tuple[int, Path]] = []
    for file in (state_dir() / "nats").glob("*/ports.json"):
        try:
            told = json.loads(file.read_text(encoding="utf-8"))
            pid = int(told.get("pid", 0))
            gone = running and pid and not is_running(pid, str(file.with_name("server.conf")))
            if urlsplit(told["nats_url"]).port == asked.port and not gone:
                found.append((file.stat().st_mtime_ns, file.parent))
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            continue
    return max(found)[1] if found else None
