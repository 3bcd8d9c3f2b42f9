"""MAVLink 2 message signing: a key of 32 bytes that both ends know.

With a key every message that goes out is signed and every unsigned, wrongly signed or replayed one
that comes in is dropped, which pymavlink does. The key lies in a file that only its owner may
read: 64 hexadecimal digits, or 32 raw bytes. Source: mavlink.io, message signing.
"""

from __future__ import annotations

import stat
import time
from pathlib import Path
from typing import Any

from dialtone_core.errors import ConfigError

KEY_BYTES = 32
#: Signing's clock: 10 µs units since 2015-01-01.
_EPOCH_S = 1_420_070_400


def read_key(path: Path) -> bytes:
    """The key; raises ``ConfigError`` with the fix, never with anything of the key."""
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise ConfigError(
                "others may read the MAVLink key", where=str(path), fix=f"chmod 600 {path}"
            )
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"cannot read the MAVLink key ({error.strerror})",
            where=str(path),
            fix="correct mavlink.signing_key_file",
        ) from error
    if len(data) == KEY_BYTES:
        return data
    try:
        key = bytes.fromhex(data.decode("ascii").strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigError(
            "this is no MAVLink key",
            where=str(path),
            fix="give 64 hexadecimal digits, as `openssl rand -hex 32` makes them",
        )
    return key


def sign(codec: Any, key: bytes, link_id: int = 0) -> None:
    """Sign what ``codec`` packs, and let it parse only what is signed with ``key``."""
    codec.signing.secret_key = key
    codec.signing.link_id = link_id
    codec.signing.timestamp = int((time.time() - _EPOCH_S) * 1e5)
    codec.signing.sign_outgoing = True
    # Refuses everything that is not signed well; without it pymavlink would not count them.
    codec.signing.allow_unsigned_callback = lambda *_: False


def figures(codec: Any) -> dict[str, object]:
    """How many came in signed well, and how many were refused: unsigned, forged or replayed."""
    signing = codec.signing
    if signing.secret_key is None:
        return {"signing": "off"}
    return {
        "signing": "on",
        "signed_good": signing.goodsig_count,
        "signature_refused": signing.reject_count,
    }
