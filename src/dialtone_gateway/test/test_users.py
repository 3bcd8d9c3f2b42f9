"""``dialtone users`` on a real file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dialtone_gateway.auth.accounts import Accounts
from dialtone_gateway.roles import Role
from dialtone_gateway.verbs.users import users


def run(*words: str, text: str = "") -> Any:
    return CliRunner().invoke(users, words, input=text)


def test_an_account_is_added_changed_listed_and_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIALTONE_HOME", str(tmp_path))
    assert run("add", "ada", "--password-stdin", text="correct horse\n").exit_code == 0
    accounts = Accounts(tmp_path / "gateway")
    assert "$argon2id$v=19$m=19456,t=2,p=1$" in accounts.path.read_text()
    assert accounts.verify("ada", "correct horse") == (Role.OPERATOR, "password")
    added = run("add", "ada", "--role", "admin", "--password-stdin", text="battery staple\n")
    assert added.exit_code == 0
    assert accounts.verify("ada", "correct horse") is None
    assert "admin" in run("ls").output
    assert run("rm", "ada").exit_code == 0
    assert accounts.users() == {}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("add", "../x"), "user name"),
        (("add", "ada", "--role", "king"), "no role"),
        (("add", "ada"), "8 to 256"),
        (("rm", "nobody"), "no user"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_written(
    words: tuple[str, ...], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIALTONE_HOME", str(tmp_path))
    options = ("--password-stdin",) if words[0] == "add" else ()
    result = run(*words, *options, text="short\n")
    assert told in str(result.exception)
    assert not (tmp_path / "gateway" / "accounts.json").exists()
