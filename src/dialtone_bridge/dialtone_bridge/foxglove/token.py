"""The token that clients from outside must know."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from dialtone_core.errors import ConfigError

VARIABLE = "DIALTONE_FOXGLOVE_TOKEN"
_LEAST = 16


def read_token(file: str, environment: Mapping[str, str] = os.environ) -> str:
    """From ``file``, or the environment; empty where neither is there.

    Raises ``ConfigError`` for a file that others can read and for a token that is too short to
    withstand guessing. It appears in no message.
    """
    if not file:
        return _checked(environment.get(VARIABLE, "").strip(), f"${VARIABLE}")
    path = Path(file).expanduser()
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"foxglove_token_file cannot be read ({error})", fix="correct the path"
        ) from error
    if stat.S_IMODE(mode) & 0o077:
        raise ConfigError(
            "foxglove_token_file can be read by others", where=file, fix=f"chmod 600 {file}"
        )
    return _checked(text or " ", file)


def _checked(token: str, where: str) -> str:
    if token and len(token) < _LEAST:
        raise ConfigError(
            f"the Foxglove token has fewer than {_LEAST} characters",
            where=where,
            fix="make one with: openssl rand -hex 24",
        )
    return token
