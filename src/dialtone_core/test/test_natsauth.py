"""Credentials: found, read, refused; on paper, and against a server with the embedded users."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dialtone_core.errors import DialtoneError
from dialtone_core.natsaccess import NatsKeys, embedded_folder
from dialtone_core.natsauth import Login, check_url, find_login, read_login, tls_context


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DIALTONE_HOME", str(tmp_path))
    for name in ("TOKEN", "USER", "PASSWORD", "CA", "CERT", "KEY"):
        monkeypatch.delenv(f"DIALTONE_NATS_{name}", raising=False)
    return tmp_path


def secret(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "login"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_file_is_known_by_what_is_in_it(home: Path) -> None:
    creds = (
        "-----BEGIN NATS USER JWT-----\neyJ0\n------END NATS USER JWT------\n\n"
        "-----BEGIN USER NKEY SEED-----\nSUAX\n------END USER NKEY SEED------\n"
    )
    seed = NatsKeys.load("rover").seeds["viewer"]
    assert read_login(secret(home, creds)) == Login(jwt="eyJ0", seed="SUAX")
    assert read_login(secret(home, seed + "\n")) == Login(seed=seed)
    assert read_login(secret(home, "token = t=1\n")) == Login(token="t=1")
    assert read_login(secret(home, "# me\nuser=a\npassword=b\n")) == Login("a", "b")


@pytest.mark.parametrize(("text", "mode"), [("user=a\npassword=b", 0o604), ("hello", 0o600)])
def test_a_file_that_others_read_or_that_is_none_is_one_line(
    home: Path, text: str, mode: int
) -> None:
    with pytest.raises(DialtoneError, match=r"Fix: ") as caught:
        read_login(secret(home, text, mode))
    assert "password=b" not in str(caught.value)


def test_the_embedded_servers_key_comes_before_the_environment(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIALTONE_NATS_TOKEN", "abc")
    assert find_login("nats://127.0.0.1:4222") == Login(token="abc")
    keys = NatsKeys.load("rover")
    (home / "nats" / "rover" / "ports.json").write_text('{"nats_url": "nats://127.0.0.1:4222"}')
    assert find_login("nats://localhost:4222") == Login(seed=keys.seeds["robot"])
    assert find_login("nats://example.org:4222") == Login(token="abc")
    assert embedded_folder("nats://127.0.0.1:4223") is None


def test_what_a_server_left_that_has_ended_does_not_hide_the_environment(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = NatsKeys.load("rover").seeds["robot"]
    left = home / "nats" / "rover" / "ports.json"
    left.write_text(f'{{"nats_url": "nats://127.0.0.1:4222", "pid": {os.getpid()}}}')
    assert find_login("nats://127.0.0.1:4222") == Login(seed=seed)
    monkeypatch.setenv("DIALTONE_NATS_USER", "ada")
    monkeypatch.setenv("DIALTONE_NATS_PASSWORD", "secret")
    assert find_login("nats://127.0.0.1:4222") == Login("ada", "secret")


def test_a_login_says_only_what_the_server_asks_for() -> None:
    assert Login("a", "b").hello("") == {"user": "a", "pass": "b"}
    assert Login(token="t").hello("") == {"auth_token": "t"}
    assert Login(seed="SU").hello("") == {}
    assert Login().hello("nonce") == {}


def test_no_secret_is_in_a_repr_and_none_may_be_in_a_url(home: Path) -> None:
    seed = NatsKeys.load("rover").seeds["robot"]
    assert seed not in repr(Login("a", "b", "c", seed, "d")) + repr(NatsKeys.load("rover"))
    with pytest.raises(DialtoneError, match="password") as caught:
        check_url("nats://ada:hunter2@example.org:4222")
    assert "hunter2" not in str(caught.value)


def test_keys_are_kept_and_only_their_owner_reads_them(home: Path) -> None:
    first = NatsKeys.load("rover")
    assert NatsKeys.load("rover") == first
    assert len(set(first.seeds.values())) == 4
    for role in first.seeds:
        assert os.stat(home / "nats" / "rover" / f"{role}.nk").st_mode & 0o077 == 0


def test_tls_is_for_those_who_ask_for_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tls_context("nats://127.0.0.1:4222") is None
    assert tls_context("tls://example.org:4222") is not None
    monkeypatch.setenv("DIALTONE_NATS_CA", str(home / "none.pem"))
    with pytest.raises(DialtoneError, match="TLS"):
        tls_context("nats://127.0.0.1:4222")
