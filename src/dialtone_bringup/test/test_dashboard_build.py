"""Which Node builds the dashboard: the machine's own, or one that comes as a wheel."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from dialtone_bringup.bootstrap import Environment, StepError


class Built(Environment):
    """Notes what would be installed and run instead of doing it."""

    def __init__(self, folder: Path, fails: bool = False) -> None:
        super().__init__(folder / "repo", folder / "venv", argparse.Namespace())
        self.did: list[str] = []
        self.fails = fails
        self._steps = self  # type: ignore[assignment]
        self.venv.mkdir()
        web = self.repo / "web"
        (web / "dist").mkdir(parents=True)
        (web / "package.json").write_text("{}")
        (web / "dist" / "index.html").write_text("")

    def run(self, title: str, command: list[str], env: dict[str, str], fix: str) -> None:
        self.did.append(title)
        if self.fails:
            raise StepError(title, [], self.venv / "setup.log", fix)


def machine(folder: Path, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PATH with a Node of ``version`` on it, or none where that is empty."""
    for name in ("node", "npm") if version else ():
        program = folder / name
        program.write_text(f"#!/bin/sh\necho {version}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/bin" if version else str(folder / "none"))


STEPS = ["Fetching the dashboard's parts", "Building the dashboard"]


@pytest.mark.parametrize(
    ("version", "brings"),
    [("v20.19.0", False), ("v24.1.0", False), ("v20.18.9", True), ("v18.20.4", True), ("", True)],
)
def test_node_comes_as_a_wheel_only_where_there_is_none_that_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, brings: bool
) -> None:
    machine(tmp_path, version, monkeypatch)
    made = Built(tmp_path)
    made._build_dashboard()
    assert made.did == (["Bringing Node for the dashboard"] if brings else []) + STEPS
    made.did.clear()
    made._build_dashboard()
    assert made.did == []


def test_a_dashboard_that_cannot_be_built_stops_nothing_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine(tmp_path, "v22.0.0", monkeypatch)
    made = Built(tmp_path, fails=True)
    made._build_dashboard()
    made._build_dashboard()
    assert made.did == STEPS[:1] * 2
    assert "everything but the dashboard works" in capsys.readouterr().err
