"""trim, split, merge, show, verify and replay: on good recordings, and on bad ones."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import cv2
import numpy as np
import orjson
import pytest
import rclpy
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.serialization import serialize_message
from rosbags.highlevel import AnyReader
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import String
from typer.testing import CliRunner, Result

from dialtone_core.errors import DialtoneError
from dialtone_core.sample import Sample
from dialtone_recorder.closing import index_episode, publish
from dialtone_recorder.intake import Intake
from dialtone_recorder.keys import Keys
from dialtone_recorder.manifest import read_episode
from dialtone_recorder.playback import Playback, is_command, replayable
from dialtone_recorder.reader import episode_messages
from dialtone_recorder.ros_replay import Replay, qos_of
from dialtone_recorder.ros_topic import describe
from dialtone_recorder.session import Facts, Limits, Session
from dialtone_recorder.topics import Topic, qos_profile
from dialtone_recorder.verbs.episodes import app
from dialtone_recorder.verify import verify
from dialtone_ros.drain import DrainedSubscription
from dialtone_ros.types import message_definition

S = 1_000_000_000
T0 = 1_700_000_000 * S
PLAIN = (qos_profile("reliable", "volatile", depth=10),)
LATCHED = (qos_profile("reliable", "transient_local", depth=1),)
STRING, IMAGE = "std_msgs/msg/String", "sensor_msgs/msg/CompressedImage"
TEXT = Topic("/text", STRING, message_definition(STRING), PLAIN)
MAP = Topic("/map", STRING, message_definition(STRING), LATCHED, latched=True)
CAMERA = Topic("/camera", IMAGE, message_definition(IMAGE), PLAIN)
COMMAND = Topic("/cmd_vel", STRING, message_definition(STRING), PLAIN)


def text(words: str) -> bytes:
    return bytes(serialize_message(String(data=words)))


def picture(number: int) -> bytes:
    pixels = np.full((48, 64, 3), (number * 5 % 256, 90, 200), np.uint8)
    message = CompressedImage(format="jpeg", data=cv2.imencode(".jpg", pixels)[1].tobytes())
    message.header.stamp.sec = 1_700_000_000
    return bytes(serialize_message(message))


def record(directory: Path, name: str, start_ns: int = T0, seconds: int = 10) -> Path:
    """10 texts and 5 pictures a second, a command a second, and one latched map."""
    facts = Facts(name, "rover", "a task", tags=["night"])
    session = Session(directory, facts, Limits(min_free_bytes=0))
    for topic in (TEXT, MAP, CAMERA, COMMAND):
        session.add_topic(topic)

    def put(topic: Topic, at_ns: int, data: bytes, seq: int) -> None:
        session.put(Sample(topic.name, topic.type, "cdr", data, at_ns - 1000, at_ns, seq))

    put(MAP, start_ns, text("a map"), 1)
    for number in range(seconds * 10):
        at_ns = start_ns + number * S // 10
        put(TEXT, at_ns, text(str(number)), number + 1)
        if number % 2 == 0:
            put(CAMERA, at_ns, picture(number), number // 2 + 1)
        if number % 10 == 0:
            put(COMMAND, at_ns, text("go"), number // 10 + 1)
    session.finish()
    index_episode(session.folder)
    session.release()
    return publish(session.folder)


@pytest.fixture
def episode(tmp_path: Path) -> Path:
    return record(tmp_path, "one")


def run(directory: Path, *words: str) -> Result:
    return CliRunner().invoke(app, [*words, "--directory", str(directory)])


def texts(path: Path) -> list[str]:
    return [each.data[8:-1].decode() for each in episode_messages(path, ["/text"])]


def test_a_trimmed_episode_holds_that_time_and_what_was_latched_before(episode: Path) -> None:
    done = run(episode.parent, "trim", "one", "--start", "2", "--end", "5", "--out", "middle")
    assert done.exit_code == 0, done.output
    made = episode.parent / "middle"
    assert texts(made) == [str(number) for number in range(20, 50)]
    (latched,) = episode_messages(made, ["/map"])
    assert latched.log_ns == T0 + 2 * S
    facts = read_episode(made)
    assert (facts["task"], facts["tags"], facts["derived"]["by"]) == ("a task", ["night"], "trim")
    assert facts["lost_transport"] == 0
    assert verify(made) == []
    with AnyReader([made]) as reader:
        assert sum(1 for _ in reader.messages()) == facts["messages"] == 30 + 15 + 3 + 1


def test_trimming_by_topic_leaves_the_others_out(episode: Path) -> None:
    assert run(episode.parent, "trim", "one", "-t", "/te.*", "-o", "texts").exit_code == 0
    assert {each.topic for each in episode_messages(episode.parent / "texts")} == {"/text"}


def test_split_parts_merge_into_what_they_came_from(episode: Path) -> None:
    assert run(episode.parent, "split", "one", "--every", "3").exit_code == 0
    parts = sorted(episode.parent.glob("one-part*"))
    assert [each.name for each in parts] == [f"one-part{n}" for n in range(1, 5)]
    assert [len(texts(each)) for each in parts] == [30, 30, 30, 10]
    assert all(verify(each) == [] for each in parts)
    merged = run(episode.parent, "merge", *map(str, parts), "-o", "again")
    assert merged.exit_code == 0, merged.output
    assert texts(episode.parent / "again") == texts(episode)
    assert verify(episode.parent / "again") == []


def test_nothing_that_exists_is_replaced(episode: Path) -> None:
    other = record(episode.parent, "other")
    before = {path: path.read_bytes() for path in episode.parent.rglob("*") if path.is_file()}
    for words in (
        ("trim", "one", "-o", "other"), ("merge", "one", "other", "-o", "one"),
        ("show", "one", "--plot", str(other / "episode.json")),
    ):  # fmt: skip
        refused = run(episode.parent, *words)
        assert isinstance(refused.exception, DialtoneError), words
        assert "exists already" in str(refused.exception)
    run(episode.parent, "split", "one", "--at", "5", "-o", "part")
    again = run(episode.parent, "split", "one", "--at", "5", "-o", "part")
    assert "exists already" in str(again.exception)
    assert all(path.read_bytes() == data for path, data in before.items())


def test_what_cannot_be_cut_is_said(episode: Path) -> None:
    for words in (("trim", "one", "--start", "11"), ("trim", "one", "--start", "5", "--end", "4"),
                  ("split", "one"), ("split", "one", "--at", "99")):  # fmt: skip
        refused = run(episode.parent, *words)
        assert isinstance(refused.exception, DialtoneError), words
        assert "9.900 s long" in str(refused.exception)


def test_show_tells_gaps_and_clocks_and_draws_a_picture(episode: Path) -> None:
    png = episode.parent / "one.png"
    told = run(episode.parent, "show", "one", "--json", "--plot", str(png))
    assert told.exit_code == 0, told.output
    topics = {each["name"]: each for each in orjson.loads(told.output)["topics"]}
    assert topics["/text"]["gap_histogram"] == [99, 0, 0, 0, 0]
    assert topics["/text"]["publish_offset_s"] == [1e-06, 1e-06]
    assert topics["/camera"]["header_offset_s"][1] == 9.8
    image = cv2.imread(str(png))
    assert image is not None
    assert image.shape[1] == 1600
    assert (image[:, :, 0].astype(int) != 255).mean() > 0.05


def test_a_message_that_is_not_its_type_is_found(tmp_path: Path) -> None:
    session = Session(tmp_path, Facts("bad", "rover"), Limits(min_free_bytes=0))
    session.add_topic(TEXT)
    broken = b"\0\1\0\0" + struct.pack("<I", 500) + b"short\0"
    session.put(Sample("/text", STRING, "cdr", broken, T0, T0, 1))
    session.finish()
    index_episode(session.folder)
    session.release()
    (problem,) = verify(publish(session.folder))
    assert "/text: message received at" in problem


def test_commands_are_known_by_name_and_by_type() -> None:
    twist = "geometry_msgs/msg/TwistStamped"
    assert is_command("/robot2/cmd_vel/nats", twist)
    assert is_command("/drive", "ackermann_msgs/msg/AckermannDriveStamped")
    assert is_command("/arm/joint_command", "std_msgs/msg/Float64MultiArray")
    assert not is_command("/teleop/applied", twist)
    assert not is_command("/odom", "nav_msgs/msg/Odometry")
    assert not replayable("/rosout", "rcl_interfaces/msg/Log", commands=True)
    assert replayable("/cmd_vel", twist, commands=True)


def test_playback_keeps_time_through_pause_seek_and_speed(episode: Path) -> None:
    play = Playback(Intake(episode), ["/text"], 2.0, 1.0, 0)
    assert play.wait_s(0) == 0
    assert play.take().log_ns == T0 + S
    assert play.wait_s(0) == pytest.approx(0.05)
    play.pause(True, S)
    assert play.position_s(50 * S) == pytest.approx(3.0)
    play.pause(False, 60 * S)
    assert play.position_s(60 * S) == pytest.approx(3.0)
    play.seek(5.0, 60 * S)
    assert play.take().log_ns == T0 + 8 * S
    play.rate(0.5, 61 * S)
    assert play.position_s(62 * S) == pytest.approx(9.9)


def test_a_replay_publishes_the_recorded_bytes_with_the_recorded_qos(episode: Path) -> None:
    intake = Intake(episode)
    kept = [each for each in intake.topics.values() if replayable(each.name, each.type, False)]
    player = Replay(intake, kept)
    context = rclpy.Context()
    rclpy.init(context=context)
    node = Node("listener", context=context)
    heard: list[Sample] = []
    try:
        listening = [
            DrainedSubscription(node, each.type, kind, each.name, _qos(each), heard.append)
            for each, kind in ((TEXT, String), (MAP, String), (COMMAND, String))
        ]
        player.wait_for_subscribers(0.0)
        deadline = time.monotonic() + 10
        while not all(each._subscription.get_publisher_count() for each in listening[:2]):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        began = time.monotonic()
        player.run(20.0, 0.0, None, Keys(None), lambda at, state: None)
        took_s = time.monotonic() - began
        for each in player._publishers.values():
            each.wait_for_all_acked()
        for subscription in listening:
            subscription.drain()
    finally:
        player.close()
        node.destroy_node()
        rclpy.shutdown(context=context)
    assert 0.45 < took_s < 5.0  # 10 s at 20 times the speed, on a machine that may be busy
    by_topic = {name: [e.payload for e in heard if e.topic == name] for name in ("/text", "/map")}
    assert by_topic["/text"] == [text(str(number)) for number in range(100)]
    assert by_topic["/map"] == [text("a map")]
    assert not [each for each in heard if each.topic == "/cmd_vel"]


def test_a_replay_offers_every_policy_that_the_publisher_offered() -> None:
    """Compared as DDS tells of both publishers to a third party."""
    context = rclpy.Context()
    rclpy.init(context=context)
    node = Node("both", context=context)
    qos = rclpy.qos.QoSProfile(
        depth=7, reliability=rclpy.qos.ReliabilityPolicy.BEST_EFFORT,
        durability=rclpy.qos.DurabilityPolicy.TRANSIENT_LOCAL,
        deadline=Duration(seconds=1, nanoseconds=500), lifespan=Duration(seconds=20),
        liveliness=rclpy.qos.LivelinessPolicy.MANUAL_BY_TOPIC,
        liveliness_lease_duration=Duration(seconds=3),
    )  # fmt: skip
    try:
        topics = []
        for name, offered in (("odd", qos), ("plain", rclpy.qos.QoSProfile(depth=1))):
            node.create_publisher(String, name, offered)
            topics.append(_as_seen(node, f"/{name}"))
        for topic in topics:
            node.create_publisher(String, f"again{topic.name}", qos_of(topic))
            assert _as_seen(node, f"/again{topic.name}").qos == topic.qos
        assert topics[0].qos[0]["deadline"] == {"sec": 1, "nsec": 500}
        assert topics[0].qos[0]["liveliness"] == "manual_by_topic"
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)


def _as_seen(node: Node, name: str) -> Topic:
    deadline = time.monotonic() + 10
    while not (infos := node.get_publishers_info_by_topic(name)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return describe(name, STRING, infos)


def _qos(topic: Topic) -> rclpy.qos.QoSProfile:
    durability = rclpy.qos.DurabilityPolicy.TRANSIENT_LOCAL if topic.latched else (
        rclpy.qos.DurabilityPolicy.VOLATILE
    )  # fmt: skip
    return rclpy.qos.QoSProfile(depth=1000, durability=durability)
