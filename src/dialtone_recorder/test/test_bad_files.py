"""Every verb on every kind of bad recording: one line with file and offset, exit code 2, and
nothing is changed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import typer
from made_episode import drive
from mcap.opcode import Opcode
from typer.testing import CliRunner, Result

from dialtone_core.errors import DialtoneError
from dialtone_core.sample import Sample
from dialtone_recorder.manifest import RECORDING
from dialtone_recorder.reader import episode_counts
from dialtone_recorder.session import Facts, Limits, Session
from dialtone_recorder.topics import Topic
from dialtone_recorder.verbs.episodes import app as episodes
from dialtone_recorder.verbs.export import export

app = typer.Typer()
app.add_typer(episodes, name="episodes")
app.command("export")(export)

VERBS = {
    "verify": "episodes verify {bad}",
    "show": "episodes show {bad}",
    "plot": "episodes show {bad} --plot {out}.png",
    "trim": "episodes trim {bad} --start 0.1 --out {out}",
    "split": "episodes split {bad} --at 0.1 --out {out}",
    "merge": "episodes merge {good} {bad} --out {out}",
    "replay": "episodes replay {bad} --wait 0 --speed 1000 --commands",
    "label": "episodes label {bad} --outcome fail",
    "rm": "episodes rm {bad} --yes",
    "suggest": "export lerobot {bad} --suggest",
    "lerobot": "export lerobot {bad} --out {out} --config {mapping}",
    "hdf5": "export hdf5 {bad} --out {out} --config {mapping}",
    "parquet": "export parquet {bad} --out {out} --config {mapping}",
}
DAMAGES = ("cut", "flipped", "flipped summary", "empty", "junk", "profile", "encoding")
#: What is inside of a chunk is none of their business: they read the end of a file only.
BLIND = {("label", "flipped"), ("rm", "flipped")}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drive(0.5).write(tmp_path_factory.mktemp("good") / "good")


@pytest.fixture(scope="module")
def mapping(good: Path) -> Path:
    path = good.with_name("mapping.yaml")
    made = run("export", "lerobot", str(good), "--suggest")
    path.write_text(made.output, encoding="utf-8")
    return path


def run(*words: str) -> Result:
    return CliRunner().invoke(app, words)


def code_of(done: Result) -> int:
    error = done.exception
    return error.exit_code if isinstance(error, DialtoneError) else done.exit_code


def told(done: Result) -> str:
    return str(done.exception) if isinstance(done.exception, DialtoneError) else done.output


def spoil(path: Path, damage: str) -> bytes:
    """Damage the file at ``path``; returns what it holds then."""
    data = bytearray(path.read_bytes())
    if damage in ("profile", "encoding"):
        other = {"profile": "ros1"} if damage == "profile" else {"encoding": "json"}
        (made,) = drive(0.5).write(path.parents[1] / "other", **other).glob("*.mcap")
        made.replace(path)
        shutil.rmtree(made.parent)
        return path.read_bytes()
    if damage == "flipped":
        data[data.index(b"\x28\xb5\x2f\xfd") + 40] ^= 0x40  # behind zstd's magic: in a chunk
    elif damage == "flipped summary":
        data[-200] ^= 0x40
    spoiled = {"cut": bytes(data[: len(data) // 2]), "empty": b"", "junk": b"junk" * 100}
    path.write_bytes(spoiled.get(damage, bytes(data)))
    return path.read_bytes()


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("verb", VERBS)
def test_a_bad_file_is_refused_with_its_name_and_offset_and_all_stays(
    tmp_path: Path, good: Path, mapping: Path, verb: str, damage: str
) -> None:
    folder = tmp_path / "bad"
    shutil.copytree(good, folder)
    (file,) = folder.glob("*.mcap")
    before = spoil(file, damage)
    papers = (folder / "episode.json").read_bytes()
    names = {"bad": folder, "good": good, "out": tmp_path / "made", "mapping": mapping}
    done = run(*(word.format(**names) for word in VERBS[verb].split()))
    if (verb, damage) in BLIND:
        assert code_of(done) == 0, told(done)
        return
    assert code_of(done) == 2, (told(done), done.exception)
    assert str(file) in told(done).replace("\n", "")
    assert "offset" in told(done)
    assert [each.name for each in tmp_path.iterdir()] == ["bad"]
    assert file.read_bytes() == before
    assert (folder / "episode.json").read_bytes() == papers


@pytest.mark.parametrize("content", [b"", b'{"format": ', b"[]", b"\xff\xfe"])
@pytest.mark.parametrize("verb", ["show", "trim", "label", "lerobot"])
def test_a_bad_paper_is_refused_with_its_name_and_offset_and_stays(
    tmp_path: Path, good: Path, mapping: Path, verb: str, content: bytes
) -> None:
    folder = tmp_path / "bad"
    shutil.copytree(good, folder)
    paper = folder / "episode.json"
    paper.write_bytes(content)
    names = {"bad": folder, "out": tmp_path / "made", "mapping": mapping}
    done = run(*(word.format(**names) for word in VERBS[verb].split()))
    assert code_of(done) == 2, (told(done), done.exception)
    assert f"{paper}: offset" in told(done)
    assert paper.read_bytes() == content
    listed = run("episodes", "ls", "--directory", str(tmp_path))
    assert listed.exit_code == 0
    assert "unreadable" in listed.output


def test_a_damaged_episode_is_removed_when_forced(tmp_path: Path, good: Path) -> None:
    folder = tmp_path / "bad"
    shutil.copytree(good, folder)
    spoil(next(folder.glob("*.mcap")), "cut")
    assert code_of(run("episodes", "rm", str(folder), "--yes", "--force")) == 0
    assert not folder.exists()
    stranger = tmp_path / "notes.txt"
    stranger.write_text("mine")
    assert code_of(run("episodes", "rm", str(stranger), "--yes", "--force")) == 2
    assert stranger.exists()


TEXT = Topic("/text", "std_msgs/msg/String", "string data\n")


def orphan(directory: Path) -> Path:
    """What a killed recorder leaves: its folder, the file without an end."""
    session = Session(directory, Facts("one", "rover"), Limits(min_free_bytes=0))
    session.add_topic(TEXT)
    for number in range(1, 101):
        payload = b"\0\1\0\0\6\0\0\0hello\0" + bytes(200)
        session.put(Sample("/text", TEXT.type, "cdr", payload, number, number, number))
    session.finish()
    session.release()
    (session.folder / "episode.json").unlink()
    file = session.folder / "one_0.mcap"
    data_end = bytes([Opcode.DATA_END, 4, 0, 0, 0, 0, 0, 0, 0])
    os.truncate(file, file.read_bytes().rindex(data_end))
    return file


@pytest.mark.parametrize("damage", ["length", "opcode", "junk", "profile", "encoding"])
def test_recover_leaves_alone_what_it_would_spoil(tmp_path: Path, damage: str) -> None:
    file = orphan(tmp_path)
    data = bytearray(file.read_bytes())
    if damage in ("length", "opcode"):
        at = data.index(b"hello", len(data) // 2) - 8 - 31
        data[at + (4 if damage == "length" else 0)] ^= 0x10
        file.write_bytes(data)
        before = bytes(data)
    elif damage == "junk":
        before = spoil(file, damage)
    else:
        word, other = (b"ros2", b"ros1") if damage == "profile" else (b"cdr", b"xml")
        before = bytes(data.replace(word, other, 1))
        file.write_bytes(before)
    done = run("episodes", "recover", "--directory", str(tmp_path))
    assert code_of(done) == 2
    assert f"{file}: offset" in done.output.replace("\n", "")
    assert file.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["one" + RECORDING]


@pytest.mark.parametrize(("tail", "kept"), [(0, 100), (-100, 99), (5000, 100)])
def test_recover_keeps_every_whole_message_before_a_torn_end(
    tmp_path: Path, tail: int, kept: int
) -> None:
    """The end is whole, half a record, or zeros that a power cut left."""
    file = orphan(tmp_path)
    os.truncate(file, file.stat().st_size + tail)
    done = run("episodes", "recover", "--directory", str(tmp_path))
    assert done.exit_code == 0, done.output
    assert f"{kept} messages" in done.output
    assert episode_counts(tmp_path / "one") == {"/text": kept}
