"""As whom to be a NATS client: credentials from a file, the embedded server, or the environment.

Looked up at each attempt to connect, since a robot may start before its server has made any, and
keys are exchanged while it runs. Nothing here ends in a log, a parameter or a process argument.

Protocol: docs.nats.io, CONNECT: ``user``/``pass``, ``auth_token``, or ``nkey``/``jwt`` with
``sig``, the Ed25519 signature of the ``nonce`` in the server's INFO.
"""

from __future__ import annotations

import base64
import itertools
import os
import ssl
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dialtone_core.errors import DialtoneError
from dialtone_core.natsaccess import NatsKeys, embedded_folder, public_key

_ENVIRONMENT = "DIALTONE_NATS_"


@dataclass(frozen=True, slots=True)
class Login:
    """Who we are to a server; all empty is nobody."""

    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    seed: str = field(default="", repr=False)
    jwt: str = field(default="", repr=False)

    @property
    def inbox(self) -> str:
        """Prefix of the inboxes: below our own key, which is where a viewer may listen."""
        return f"_INBOX.{public_key(self.seed)}" if self.seed and not self.jwt else "_INBOX"

    def hello(self, nonce: str) -> dict[str, str]:
        """The fields that CONNECT needs, given the server's ``nonce`` (empty: it sent none)."""
        if self.seed:
            if not nonce:
                return {}
            keys = _key_pair(self.seed)
            signature = base64.b64encode(keys.sign(nonce.encode())).decode()
            who = {"jwt": self.jwt} if self.jwt else {"nkey": keys.public_key.decode()}
            return {**who, "sig": signature}
        if self.token:
            return {"auth_token": self.token}
        return {"user": self.user, "pass": self.password} if self.user else {}


def _key_pair(seed: str) -> Any:
    import nkeys  # type: ignore[import-untyped]

    try:
        return nkeys.from_seed(bytearray(seed.encode()))
    except (nkeys.NkeysError, ValueError) as error:
        raise DialtoneError(
            f"the NATS credentials hold no key ({error})",
            fix="give the whole seed, 58 characters that begin with SU",
        ) from error


def find_login(url: str, credentials: str = "") -> Login:
    """The login for the server at ``url``.

    The file ``credentials`` if given; else the robot's own key where ``url`` is an embedded server
    of this machine; else ``DIALTONE_NATS_TOKEN``, or ``_USER`` and ``_PASSWORD``, which also go
    before the key of an embedded server that has ended: another may have taken its port.
    """
    if credentials:
        return read_login(Path(credentials).expanduser())
    known = {
        name: os.environ.get(_ENVIRONMENT + name, "") for name in ("TOKEN", "USER", "PASSWORD")
    }
    folder = embedded_folder(url, running=bool(known["TOKEN"] or known["USER"]))
    seed = NatsKeys.seed(folder, "robot") if folder is not None else ""
    if seed:
        return Login(seed=seed)
    return Login(user=known["USER"], password=known["PASSWORD"], token=known["TOKEN"])


def read_login(path: Path) -> Login:
    """A login from a file: ``.creds``, an nkey seed, or lines such as ``user=…``, ``token=…``.

    Raises ``DialtoneError`` where it cannot be read, is nothing of these, or others may read it.
    """
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o007:
            raise DialtoneError(
                "others may read the NATS credentials",
                where=str(path),
                fix=f"chmod 600 {path}",
            )
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DialtoneError(
            "cannot read the NATS credentials",
            where=str(path),
            fix="correct the path or the file's mode",
        ) from error
    login = _parse(text)
    if login is None:
        raise DialtoneError(
            "these are no NATS credentials",
            where=str(path),
            fix="give a .creds file, an nkey seed, or lines user=… password=… or token=…",
        )
    return login


def _parse(text: str) -> Login | None:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if "BEGIN NATS USER JWT" in text and "BEGIN USER NKEY SEED" in text:
        after = {
            mark: next((b for a, b in itertools.pairwise(lines) if mark in a), "")
            for mark in ("BEGIN NATS USER JWT", "BEGIN USER NKEY SEED")
        }
        return Login(seed=after["BEGIN USER NKEY SEED"], jwt=after["BEGIN NATS USER JWT"])
    if len(lines) == 1 and lines[0].startswith("SU") and len(lines[0]) == 58:
        return Login(seed=lines[0])
    pairs = dict(line.split("=", 1) for line in lines if "=" in line and line[0] != "#")
    known = {key.strip(): value.strip() for key, value in pairs.items()}
    if known.keys() & {"token", "user", "seed"}:
        return Login(
            known.get("user", ""),
            known.get("password", ""),
            known.get("token", ""),
            known.get("seed", ""),
        )
    return None


def check_url(url: str) -> str:
    """``url`` if it holds no secret, which would be seen in logs, parameters and runtime files."""
    if "@" in urlsplit(url).netloc:
        raise DialtoneError(
            "a NATS URL must not hold a password",
            where=url.split("//", 1)[0] + "//…@" + url.rsplit("@", 1)[1],
            fix="put it in a file that nats_credentials names, or in DIALTONE_NATS_USER and "
            "DIALTONE_NATS_PASSWORD",
        )
    return url


def tls_context(url: str) -> ssl.SSLContext | None:
    """TLS for ``tls://`` and ``wss://``, or where ``DIALTONE_NATS_CA`` names a file.

    ``DIALTONE_NATS_CERT`` and ``DIALTONE_NATS_KEY`` are the client's own, for servers that verify.
    """
    authority, cert, key = (os.environ.get(_ENVIRONMENT + each) for each in ("CA", "CERT", "KEY"))
    if not authority and not cert and urlsplit(url).scheme not in ("tls", "wss"):
        return None
    try:
        context = ssl.create_default_context(cafile=authority or None)
        if cert:
            context.load_cert_chain(cert, key or None)
    except (OSError, ssl.SSLError) as error:
        raise DialtoneError(
            f"cannot use the TLS files ({error})",
            where="DIALTONE_NATS_CA, _CERT, _KEY",
            fix="name PEM files that this user may read",
        ) from error
    return context
