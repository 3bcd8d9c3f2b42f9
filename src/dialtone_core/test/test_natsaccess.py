"""The roles of the embedded NATS server, on paper; the gateway's tests try them on a server."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest

from dialtone_core.natsaccess import ROLES, NatsAccess, permissions


def test_what_is_written_is_read_and_only_its_owner_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIALTONE_HOME", str(tmp_path))
    assert NatsAccess.read("rover") is None
    made = NatsAccess.create(4321)
    made.write("rover")
    assert NatsAccess.read("rover") == made
    assert stat.S_IMODE(os.stat(NatsAccess.path("rover")).st_mode) == 0o600
    NatsAccess.path("rover").write_text("{}")
    assert NatsAccess.read("rover") is None


def test_every_start_has_other_passwords_and_every_role_its_own() -> None:
    first, second = NatsAccess.create(1), NatsAccess.create(1)
    assert len({*first.passwords.values(), *second.passwords.values()}) == 2 * len(ROLES)


def test_roles_get_in_by_websocket_only() -> None:
    text = NatsAccess.create(4321).config("rover")
    assert text.count('"allowed_connection_types"') == len(ROLES)
    assert 'listen: "127.0.0.1:4321"' in text
    assert re.search(r'websocket \{[^}]*no_auth_user: "nobody"', text)


def test_a_viewer_commands_nothing_and_an_unknown_role_is_an_error() -> None:
    assert not any(".cmd." in subject for subject in permissions("rover", "viewer").publish)
    with pytest.raises(ValueError, match="no role"):
        permissions("rover", "king")
