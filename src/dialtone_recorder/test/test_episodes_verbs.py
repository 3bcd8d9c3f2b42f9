"""``dialtone episodes`` on good, damaged and foreign recordings."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from mcap.writer import Writer
from typer.testing import CliRunner, Result

from dialtone_core.errors import DialtoneError
from dialtone_core.sample import Sample
from dialtone_recorder.closing import index_episode, publish
from dialtone_recorder.manifest import read_episode
from dialtone_recorder.reader import episode_counts
from dialtone_recorder.session import Facts, Limits, Session
from dialtone_recorder.topics import Topic
from dialtone_recorder.verbs.episodes import app
from dialtone_recorder.verify import verify

TEXT = Topic("/text", "std_msgs/msg/String", "string data\n")


def run(directory: Path, *words: str) -> Result:
    return CliRunner().invoke(app, [*words, "--directory", str(directory)])


@pytest.fixture
def episode(tmp_path: Path) -> Path:
    session = Session(tmp_path, Facts("one", "rover", "a task"), Limits(min_free_bytes=0))
    session.add_topic(TEXT)
    for number in range(1000):
        payload = b"\x00\x01\x00\x00\x06\x00\x00\x00hello\x00" + number.to_bytes(400, "big")
        session.put(Sample("/text", TEXT.type, "cdr", payload, number, number + 1, number + 1))
    session.finish()
    index_episode(session.folder)
    session.release()
    return publish(session.folder)


def test_ls_and_show_say_what_is_there(episode: Path) -> None:
    (told,) = orjson.loads(run(episode.parent, "ls", "--json").output)
    assert (told["name"], told["task"], told["messages"]) == ("one", "a task", 1000)
    assert "/text" in run(episode.parent, "show", "one").output


def test_labels_change_and_the_recording_stays(episode: Path) -> None:
    before = (episode / "one_0.mcap").read_bytes()
    done = run(episode.parent, "label", "one", "--outcome", "fail", "--tag", "a", "--tag", "b")
    assert done.exit_code == 0
    facts = read_episode(episode)
    assert (facts["outcome"], facts["tags"], facts["task"]) == ("fail", ["a", "b"], "a task")
    assert (episode / "one_0.mcap").read_bytes() == before
    wrong = run(episode.parent, "label", "one", "--outcome", "maybe")
    assert isinstance(wrong.exception, DialtoneError)
    assert wrong.exception.exit_code == 2


def test_a_good_episode_verifies_and_is_removed_when_told(episode: Path) -> None:
    assert run(episode.parent, "verify", "one").exit_code == 0
    assert run(episode.parent, "rm", "one", "--yes").exit_code == 0
    assert not episode.exists()


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "no papers", "wrong count"])
def test_each_damage_is_found_and_named(episode: Path, damage: str) -> None:
    file = episode / "one_0.mcap"
    data = bytearray(file.read_bytes())
    if damage == "cut":
        file.write_bytes(data[: len(data) // 2])
    elif damage == "flip":
        data[len(data) // 3] ^= 0x40
        file.write_bytes(data)
    elif damage == "empty":
        file.write_bytes(b"")
    elif damage == "no papers":
        (episode / "metadata.yaml").unlink()
    else:
        text = (episode / "metadata.yaml").read_text()
        (episode / "metadata.yaml").write_text(
            text.replace("message_count: 1000", "message_count: 7")
        )
    after = file.read_bytes()
    problems = verify(episode)
    assert problems
    assert str(episode) in problems[0]
    assert run(episode.parent, "verify", "one").exit_code == 2
    assert file.read_bytes() == after


@pytest.mark.parametrize("content", [b"", b"junk", b"\x89MCAP0\r\n" + bytes(50)])
def test_counts_of_a_broken_file_raise_one_clear_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.mcap"
    path.write_bytes(content)
    with pytest.raises(DialtoneError, match=r"broken\.mcap"):
        episode_counts(path)


def test_a_bare_file_of_another_writer_is_counted_and_no_recording_of_ros(tmp_path: Path) -> None:
    path = tmp_path / "foreign.mcap"
    with path.open("wb") as stream:
        writer = Writer(stream)
        writer.start("other")
        schema = writer.register_schema("x", "jsonschema", b"{}")
        channel = writer.register_channel("/x", "json", schema)
        writer.add_message(channel, 5, b"{}", 5)
        writer.finish()
    assert episode_counts(path) == {"/x": 1}
    (problem,) = verify(path)
    assert "profile 'other', not ros2" in problem
