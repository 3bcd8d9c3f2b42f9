"""A session, its files and their recovery, without ROS."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.reader import make_reader
from rosbags.highlevel import AnyReader

from dialtone_core.clock import FakeClock
from dialtone_core.errors import ConfigError, DialtoneError
from dialtone_core.sample import Sample
from dialtone_recorder.closing import index_episode, publish
from dialtone_recorder.manifest import RECORDING, episode_name, read_episode, slug
from dialtone_recorder.rawfile import read_contents, seal
from dialtone_recorder.reader import episode_counts, episode_messages
from dialtone_recorder.recover import recover, recover_all
from dialtone_recorder.session import Facts, Limits, Session
from dialtone_recorder.stats import TopicStats
from dialtone_recorder.topics import Topic, TopicFilter, qos_profile

QOS = (qos_profile("reliable", "volatile"),)
TEXT = Topic("/text", "std_msgs/msg/String", "string data\n", QOS)
OTHER = Topic("/other", "std_msgs/msg/String", "string data\n", QOS)
HELLO = b"\x00\x01\x00\x00\x06\x00\x00\x00hello\x00"
START_NS = 1_700_000_000_000_000_000


def sample(number: int, topic: Topic = TEXT, payload: bytes = HELLO) -> Sample:
    stamp_ns = START_NS + number * 1_000_000
    return Sample(topic.name, topic.type, "cdr", payload, stamp_ns, stamp_ns + 500, number + 1)


def recorded(directory: Path, count: int, limits: Limits, *, size: int = 0) -> Session:
    """A session into which ``count`` samples were put, not finished yet."""
    session = Session(directory, Facts("one", "rover", "a task"), limits)
    session.add_topic(TEXT)
    session.add_topic(OTHER)
    payload = HELLO + bytes(size)
    for number in range(count):
        session.put(sample(number, TEXT if number % 2 else OTHER, payload))
    return session


NO_FLOOR = Limits(min_free_bytes=0)


def test_a_finished_session_reads_the_same_before_and_after_it_is_indexed(tmp_path: Path) -> None:
    session = recorded(tmp_path, 1001, NO_FLOOR)
    session.finish()
    before = sorted(episode_messages(session.folder))
    index_episode(session.folder)
    path = publish(session.folder)
    session.release()
    after = sorted(episode_messages(path))
    assert before == after
    assert [each.sequence for each in sorted(after, key=lambda each: each.log_ns)] == list(
        range(1, 1002)
    )
    assert episode_counts(path) == {"/text": 500, "/other": 501}
    with (path / "one_0.mcap").open("rb") as file:
        summary = make_reader(file, validate_crcs=True).get_summary()
    assert summary is not None
    assert {each.compression for each in summary.chunk_indexes} == {"zstd"}


def test_an_episode_splits_by_size_and_every_reader_sees_the_whole(tmp_path: Path) -> None:
    session = Session(
        tmp_path, Facts("one", "rover"), Limits(min_free_bytes=0, split_bytes=200_000)
    )
    session.add_topic(TEXT)
    for number in range(40):
        session.put(sample(number, payload=HELLO + bytes(50_000)))
        written = time.monotonic() + 5
        while session.waiting_bytes and time.monotonic() < written:
            time.sleep(0.001)
    session.finish()
    index_episode(session.folder)
    path = publish(session.folder)
    session.release()
    assert len(list(path.glob("*.mcap"))) > 3
    assert episode_counts(path) == {"/text": 40}
    with AnyReader([path]) as reader:
        assert sum(1 for _ in reader.messages()) == 40


def test_what_was_put_just_before_the_end_is_in_the_file(tmp_path: Path) -> None:
    """The end may fall anywhere into the writer's round, such as into its look at the disk."""
    for number in range(40):
        session = Session(tmp_path, Facts(f"n{number}", "rover"), NO_FLOOR)
        session.add_topic(TEXT)
        time.sleep(number * 0.001)  # the moment is what is varied, nothing is waited for
        session.put(sample(0))
        session.finish()
        assert session.messages == 1
        session.release()


def test_what_the_disk_cannot_follow_is_counted_as_lost(tmp_path: Path) -> None:
    limits = Limits(min_free_bytes=0, queue_bytes=10 * len(HELLO))
    session = recorded(tmp_path, 5000, limits)
    session.finish()
    assert session.lost > 0
    assert session.messages + session.lost == 5000
    assert read_episode(session.folder)["lost_recorder"] == session.lost
    session.release()


def test_a_full_disk_closes_the_file_and_keeps_what_was_on_it(tmp_path: Path) -> None:
    """The kernel's file size limit refuses a write just as a full disk does."""
    session = Session(tmp_path, Facts("one", "rover"), NO_FLOOR)
    session.add_topic(TEXT)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    try:
        for number in range(100):
            session.put(sample(number, payload=HELLO + bytes(50_000)))
            deadline = time.monotonic() + 5
            while session.waiting_bytes and not session.ended.is_set():
                assert time.monotonic() < deadline
                time.sleep(0.001)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    session.finish()
    assert "writing failed" in session.error
    assert session.messages + session.lost == 100
    index_episode(session.folder)
    path = publish(session.folder)
    session.release()
    assert 10 <= episode_counts(path)["/text"] == session.messages < 20
    assert read_episode(path)["closed_by"] == "disk_full"


def test_a_clock_that_steps_is_measured_and_nothing_is_lost(tmp_path: Path) -> None:
    clock = FakeClock(wall_ns=START_NS)
    session = Session(tmp_path, Facts("one", "rover"), NO_FLOOR, clock)
    session.add_topic(TEXT)
    for number in range(100):
        session.put(sample(number))
    clock.step_wall(-170.0)
    for number in range(100):
        session.put(sample(number - 170_000))
    clock.advance(2.0)
    deadline = time.monotonic() + 5
    while session.to_json()["clock"]["step_ns"] == 0:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    session.finish()
    index_episode(session.folder)
    path = publish(session.folder)
    session.release()
    facts = read_episode(path)
    assert facts["clock"]["step_ns"] == -170_000_000_000
    assert facts["duration_s"] == 2.0
    assert episode_counts(path) == {"/text": 200}
    assert facts["files"][0]["start_ns"] == START_NS - 170_000_000_000 + 500


def test_a_message_over_64_mb_and_one_beyond_the_queue_are_kept(tmp_path: Path) -> None:
    session = Session(
        tmp_path, Facts("one", "rover"), Limits(min_free_bytes=0, queue_bytes=1_000_000)
    )
    session.add_topic(TEXT)
    session.put(sample(0, payload=HELLO + bytes(70_000_000)))
    session.finish()
    index_episode(session.folder)
    path = publish(session.folder)
    session.release()
    (read,) = episode_messages(path)
    assert len(read.data) == len(HELLO) + 70_000_000


def test_the_disk_floor_ends_the_session_by_itself(tmp_path: Path) -> None:
    session = recorded(tmp_path, 10, Limits(min_free_bytes=1 << 60))
    assert session.ended.wait(5)
    session.finish()
    assert "the floor is" in session.error
    assert read_episode(session.folder)["closed_by"] == "disk_floor"
    assert sum(episode_counts(session.folder).values()) == 10
    session.release()


@settings(max_examples=25, deadline=None)
@given(cut=st.integers(0, 5000), tail=st.binary(max_size=40))
def test_a_file_cut_anywhere_keeps_every_whole_record(
    tmp_path_factory: pytest.TempPathFactory, cut: int, tail: bytes
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    session = recorded(folder, 100, NO_FLOOR)
    session.finish()
    path = session.folder / "one_0.mcap"
    whole = read_contents(path).end_offset
    data = path.read_bytes()[:whole]
    end = 8 + cut % (whole - 7)
    path.write_bytes(data[:end] + (b"\0" * len(tail)))
    contents = seal(path)
    assert seal(path).messages == contents.messages
    with path.open("rb") as file:
        read = list(make_reader(file).iter_messages())
    assert len(read) == contents.messages
    session.release()


@pytest.mark.parametrize("size", [0, 8, 11])
def test_a_recorder_killed_at_its_first_byte_leaves_an_empty_episode(
    tmp_path: Path, size: int
) -> None:
    session = recorded(tmp_path, 0, NO_FLOOR)
    session.finish()
    os.truncate(session.folder / "one_0.mcap", size)
    (session.folder / "episode.json").unlink()
    session.release()
    path = recover(session.folder)
    assert path is not None
    assert episode_counts(path) == {}
    assert read_episode(path)["recovered"]


def test_an_orphan_is_recovered_with_its_labels_and_marked(tmp_path: Path) -> None:
    session = recorded(tmp_path, 100, NO_FLOOR)
    session.finish()
    path = session.folder / "one_0.mcap"
    os.truncate(path, read_contents(path).end_offset - 5)
    facts = read_episode(session.folder)
    (session.folder / "metadata.yaml").unlink()
    (session.folder / "episode.json").write_text(
        '{"format": "dialtone.episode/1", "name": "one", "state": "recording", "task": "a task"}'
    )
    session.release()
    found = recover(tmp_path / ("one" + RECORDING))
    assert found == tmp_path / "one"
    assert facts["messages"] == 100
    again = read_episode(tmp_path / "one")
    assert again["recovered"]
    assert again["task"] == "a task"
    assert again["messages"] == 99 == sum(episode_counts(tmp_path / "one").values())


def test_a_folder_that_a_live_recorder_holds_is_left_alone(tmp_path: Path) -> None:
    session = recorded(tmp_path, 10, NO_FLOOR)
    assert recover(session.folder) is None
    assert list(recover_all(tmp_path)) == []
    session.finish()
    session.release()


def test_junk_beside_the_episodes_is_reported_and_stays(tmp_path: Path) -> None:
    folder = tmp_path / ("junk" + RECORDING)
    folder.mkdir()
    (folder / "junk_0.mcap").write_bytes(b"no mcap at all")
    (told,) = recover_all(tmp_path)
    assert "magic" in told["error"]
    assert (folder / "junk_0.mcap").read_bytes() == b"no mcap at all"


def test_an_episode_that_cannot_begin_says_where(tmp_path: Path) -> None:
    (tmp_path / ("one" + RECORDING)).mkdir()
    with pytest.raises(DialtoneError, match="cannot begin an episode"):
        Session(tmp_path, Facts("one", "rover"), NO_FLOOR)
    assert (tmp_path / ("one" + RECORDING)).is_dir()


def test_losses_are_read_from_sequence_gaps_and_a_restart_is_none() -> None:
    stats = TopicStats(TEXT)
    for at, seq in enumerate((5, 6, 9, 1, 2)):
        stats.update(at * 10, at * 10, seq, 1)
    assert stats.lost_transport == 2
    assert stats.max_gap_ns == 10


def test_filters_deny_over_allow_and_commands_over_both() -> None:
    wanted = TopicFilter([r"/robot2/.*"], [r".*/odom"], [r".*/Image"], "/robot2")
    said = {
        name: wanted.wants(name, kind)
        for name, kind in [
            ("/robot2/imu", "sensor_msgs/msg/Imu"),
            ("/robot2/odom", "nav_msgs/msg/Odometry"),
            ("/robot2/raw", "sensor_msgs/msg/Image"),
            ("/robot2/cmd_vel/nats", "geometry_msgs/msg/TwistStamped"),
            ("/robot2/teleop/applied", "geometry_msgs/msg/TwistStamped"),
            ("/elsewhere", "std_msgs/msg/String"),
            ("/robot2/fibonacci/_action/feedback", "x/msg/Y"),
        ]
    }
    assert Counter(said.values()) == {True: 3, False: 4}
    assert said["/robot2/imu"]
    assert said["/robot2/cmd_vel/nats"]
    with pytest.raises(ConfigError, match="topics_deny"):
        TopicFilter([], ["("])


def test_an_episode_is_named_by_time_robot_and_task() -> None:
    assert episode_name(START_NS, "rover", "Pick up the cup!") == (
        "20231114-221320_rover_pick-up-the-cup"
    )
    assert episode_name(START_NS, "rover") == "20231114-221320_rover"
    assert slug("Ünï / ..") == "n"
