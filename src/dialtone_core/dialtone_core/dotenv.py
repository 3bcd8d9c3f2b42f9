"""Secrets from ``$DIALTONE_HOME/.env``: they lie in no parameter file, log or process argument.

Lines ``NAME=value`` with names of ours (``DIALTONE_…``), as a shell would take them: ``export`` in
front, quotes around the value and comments are allowed. What the environment has already wins.
"""

from __future__ import annotations

import os
import re
import shlex
import stat
from collections.abc import MutableMapping
from pathlib import Path

from dialtone_core.errors import DialtoneError
from dialtone_core.paths import state_dir

_LINE = re.compile(r"(?:export\s+)?(DIALTONE_[A-Z0-9_]+)=(.*)")


def load_secrets(environment: MutableMapping[str, str] | None = None) -> None:
    """Put what the file has into ``environment`` (this process's); without a file nothing.

    Raises ``DialtoneError`` where others can read the file, or a line of it is not understood; the
    line itself is not told, since it may be a secret.
    """
    path = state_dir() / ".env"
    target = os.environ if environment is None else environment
    try:
        status = path.stat()
        if stat.S_IMODE(status.st_mode) & 0o077 or status.st_uid not in (os.geteuid(), 0):
            raise DialtoneError(
                "others can read or own the secrets", where=str(path), fix=f"chmod 600 {path}"
            )
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, UnicodeDecodeError) as error:
        fix = "make it a readable text file, or remove it"
        raise DialtoneError("cannot read the secrets", where=str(path), fix=fix) from error
    for number, line in enumerate(text.splitlines(), 1):
        pair = _pair(line.strip(), path, number)
        if pair is not None:
            target.setdefault(*pair)


def _pair(line: str, path: Path, number: int) -> tuple[str, str] | None:
    if not line or line.startswith("#"):
        return None
    found = _LINE.fullmatch(line)
    try:
        words = shlex.split(found[2], comments=True) if found else ["", ""]
    except ValueError:  # a quote that does not end
        words = ["", ""]
    if found is None or len(words) > 1:
        raise DialtoneError(
            f"line {number} is not understood",
            where=str(path),
            fix="write DIALTONE_NAME='value', in quotes where it has spaces",
        )
    return found[1], words[0] if words else ""
