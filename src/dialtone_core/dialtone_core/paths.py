"""Where Dialtone keeps its state, and how other processes of this machine find a running robot."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dialtone_core.errors import DialtoneError


def state_dir() -> Path:
    """``$DIALTONE_HOME`` or ``~/.dialtone``: episodes, logs, credentials, runtime files."""
    home = os.environ.get("DIALTONE_HOME")
    return Path(home).expanduser().absolute() if home else Path.home() / ".dialtone"


def make_state_dir(*parts: str) -> Path:
    """Create and return a folder under the state folder; one clear line where that fails."""
    path = state_dir().joinpath(*parts)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DialtoneError(
            f"cannot create the folder ({error.strerror})",
            where=str(path),
            fix="set DIALTONE_HOME to a folder that you can write",
        ) from error
    return path


def write_secret(path: Path, text: str) -> None:
    """Write a file that only its owner reads, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    temporary.replace(path)


@dataclass(frozen=True, slots=True)
class RobotFile:
    """``run/<robot>.json``: where a running bridge can be reached. Written when it listens.

    ``nats_credentials`` is the path of a credentials file, never a secret itself. ``urls`` has
    the address of every transport by its name, those of NATS and Foxglove too.
    """

    robot: str
    pid: int
    nats_url: str = ""
    foxglove_url: str = ""
    namespace: str = "/"
    nats_credentials: str = ""
    urls: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def at(cls, urls: Mapping[str, str], **others: Any) -> RobotFile:
        """The file of a robot whose transports have these addresses; empty ones are left out."""
        return cls(
            nats_url=urls.get("nats", ""),
            foxglove_url=urls.get("foxglove", ""),
            urls={name: url for name, url in urls.items() if url},
            **others,
        )

    @staticmethod
    def path(robot: str, home: Path | None = None) -> Path:
        """Where the file lies; ``home`` stands in for this process's own state folder."""
        return (home or state_dir()) / "run" / f"{robot}.json"

    def write(self) -> None:
        """Publish atomically, so that a reader never sees half a file."""
        make_state_dir("run")
        path = self.path(self.robot)
        temporary = path.with_suffix(f".{self.pid}.tmp")
        temporary.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
        temporary.replace(path)

    def is_running(self) -> bool:
        """Whether the process that wrote it is there still: a killed one leaves its file."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True  # somebody else's
        return True

    def remove(self) -> None:
        """Withdraw this file if it is still ours; idempotent."""
        current = self.read(self.robot)
        if current is not None and current.pid == self.pid:
            self.path(self.robot).unlink(missing_ok=True)

    @classmethod
    def read(cls, robot: str, home: Path | None = None) -> RobotFile | None:
        """The file of ``robot``, or ``None`` where there is none (or it is not readable JSON)."""
        try:
            return cls(**json.loads(cls.path(robot, home).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    @classmethod
    def find(cls, robot: str = "") -> RobotFile:
        """That of ``robot``, or of the one robot that runs on this machine; with a NATS address.

        Raises ``DialtoneError``, which names those that do run. A bridge in a container has a
        process that is not one of ours: where nothing seems to run, what left its file counts.
        """
        known = [cls.read(path.stem) for path in sorted((state_dir() / "run").glob("*.json"))]
        files = [each for each in known if each is not None and each.nats_url]
        files = [each for each in files if each.is_running()] or files
        wanted = [each for each in files if robot in ("", each.robot)]
        if robot and not wanted:  # named, and gone: whoever asks it is told that
            left = cls.read(robot)
            wanted = [left] if left is not None and left.nats_url else []
        names = ", ".join(each.robot for each in files)
        if len(wanted) == 1:
            return wanted[0]
        if wanted:
            raise DialtoneError(
                f"several robots run on this machine: {names}", fix="name one with --robot"
            )
        if robot and files:
            raise DialtoneError(
                f"no robot {robot} with NATS runs on this machine, but {names}",
                fix=f"name it with --robot {files[0].robot}, or a server elsewhere by its address",
            )
        raise DialtoneError(
            f"no robot {robot} with NATS runs on this machine" if robot else "no robot runs here",
            fix="start one with: dialtone up, or name a server elsewhere by its address",
        )
