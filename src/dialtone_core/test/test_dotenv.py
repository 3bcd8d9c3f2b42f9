"""Secrets in a file: read as a shell would, and refused where others can read them."""

from __future__ import annotations

from pathlib import Path

import pytest

from dialtone_core.dotenv import load_secrets
from dialtone_core.errors import DialtoneError


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DIALTONE_HOME", str(tmp_path))
    path = tmp_path / ".env"
    path.touch(0o600)
    return path


def test_lines_are_taken_as_a_shell_takes_them_and_the_environment_wins(file: Path) -> None:
    file.write_text(
        "# secrets\n\nDIALTONE_PASSWORD='correct horse # battery'\n"
        'export DIALTONE_SHARED_SECRET="say \\"hi\\""  # for the neck\n'
        "DIALTONE_NATS_TOKEN=a=b=c\nDIALTONE_EMPTY=\nDIALTONE_NATS_USER=file\n"
    )
    environment = {"DIALTONE_NATS_USER": "shell"}
    load_secrets(environment)
    assert environment == {
        "DIALTONE_PASSWORD": "correct horse # battery",
        "DIALTONE_SHARED_SECRET": 'say "hi"',
        "DIALTONE_NATS_TOKEN": "a=b=c",
        "DIALTONE_EMPTY": "",
        "DIALTONE_NATS_USER": "shell",
    }


def test_no_file_is_no_secret(file: Path) -> None:
    file.unlink()
    environment: dict[str, str] = {}
    load_secrets(environment)
    assert environment == {}


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_a_file_that_others_can_read_is_refused_with_the_fix(file: Path, mode: int) -> None:
    file.write_text("DIALTONE_PASSWORD=x\n")
    file.chmod(mode)
    with pytest.raises(DialtoneError, match="chmod 600"):
        load_secrets({})


@pytest.mark.parametrize(
    "line", ["hunter2", "PATH=hunter2", "DIALTONE_X=a hunter2", "DIALTONE_X='hunter2", "=hunter2"]
)
def test_a_line_that_is_none_is_named_by_its_number_and_not_told(file: Path, line: str) -> None:
    file.write_text(f"# one\n{line}\n")
    with pytest.raises(DialtoneError, match="line 2") as caught:
        load_secrets({})
    assert "hunter2" not in str(caught.value)
