"""Accounts: user names, roles and Argon2id hashes in one file of the state folder.

``gateway/accounts.json``, mode 0600. It is read again when it changes, so that an account added or
removed by hand or by ``dialtone users`` counts at once. Verifying a password costs about 20 ms and
19 MiB (OWASP's second choice for Argon2id: m=19 MiB, t=2, p=1), so it belongs into a worker thread
and behind a rate limit.
"""

from __future__ import annotations

import json
import re
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from dialtone_core.errors import DialtoneError
from dialtone_core.paths import write_secret
from dialtone_gateway.roles import Role

FIRST_USER = "admin"
_MEMORY_KIB = 19 * 1024
MIN_PASSWORD = 8
#: More than this is never hashed: Argon2 reads all of it.
MAX_PASSWORD = 256
_USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,39}")


def check_user(name: str) -> str:
    """Return ``name`` if it may be a user's, else raise ``DialtoneError``."""
    if not _USER.fullmatch(name):
        raise DialtoneError(
            f"user name {name[:40]!r} is not usable",
            fix="use up to 40 letters, digits, _ . @ - and begin with a letter or digit",
        )
    return name


@dataclass(frozen=True, slots=True)
class Account:
    hash: str
    role: Role


class Accounts:
    """The accounts in ``folder``. ``shared_secret`` lets any other name in with ``shared_role``.

    Methods may be called from a worker thread; each reads and writes whole files.
    """

    def __init__(
        self, folder: Path, shared_secret: str = "", shared_role: Role = Role.OPERATOR
    ) -> None:
        self.path = folder / "accounts.json"
        self._hasher = PasswordHasher(time_cost=2, memory_cost=_MEMORY_KIB, parallelism=1)
        self._shared = self._hasher.hash(shared_secret) if shared_secret else ""
        self._shared_role = shared_role
        #: Verified when the user is unknown, so that both answers take the same time.
        self._nobody = self._hasher.hash(secrets.token_hex())
        self._stamp: tuple[int, int] | None = None
        self._accounts: dict[str, Account] = {}

    def users(self) -> dict[str, Role]:
        """Every account's role, by name."""
        self._load()
        return {name: account.role for name, account in sorted(self._accounts.items())}

    def verify(self, user: str, password: str) -> tuple[Role, str] | None:
        """The role and kind of a right password, else ``None``. Blocks for about 20 ms."""
        self._load()
        account = self._accounts.get(user)
        usable = len(password) <= MAX_PASSWORD and _USER.fullmatch(user) is not None
        if account is not None:
            hashed, role, kind = account.hash, account.role, "password"
        else:
            hashed, role, kind = self._shared, self._shared_role, "shared"
        try:
            self._hasher.verify(hashed or self._nobody, password[:MAX_PASSWORD])
        except (Argon2Error, InvalidHashError):
            return None
        return (role, kind) if usable and hashed else None

    def role_now(self, user: str, kind: str) -> Role | None:
        """What a login made earlier is worth now; ``None`` where its account is gone."""
        self._load()
        if kind == "shared":
            return self._shared_role if self._shared and user not in self._accounts else None
        account = self._accounts.get(user)
        return account.role if account is not None else None

    def put(self, user: str, password: str, role: Role) -> None:
        """Add or change an account."""
        check_user(user)
        if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
            raise DialtoneError(
                f"a password of {len(password)} characters",
                fix=f"take {MIN_PASSWORD} to {MAX_PASSWORD}",
            )
        self._load()
        self._accounts[user] = Account(self._hasher.hash(password), role)
        self._save()

    def remove(self, user: str) -> None:
        self._load()
        if self._accounts.pop(user, None) is None:
            raise DialtoneError(f"no user {user[:40]!r}", fix="see dialtone users ls")
        self._save()

    def _load(self) -> None:
        try:
            status = self.path.stat()
        except FileNotFoundError:
            self._accounts, self._stamp = {}, None
            return
        if (status.st_mtime_ns, status.st_size) == self._stamp:
            return
        if stat.S_IMODE(status.st_mode) & 0o077:
            raise DialtoneError(
                "others can read the password hashes",
                where=str(self.path),
                fix="chmod 600 the file",
            )
        try:
            tree = json.loads(self.path.read_text(encoding="utf-8"))
            self._accounts = {
                check_user(name): Account(str(entry["hash"]), Role.parse(entry["role"]))
                for name, entry in tree["users"].items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DialtoneError(
                f"cannot read the accounts ({error})",
                where=str(self.path),
                fix="correct the file, or remove it to begin anew",
            ) from error
        self._stamp = (status.st_mtime_ns, status.st_size)

    def _save(self) -> None:
        users = {n: {"hash": a.hash, "role": a.role.text} for n, a in self._accounts.items()}
        write_secret(self.path, json.dumps({"users": users}, indent=2) + "\n")


def first_start(accounts: Accounts, password: str) -> Path | None:
    """Make the first account, ``admin``, where there is none.

    With ``password`` (``DIALTONE_PASSWORD``) that is its password. Otherwise one is made up and
    left in a file of mode 0600 beside the accounts, whose path is returned: a log would keep it.
    """
    if accounts.users():
        return None
    if password:
        accounts.put(FIRST_USER, password, Role.ADMIN)
        return None
    made = secrets.token_urlsafe(9)
    accounts.put(FIRST_USER, made, Role.ADMIN)
    note = first_password_file(accounts)
    write_secret(note, made + "\n")
    return note


def first_password_file(accounts: Accounts) -> Path:
    """Where ``first_start`` left the password; removed by the first login of ``admin``."""
    return accounts.path.with_name("first_password")
