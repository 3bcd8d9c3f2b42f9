"""Logging in and out, over real HTTP."""

from __future__ import annotations

import json
import os
import stat
from typing import Any

from dialtone_core.clock import FakeClock
from dialtone_gateway.app import Gateway
from dialtone_gateway.params import GatewayParams


async def test_a_right_password_opens_and_a_logout_closes_for_good(lab: Any) -> None:
    gateway = await lab.gateway()
    ada = await lab.person(gateway)
    assert (await ada.get("/api/v1/session"))[0] == 401
    assert await ada.log_in("ada") == 200
    status, session = await ada.get("/api/v1/session")
    assert status == 200
    assert (session["user"], session["role"], session["robot"]) == ("ada", "admin", "rover")
    token = ada.token
    assert (await ada.post("/logout"))[0] == 200
    assert (await ada.get("/api/v1/session"))[0] == 401
    bearer = {"Authorization": f"Bearer {token}"}
    assert (await ada.get("/api/v1/session", headers=bearer))[0] == 401


async def test_a_logout_holds_after_a_restart(lab: Any) -> None:
    first = await lab.gateway()
    ada = await lab.person(first, "ada")
    eve = await lab.person(first, "ada")
    await ada.post("/logout")
    await first.aclose()
    ada.gateway = eve.gateway = await lab.gateway()
    bearer = {"Authorization": f"Bearer {ada.token}"}
    assert (await ada.get("/api/v1/session", headers=bearer))[0] == 401
    bearer = {"Authorization": f"Bearer {eve.token}"}
    assert (await eve.get("/api/v1/session", headers=bearer))[0] == 200


async def test_a_login_ends_when_its_time_is_up_and_a_refresh_lengthens_it(lab: Any) -> None:
    lab.clock = FakeClock()
    gateway = await lab.gateway(session_hours=1.0)
    ada = await lab.person(gateway, "ada")
    first = {"Authorization": f"Bearer {ada.token}"}
    lab.clock.advance(3000)
    status, renewed = await ada.post("/api/v1/refresh", headers=first)
    assert status == 200
    assert renewed["session"] == ada.session
    second = {"Authorization": f"Bearer {renewed['token']}"}
    lab.clock.advance(3000)
    assert (await ada.get("/api/v1/session", headers=first))[0] == 401
    assert (await ada.get("/api/v1/session", headers=second))[0] == 200
    lab.clock.advance(3000)
    assert (await ada.get("/api/v1/session", headers=second))[0] == 401


async def test_a_login_cannot_be_refreshed_for_ever(lab: Any) -> None:
    lab.clock = FakeClock()
    gateway = await lab.gateway(session_hours=700.0)
    ada = await lab.person(gateway, "ada")
    token, status = ada.token, 200
    for _ in range(40):
        lab.clock.advance(24 * 3600)
        bearer = {"Authorization": f"Bearer {token}"}
        status, answer = await ada.post("/api/v1/refresh", headers=bearer)
        if status != 200:
            break
        token = answer["token"]
    assert status == 401


async def test_an_account_that_is_removed_or_demoted_counts_at_once(lab: Any) -> None:
    gateway: Gateway = await lab.gateway()
    otto = await lab.person(gateway, "otto")
    path = lab.home / "gateway" / "accounts.json"
    tree = json.loads(path.read_text())
    tree["users"]["otto"]["role"] = "viewer"
    path.write_text(json.dumps(tree))
    assert (await otto.get("/api/v1/session"))[1]["role"] == "viewer"
    del tree["users"]["otto"]
    path.write_text(json.dumps(tree))
    assert (await otto.get("/api/v1/session"))[0] == 401


async def test_the_first_start_makes_an_admin_and_keeps_the_password_out_of_the_log(
    lab: Any, monkeypatch: Any, caplog: Any
) -> None:
    monkeypatch.delenv("DIALTONE_PASSWORD")
    gateway = await lab.gateway()
    note = lab.home / "gateway" / "first_password"
    password = note.read_text().strip()
    assert password not in caplog.text
    assert str(note) in caplog.text
    assert stat.S_IMODE(os.stat(note).st_mode) == 0o600
    admin = await lab.person(gateway)
    assert await admin.log_in("admin", password) == 200
    assert not note.exists()


async def test_without_a_login_nobody_needs_a_first_password(lab: Any, monkeypatch: Any) -> None:
    monkeypatch.delenv("DIALTONE_PASSWORD")
    gateway = await lab.gateway(insecure_local=True)
    assert not (lab.home / "gateway" / "first_password").exists()
    assert "admin" not in gateway.accounts.users()


async def test_a_shared_secret_lets_unknown_names_in_but_nobody_elses(
    lab: Any, monkeypatch: Any
) -> None:
    monkeypatch.setenv("DIALTONE_SHARED_SECRET", "neck-clients")
    gateway = await lab.gateway(GatewayParams(shared_role="viewer"))
    neck = await lab.person(gateway)
    assert await neck.log_in("headset-7", "neck-clients") == 200
    assert (await neck.get("/api/v1/session"))[1]["role"] == "viewer"
    assert await (await lab.person(gateway)).log_in("ada", "neck-clients") == 401
    assert await (await lab.person(gateway)).log_in("../../x", "neck-clients") == 401


async def test_secrets_of_the_state_folder_are_for_its_owner_only(lab: Any) -> None:
    gateway = await lab.gateway()
    await (await lab.person(gateway, "ada")).post("/logout")
    for name in ("accounts.json", "token_key", "audit.jsonl", "logged_out.json"):
        mode = os.stat(lab.home / "gateway" / name).st_mode
        assert stat.S_IMODE(mode) == 0o600, name


async def test_the_audit_log_tells_who_came_and_went(lab: Any) -> None:
    gateway = await lab.gateway()
    ada = await lab.person(gateway, "ada")
    await (await lab.person(gateway)).log_in("ada", "wrong password")
    await ada.post("/logout")
    text = (lab.home / "gateway" / "audit.jsonl").read_text()
    events = [json.loads(line) for line in text.splitlines()]
    assert [each["event"] for each in events] == ["login", "login_failed", "logout"]
    assert events[0]["session"] == ada.session
    assert "wrong password" not in text
    assert ada.token not in text


async def test_insecure_local_needs_no_login_but_gives_every_browser_a_session(lab: Any) -> None:
    gateway = await lab.gateway(insecure_local=True)
    one, two = await lab.person(gateway), await lab.person(gateway)
    first, second = (await one.get("/api/v1/session"))[1], (await two.get("/api/v1/session"))[1]
    assert first["role"] == second["role"] == "operator"
    assert first["insecure_local"]
    assert first["session"] != second["session"]
    assert (await one.get("/api/v1/session"))[1]["session"] == first["session"]
