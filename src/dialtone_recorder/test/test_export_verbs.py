"""``dialtone export`` and ``dialtone dataset`` on good, damaged and foreign recordings."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
from made_episode import drive
from mcap.writer import Writer
from typer.testing import CliRunner, Result

import dialtone_recorder
from dialtone_core.errors import DialtoneError
from dialtone_recorder.exporting import check
from dialtone_recorder.manifest import RECORDING
from dialtone_recorder.verbs.dataset import app as dataset
from dialtone_recorder.verbs.export import export

app = typer.Typer()
app.command("export")(export)
app.add_typer(dataset, name="dataset")


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def refused(*words: object) -> str:
    """The one line of a run that must fail with exit code 2."""
    done = run(*words)
    assert isinstance(done.exception, DialtoneError), (done.output, done.exception)
    assert done.exception.exit_code == 2
    line = str(done.exception)
    assert "\n" not in line
    return line


@pytest.fixture
def episode(tmp_path: Path) -> Path:
    return drive(2.0).write(tmp_path / "made")


def test_an_episode_becomes_a_dataset_with_one_command_and_is_checked_with_another(
    episode: Path, tmp_path: Path
) -> None:
    suggested = run("export", "lerobot", episode, "--suggest")
    assert suggested.exit_code == 0
    mapping = tmp_path / "mapping.yaml"
    mapping.write_text(suggested.output, encoding="utf-8")
    out = tmp_path / "out"
    done = run("export", "lerobot", episode, "--out", out, "--config", mapping)
    assert done.exit_code == 0, done.output
    assert "1 episodes" in done.output
    assert run("dataset", "check", out).exit_code == 0
    more = drive(2.0, offset=0.2).write(tmp_path / "more")
    assert run("export", "lerobot", more, "--out", out, "--append").exit_code == 0
    (out / "meta/stats.json").write_text("{}")
    bad = run("dataset", "check", out)
    assert bad.exit_code == 2
    assert "stats.json: changed since it was exported" in bad.output


def test_a_bare_file_is_exported_as_well(episode: Path, tmp_path: Path) -> None:
    (file,) = episode.glob("*.mcap")
    assert run("export", "parquet", file, "--out", tmp_path / "out").exit_code == 0
    assert check(tmp_path / "out") == []


def test_every_flipped_byte_is_refused_or_harmless(episode: Path, tmp_path: Path) -> None:
    (file,) = episode.glob("*.mcap")
    data = file.read_bytes()
    for at in range(0, len(data), len(data) // 40):
        file.write_bytes(data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :])
        done = run("export", "parquet", episode, "--out", tmp_path / f"out-{at}")
        assert done.exception is None or isinstance(done.exception, DialtoneError), at


def test_another_profile_and_another_encoding_are_refused_by_name(tmp_path: Path) -> None:
    foreign = drive(2.0).write(tmp_path / "profile", profile="ros1")
    assert "profile 'ros1', not ros2" in refused("export", "hdf5", foreign, "--suggest")
    coded = drive(2.0).write(tmp_path / "encoding", encoding="json")
    config = tmp_path / "mapping.yaml"
    good = drive(2.0).write(tmp_path / "good")
    config.write_text(run("export", "hdf5", good, "--suggest").output, encoding="utf-8")
    line = refused("export", "hdf5", coded, "--out", tmp_path / "out", "--config", config)
    assert "/odom: encoding 'json', not cdr" in line
    path = tmp_path / "plain.mcap"
    with path.open("wb") as stream:
        writer = Writer(stream)
        writer.start("")
        schema = writer.register_schema("x", "jsonschema", b"{}")
        writer.add_message(writer.register_channel("/x", "json", schema), 5, b"{}", 5)
        writer.finish()
    assert "plain.mcap" in refused("export", "hdf5", path, "--suggest")


def test_wrong_words_are_answered_with_the_right_ones(episode: Path, tmp_path: Path) -> None:
    assert "give one of hdf5" in refused("export", "rlds", episode, "--out", tmp_path / "o")
    assert "no such episode" in refused("export", "hdf5", tmp_path / "none", "--out", "o")
    assert "--out DIR" in refused("export", "hdf5", episode)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "no episode" in refused("export", "hdf5", empty, "--out", tmp_path / "o")
    broken = tmp_path / "broken.yaml"
    broken.write_text("fps: [")
    line = refused("export", "hdf5", episode, "--out", tmp_path / "o", "--config", broken)
    assert "broken.yaml" in line
    assert "provenance.json" in refused("dataset", "check", empty)
    live = episode.rename(tmp_path / f"live{RECORDING}")
    assert "recover" in refused("export", "hdf5", live, "--out", tmp_path / "o")


def test_a_killed_export_leaves_no_half_dataset_and_the_next_one_succeeds(
    episode: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert run("export", "lerobot", episode, "--out", out).exit_code == 0
    before = {path: path.stat().st_ino for path in out.rglob("*") if path.is_file()}
    more = drive(20.0, offset=0.1).write(tmp_path / "more")
    words = ["export", "lerobot", str(more), "--out", str(out), "--append"]
    code = f"from {__name__} import app; app({words!r})"
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    environment = {**os.environ, "PYTHONPATH": path}
    child = subprocess.Popen([sys.executable, "-c", code], env=environment)
    partial = tmp_path / ".out.partial" / ".work"
    deadline = time.monotonic() + 30
    while not list(partial.glob("*.mp4")) and child.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert partial.exists(), "it was killed too late"
    assert check(out) == []
    assert {path: path.stat().st_ino for path in out.rglob("*") if path.is_file()} == before
    assert run("export", "lerobot", more, "--out", out, "--append").exit_code == 0
    assert check(out) == []
    assert not partial.exists()


def test_exporting_needs_no_ros() -> None:
    """No module that an export imports may import rclpy or a message package."""
    code = (
        "import sys; import dialtone_recorder.exporting, dialtone_recorder.suggest;"
        "from dialtone_recorder.exports.base import BUILT_IN, find_exporter;"
        "[find_exporter(name) for name in BUILT_IN];"
        "print([m for m in sys.modules if m.startswith(('rclpy', 'sensor_msgs', 'torch'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=50
    )
    assert done.stdout.strip() == "[]"
    for path in Path(dialtone_recorder.__file__).parent.rglob("*.py"):
        if path.name == "node.py" or path.name.startswith("ros_"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] == "rclpy" for name in names), path
