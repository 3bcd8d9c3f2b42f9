"""What lies before the start of an episode, bounded in seconds and bytes."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from dialtone_core.sample import Sample
from dialtone_recorder.preroll import Preroll
from dialtone_recorder.reader import episode_messages
from dialtone_recorder.session import Facts, Limits, Session
from dialtone_recorder.topics import Topic, qos_profile

S = 1_000_000_000
T0 = 1_700_000_000 * S
TEXT = Topic(
    "/text", "std_msgs/msg/String", "string data\n", (qos_profile("reliable", "volatile"),)
)
LATCHED = Topic("/map", "std_msgs/msg/String", "string data\n", latched=True)


def sample(topic: Topic, at_ns: int, size: int = 100) -> Sample:
    return Sample(topic.name, topic.type, "cdr", bytes(size), at_ns, at_ns, 1)


def filled(preroll: Preroll, seconds: int) -> int:
    for topic in (TEXT, LATCHED):
        preroll.add_topic(topic)
    preroll.put(sample(LATCHED, T0 - 3600 * S))
    for number in range(seconds * 10):
        preroll.put(sample(TEXT, T0 + number * S // 10))
    return T0 + seconds * S


def test_an_episode_begins_with_the_last_seconds_and_what_was_latched_long_ago(
    tmp_path: Path,
) -> None:
    preroll = Preroll(5.0, 10_000_000)
    now_ns = filled(preroll, 60)
    session = Session(tmp_path, Facts("one", "rover"), Limits(min_free_bytes=0))
    preroll.pour(session, now_ns)
    session.put(sample(TEXT, now_ns))
    session.finish()
    read = list(episode_messages(session.folder))
    session.release()
    assert len(read) == 50 + 1 + 1
    assert [each.topic for each in read].count("/map") == 1
    assert min(each.log_ns for each in read) == now_ns - 5 * S
    assert session.facts.preroll_s == 5.0
    assert preroll.bytes == 0


@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(0, 3000), max_size=60))
def test_its_bytes_are_bounded_whatever_comes(sizes: list[int]) -> None:
    preroll = Preroll(60.0, 5000)
    for topic in (TEXT, LATCHED):
        preroll.add_topic(topic)
    for number, size in enumerate(sizes):
        preroll.put(sample(TEXT, T0 + number, size))
        preroll.put(sample(LATCHED, T0 + number, size))
        assert preroll.bytes <= 2 * 5000


def test_a_message_larger_than_all_of_it_is_counted_and_kept_out() -> None:
    preroll = Preroll(60.0, 5000)
    preroll.add_topic(TEXT)
    preroll.put(sample(TEXT, T0, 100))
    preroll.put(sample(TEXT, T0, 6000))
    assert (preroll.dropped, preroll.bytes) == (1, 100)
