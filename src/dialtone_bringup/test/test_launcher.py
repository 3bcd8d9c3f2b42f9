"""The launcher script on a prepared tree: what it compares, what it hands on, what it refuses."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A source tree in a path with spaces whose bootstrap only says what it was asked."""
    tree = tmp_path / "a tree with spaces"
    package = tree / "src" / "dialtone_core"
    bringup = tree / "src" / "dialtone_bringup" / "dialtone_bringup"
    for folder in (package / "dialtone_core", bringup):
        folder.mkdir(parents=True)
    for name in ("setup.py", "setup.cfg", "package.xml"):
        (package / name).touch()
    shutil.copy(ROOT / "dialtone", tree / "dialtone")
    for name in ("requirements.txt", "requirements-ros.txt", "requirements-dev.txt"):
        (tree / name).write_text("one==1\n")
    (tree / "colcon.meta").write_text("{}")
    (tree / "cli.py").write_text("import os, sys; print(os.getcwd(), sys.argv[1:])")
    (bringup / "bootstrap.py").write_text(BOOTSTRAP)
    return tree


BOOTSTRAP = """
import os, sys
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
venv = given["--venv"]
os.makedirs(venv + "/bin", exist_ok=True)
if not os.path.exists(venv + "/bin/python"):
    os.symlink(sys.executable, venv + "/bin/python")
with open(venv + "/env.sh", "w") as file:
    file.write(f"export DIALTONE_CLI='{given['--repo']}/cli.py'")
with open(venv + "/ready", "w") as file:
    file.write(given["--build"])
if "--dev" in given:
    with open(venv + "/ready-dev", "w") as file:
        file.write(given["--dev"])
print("made", "with dev" if "--dev" in given else "plain")
"""


def start(
    tree: Path, *arguments: str, cwd: Path | None = None, **env: str
) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tree.parent), **env}
    environment.setdefault("DIALTONE_PYTHON", sys.executable)
    return subprocess.run(
        [str(tree / "dialtone"), *arguments],
        env=environment,
        cwd=cwd or tree,
        capture_output=True,
        text=True,
        timeout=20,
    )


def test_the_first_start_prepares_and_the_second_does_not(tree: Path, tmp_path: Path) -> None:
    assert start(tree, "up", "--x").stdout.startswith("made plain")
    again = start(tree, "up", "a b", cwd=tmp_path)
    assert again.stdout == f"{tmp_path} ['up', 'a b']\n"


def test_a_link_to_the_launcher_finds_its_tree(tree: Path, tmp_path: Path) -> None:
    start(tree, "up")
    link = tmp_path / "bin"
    link.mkdir()
    (link / "dialtone").symlink_to("../a tree with spaces/dialtone")
    assert start(link, "up").stdout == f"{link} ['up']\n"


@pytest.mark.parametrize("verb", ["test", "check", "bench"])
def test_verbs_for_developers_bring_the_tools_for_tests(tree: Path, verb: str) -> None:
    start(tree, "up")
    assert start(tree, verb).stdout.startswith("made with dev")
    assert not start(tree, verb).stdout.startswith("made")
    assert not start(tree, "up").stdout.startswith("made")


@pytest.mark.parametrize(
    "path",
    [
        "requirements.txt",
        "requirements-ros.txt",
        "src/dialtone_core/setup.py",
        "src/dialtone_core/config/new.yaml",
        "src/dialtone_core/dialtone_core/__init__.py",
    ],
)
def test_a_changed_input_prepares_anew(tree: Path, path: str) -> None:
    start(tree, "up")
    (tree / path).parent.mkdir(exist_ok=True)
    (tree / path).write_text("changed\n")
    assert start(tree, "up").stdout.startswith("made plain")


def test_a_changed_module_needs_nothing(tree: Path) -> None:
    start(tree, "up")
    (tree / "src/dialtone_core/dialtone_core/new.py").write_text("x = 1\n")
    assert not start(tree, "up").stdout.startswith("made")


def test_an_interrupted_preparation_is_taken_up_again(tree: Path) -> None:
    start(tree, "up")
    (tree / ".venv" / "ready").unlink()
    assert start(tree, "up").stdout.startswith("made plain")


def test_a_python_that_went_away_prepares_anew(tree: Path) -> None:
    start(tree, "up")
    (tree / ".venv/bin/python").unlink()
    assert start(tree, "up").stdout.startswith("made plain")


def test_no_usable_python_is_one_line_with_a_fix(tree: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in [
        "bash",
        "env",
        "readlink",
        "dirname",
        "sha256sum",
        "find",
        "sort",
        "cat",
        "uname",
    ]:
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    (folder / "python3").write_text('#!/bin/sh\necho Python 3.8.1; [ "$1" = --version ]\n')
    (folder / "python3").chmod(0o755)
    done = start(tree, "up", PATH=str(folder), DIALTONE_PYTHON="")
    assert done.returncode == 1
    assert (
        "no Python 3.10 to 3.14 found (python3 is Python 3.8.1). Fix: install one" in done.stderr
    )


def test_a_wrong_dialtone_python_is_named(tree: Path) -> None:
    done = start(tree, "up", DIALTONE_PYTHON="/nowhere/python")
    assert done.returncode == 1
    assert "DIALTONE_PYTHON=/nowhere/python" in done.stderr


def test_a_ros_whose_python_has_no_rclpy_is_named(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "rclpy.py").write_text("raise ImportError")
    done = start(tree, "up", ROS_DISTRO="jazzy", PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert "Fix: " in done.stderr


def test_the_check_costs_less_than_a_tenth_of_a_second(tree: Path) -> None:
    start(tree, "up")
    spent_s = []
    for _ in range(5):
        began = time.perf_counter()
        start(tree, "up")
        spent_s.append(time.perf_counter() - began)
    # The Python that it starts is a part of it; half a second is what a busy machine may need.
    assert min(spent_s) < 0.5
