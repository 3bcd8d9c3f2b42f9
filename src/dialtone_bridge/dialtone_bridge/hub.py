"""A hub: the NATS server that robots join as leaf nodes, and what it keeps of them.

``members.json`` in the hub's folder holds names, roles and *public* keys; each member's seed goes
to the member and is not kept. What runs beside the server is in ``hub_manager``.
"""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dialtone_bridge.durable_stream import CONSUMER, deliver_subject, stream_name
from dialtone_core.clock import NS_PER_S
from dialtone_core.errors import DialtoneError
from dialtone_core.naming import check_robot_name
from dialtone_core.natsaccess import PRESENCE, Permissions, inbox, new_seed, public_key, reads
from dialtone_core.paths import make_state_dir, write_secret

ROLES = ("robot", "viewer", "operator", "admin")
#: The member that keeps presence and streams.
MANAGER = "manager"

_USERS = "authorization {\n  users: "
_CONFIG = """\
# Written by `dialtone hub` at each start; what you change here is lost.
server_name: "{name}"
listen: "{host}:{port}"
max_payload: 8MB
max_pending: 64MB
write_deadline: "5s"
ping_interval: "10s"
ping_max: 2
jetstream {{
  domain: "{name}"
  store_dir: {store}
}}
leafnodes {{
  listen: "{host}:{leaf_port}"
  no_advertise: true  # robots come by the address that they were given, or not at all
{tls}}}
{websocket}{tls_clients}authorization {{
  users: {users}
}}
"""


def hub_permissions(name: str, role: str, nkey: str = "") -> Permissions:
    """What a member may do; a robot, only under its own name.

    A robot's are those of its leaf link: ``publish`` is what may come from it, ``subscribe`` what
    may go to it. ``$JSC.R`` and ``$JS.FC`` carry what the hub sources (nats-server 2.15).
    """
    own = f"dt.{name}"
    if role == "robot":
        return Permissions(
            (f"{own}.tlm.>", f"{own}.evt.>", f"{own}.srv.>", f"{own}.req.>", f"{own}.sync.>",
             "_INBOX.>",
             "$JSC.R.>", "$JS.FC.>", "$JS.S.>", "$JS.M.>"),
            (),
            (f"{own}.cmd.>", f"{own}.srv.>", f"{own}.sync.pong", f"{own}.sync.reply.>",
             f"$JS.{name}.API.>",
             "$JS.FC.>", "$JS.ACK.>", "$SRV.>"),
        )  # fmt: skip
    looks = ("dt.*.tlm.>", "dt.*.evt.>")
    asks = (
        "dt.*.srv.*.status",
        "dt.*.srv.bridge.routes",
        "dt.*.srv.teleop.estop.fire",
        "$SRV.PING",
        *reads(PRESENCE),
    )
    if role == "viewer":
        return Permissions(asks, (), (*looks, *inbox(name, *filter(None, (nkey,)))))
    if role == "operator":
        drives = ("dt.*.cmd.>", "dt.*.srv.>", *asks)
        return Permissions(drives, ("dt.*.srv.teleop.lease.force",), (*looks, "_INBOX.>"))
    if role == "admin":
        return Permissions((">",), (), (">",))
    raise ValueError(f"no role {role!r}")


@dataclass(frozen=True, slots=True)
class HubSettings:
    """Where the hub listens; ``websocket_port`` 0 is none. TLS files serve all listeners."""

    name: str = "hub"
    host: str = "127.0.0.1"
    port: int = 4222
    leaf_port: int = 7422
    websocket_port: int = 0
    origins: tuple[str, ...] = ()
    tls_cert: str = ""
    tls_key: str = ""
    stream_max_bytes: int = 1 << 30


@dataclass(frozen=True, slots=True)
class Members:
    """Who may join: name to role and public key."""

    folder: Path
    found: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @classmethod
    def load(cls, name: str) -> Members:
        folder = make_state_dir("hub", check_robot_name(name))
        folder.chmod(0o700)
        try:
            found = json.loads((folder / "members.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            found = {}
        except (OSError, ValueError) as error:
            raise DialtoneError(
                "the list of members cannot be read",
                where=str(folder / "members.json"),
                fix="correct it, or remove it and add every member anew",
            ) from error
        return cls(folder, found)

    def add(self, name: str, role: str, seed_file: Path) -> Members:
        """Make a key for ``name`` into ``seed_file``; a member that is there gets a new one."""
        check_robot_name(name)
        if role not in ROLES:
            raise DialtoneError(f"no role {role!r}", fix=f"take one of {', '.join(ROLES)}")
        if name == MANAGER:
            raise DialtoneError(
                f"{MANAGER} is the hub's own program", where="hub", fix="choose another name"
            )
        if role == "robot" and name == self.folder.name:
            raise DialtoneError(
                f"a robot cannot be named {name}: so is the hub, with its JetStream domain",
                where="hub",
                fix="choose another name for the robot, or for the hub with --name",
            )
        return self._add(name, role, seed_file)

    def with_manager(self, seed_file: Path) -> Members:
        """With a new key of the manager beside the server."""
        return self._add(MANAGER, "admin", seed_file)

    def _add(self, name: str, role: str, seed_file: Path) -> Members:
        seed = new_seed()
        try:
            write_secret(seed_file, seed + "\n")
        except OSError as error:
            raise DialtoneError(
                f"cannot write the key ({error.strerror})",
                where=str(seed_file),
                fix="choose another --out",
            ) from error
        member = {"role": role, "nkey": public_key(seed)}
        return self._write({**self.found, name: member})

    def remove(self, name: str) -> Members:
        if name not in self.found:
            raise DialtoneError(f"no member {name}", fix="see them with: dialtone hub members")
        return self._write({key: each for key, each in self.found.items() if key != name})

    def _write(self, found: Mapping[str, Mapping[str, str]]) -> Members:
        write_secret(self.folder / "members.json", json.dumps(found, indent=2) + "\n")
        return Members(self.folder, found)

    def users(self) -> list[dict[str, Any]]:
        """The users of the server's config."""
        users = []
        for name, member in self.found.items():
            user: dict[str, Any] = {
                "nkey": member["nkey"],
                "permissions": hub_permissions(name, member["role"], member["nkey"]).config(),
            }
            if member["role"] == "robot":
                user["allowed_connection_types"] = ["LEAFNODE", "LEAFNODE_WS"]
            users.append(user)
        return users


def write_config(settings: HubSettings, members: Members) -> Path:
    """The server's config in the hub's folder, with a manager's key made if there is none."""
    seed_file = members.folder / f"{MANAGER}.nk"
    known = members.found.get(MANAGER, {}).get("role") == "admin"
    if not known or not os.access(seed_file, os.R_OK):
        members = members.with_manager(seed_file)
    tls = websocket = ""
    if settings.tls_cert:
        files = (
            f"cert_file: {json.dumps(settings.tls_cert)}, key_file: {json.dumps(settings.tls_key)}"
        )
        tls = f"  tls {{ {files} }}\n"
    if settings.websocket_port:
        origins = (
            f"  allowed_origins: {json.dumps(settings.origins)}\n" if settings.origins else ""
        )
        websocket = (
            f'websocket {{\n  listen: "{settings.host}:{settings.websocket_port}"\n'
            f"{tls or '  no_tls: true' + chr(10)}"
            f"{origins or '  same_origin: true' + chr(10)}}}\n"
        )
    text = _CONFIG.format(
        name=settings.name,
        host=settings.host,
        port=settings.port,
        leaf_port=settings.leaf_port,
        store=json.dumps(str(members.folder)),
        tls=tls,
        tls_clients=tls.lstrip(),
        websocket=websocket,
        users=json.dumps(members.users(), indent=2),
    )
    path = members.folder / "server.conf"
    write_secret(path, text)
    return path


def replace_users(config: Path, members: Members) -> None:
    """Give an existing config the users of ``members``; the server takes them at a SIGHUP."""
    text = config.read_text(encoding="utf-8")
    users = json.dumps(members.users(), indent=2)
    write_secret(config, text[: text.index(_USERS)] + f"{_USERS}{users}\n}}\n")


def own_tls(certificate: str) -> ssl.SSLContext:
    """TLS to the server beside us: exactly its own certificate, whatever names stand in it."""
    try:
        context = ssl.create_default_context(cafile=certificate)
    except (OSError, ssl.SSLError) as error:
        raise DialtoneError(
            f"cannot use the certificate ({error})", where=certificate, fix="name a PEM file"
        ) from error
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.check_hostname = False
    return context


def hub_stream(robot: str, max_bytes: int) -> dict[str, Any]:
    """Settings of the hub's stream of one robot; for an existing cluster, the same."""
    source = {
        "name": stream_name(robot),
        "external": {"api": f"$JS.{robot}.API", "deliver": f"dt.{robot}.sync"},
        "consumer": {"name": CONSUMER, "deliver_subject": deliver_subject(robot)},
    }
    return {
        "name": stream_name(robot),
        "storage": "file",
        "max_bytes": max_bytes,
        "discard": "old",
        "sources": [source],
        "duplicate_window": 120 * NS_PER_S,
    }
