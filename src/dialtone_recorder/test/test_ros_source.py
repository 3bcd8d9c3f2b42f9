"""Odd publishers, over real DDS: what they sent is what is recorded, both ends included."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from std_msgs.msg import Int32, String, UInt8MultiArray

from dialtone_recorder.control import Recorder
from dialtone_recorder.gate import Gate
from dialtone_recorder.preroll import Preroll
from dialtone_recorder.reader import Recorded, episode_messages
from dialtone_recorder.ros_source import RosSource
from dialtone_recorder.session import Limits
from dialtone_recorder.topics import TopicFilter
from dialtone_ros.executor import DrainingExecutor

DEADLINE_S = 15.0
LATCHED = QoSProfile(depth=5, durability=DurabilityPolicy.TRANSIENT_LOCAL)
VOLATILE = QoSProfile(depth=2000)


async def until(what: str, ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not ready():
        assert time.monotonic() < deadline, f"never happened: {what}"
        await asyncio.sleep(0.01)


class Rig:
    """A recorder's source in one ROS context and publishers in another."""

    def __init__(self, directory: Path, preroll: Preroll | None) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.listener = Node("listener", context=self.context)
        self._executor = DrainingExecutor(context=self.context)
        self._executor.add_node(self.listener)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()
        self.theirs = rclpy.Context()
        rclpy.init(context=self.theirs)
        self.node = Node("talker", context=self.theirs)
        gate = Gate({})
        wanted = TopicFilter(["/t/.*"])
        self.source = RosSource(self.listener, wanted, 0.1, 2000, gate)
        self.recorder = Recorder(
            directory, "rover", self.source, Limits(min_free_bytes=0), gate=gate, preroll=preroll
        )

    def _spin(self) -> None:
        with contextlib.suppress(ExternalShutdownException):
            self._executor.spin()

    def publisher(self, kind: type[Any], name: str, qos: QoSProfile) -> Publisher:
        return self.node.create_publisher(kind, name, qos)

    async def heard(self, *publishers: Publisher) -> None:
        """Both ends have matched: what is published from now on arrives."""

        def matched() -> bool:
            listening = [
                each._subscription.get_publisher_count()
                for recorded in list(self.source._recorded.values())
                for each in list(recorded._subscriptions.values())
                if each._subscription is not None
            ]
            return all(p.get_subscription_count() for p in publishers) and all(listening)

        await until("discovery", matched)

    async def stop(self) -> dict[str, list[Recorded]]:
        """Stop, and return what the closed episode holds, by topic."""
        path = (await self.recorder.stop({}))["path"]
        found: dict[str, list[Recorded]] = {}
        for each in episode_messages(path):
            found.setdefault(each.topic, []).append(each)
        return found

    async def close(self) -> None:
        await self.recorder.aclose(5.0)
        self._executor.shutdown()
        self.node.destroy_node()
        self.listener.destroy_node()
        rclpy.shutdown(context=self.theirs)
        rclpy.shutdown(context=self.context)
        self._thread.join(5)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    made = Rig(tmp_path, None)
    yield made
    await made.close()


@pytest.fixture
async def keeping(tmp_path: Path) -> AsyncIterator[Rig]:
    """A rig with a pre-roll of 60 s."""
    made = Rig(tmp_path, Preroll(60.0, 1_000_000))
    running = asyncio.create_task(made.recorder.run())
    yield made
    running.cancel()
    await made.close()


def texts(read: list[Recorded]) -> list[str]:
    return [deserialize_message(each.data, String).data for each in read]


async def test_what_is_published_until_the_moment_of_the_stop_is_recorded(rig: Rig) -> None:
    publisher = rig.publisher(String, "t/text", VOLATILE)
    await rig.recorder.start({})
    await rig.heard(publisher)
    for number in range(1500):
        publisher.publish(String(data=str(number)))
    assert publisher.wait_for_all_acked()
    assert texts((await rig.stop())["/t/text"]) == [str(number) for number in range(1500)]


async def test_a_publisher_that_comes_back_with_another_type_is_recorded_as_both(rig: Rig) -> None:
    first = rig.publisher(String, "t/odd", VOLATILE)
    await rig.recorder.start({})
    await rig.heard(first)
    for _ in range(10):
        first.publish(String(data="text"))
    assert first.wait_for_all_acked()
    rig.node.destroy_publisher(first)
    second = rig.publisher(Int32, "t/odd", VOLATILE)
    await rig.heard(second)
    for number in range(20):
        second.publish(Int32(data=number))
    assert second.wait_for_all_acked()
    read = (await rig.stop())["/t/odd"]
    assert [each.type for each in read] == ["std_msgs/msg/String"] * 10 + [
        "std_msgs/msg/Int32"
    ] * 20


@pytest.mark.parametrize("volatile_first", [True, False])
async def test_latched_and_volatile_publishers_of_one_topic_are_both_heard_once(
    rig: Rig, volatile_first: bool
) -> None:
    await rig.recorder.start({})
    qos = [VOLATILE, LATCHED] if volatile_first else [LATCHED, VOLATILE]
    publishers = []
    for each in qos:
        publishers.append(rig.publisher(String, "t/mixed", each))
        if each is LATCHED:
            publishers[-1].publish(String(data="latched"))
        await rig.heard(*publishers)
    for number in range(5):
        for each in publishers:
            each.publish(String(data=str(number)))
    assert all(each.wait_for_all_acked() for each in publishers)
    await until("all", lambda: rig.recorder.session is not None
                and rig.recorder.session.messages >= 11)  # fmt: skip
    read = texts((await rig.stop())["/t/mixed"])
    assert sorted(read) == sorted(["latched"] + [str(n) for n in range(5) for _ in range(2)])


async def test_a_best_effort_publisher_beside_a_reliable_one_is_heard(rig: Rig) -> None:
    reliable = rig.publisher(String, "t/two", VOLATILE)
    await rig.recorder.start({})
    await rig.heard(reliable)
    loose = rig.publisher(
        String, "t/two", QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
    )
    await rig.heard(loose)
    loose.publish(String(data="loose"))
    reliable.publish(String(data="reliable"))
    await until("both", lambda: rig.recorder.session is not None
                and rig.recorder.session.messages >= 2)  # fmt: skip
    assert sorted(texts((await rig.stop())["/t/two"])) == ["loose", "reliable"]


async def test_5000_tiny_messages_a_second_lose_none(rig: Rig) -> None:
    publisher = rig.publisher(Int32, "t/tiny", VOLATILE)
    await rig.recorder.start({})
    await rig.heard(publisher)

    def flood() -> bool:
        began = time.monotonic()
        for burst in range(100):
            for number in range(100):
                publisher.publish(Int32(data=burst * 100 + number))
            time.sleep(max(0.0, began + (burst + 1) * 0.02 - time.monotonic()))
        return bool(publisher.wait_for_all_acked())

    assert await asyncio.to_thread(flood)
    read = (await rig.stop())["/t/tiny"]
    assert [deserialize_message(each.data, Int32).data for each in read] == list(range(10_000))


async def test_a_message_over_64_mb_is_recorded_whole(rig: Rig) -> None:
    publisher = rig.publisher(UInt8MultiArray, "t/huge", QoSProfile(depth=1))
    await rig.recorder.start({})
    await rig.heard(publisher)
    size = 66_000_000
    publisher.publish(UInt8MultiArray(data=bytes(size)))
    await until("it arrives", lambda: rig.recorder.session is not None
                and rig.recorder.session.messages == 1)  # fmt: skip
    (read,) = (await rig.stop())["/t/huge"]
    assert len(read.data) > size


async def test_the_preroll_and_what_follows_are_one_stream_without_a_seam(keeping: Rig) -> None:
    publisher = keeping.publisher(Int32, "t/count", VOLATILE)
    latched = keeping.publisher(String, "t/map", LATCHED)
    latched.publish(String(data="a map"))
    await keeping.heard(publisher, latched)
    sent = 0
    began = asyncio.Event()

    async def count() -> None:
        nonlocal sent
        while not began.is_set() or sent < 500:
            publisher.publish(Int32(data=sent))
            sent += 1
            await asyncio.sleep(0.001)

    counting = asyncio.create_task(count())
    await until("some came before", lambda: sent > 100)
    started = await keeping.recorder.start({})
    began.set()
    await counting
    assert publisher.wait_for_all_acked()
    found = await keeping.stop()
    read = [deserialize_message(each.data, Int32).data for each in found["/t/count"]]
    assert read == list(range(sent))
    assert texts(found["/t/map"]) == ["a map"]
    assert started["preroll_s"] > 0.1


async def test_a_snapshot_is_an_episode_of_what_has_just_happened(keeping: Rig) -> None:
    publisher = keeping.publisher(Int32, "t/count", VOLATILE)
    await keeping.heard(publisher)
    for number in range(50):
        publisher.publish(Int32(data=number))
    assert publisher.wait_for_all_acked()
    made = await keeping.recorder.snapshot({"task": "what was that"})
    assert made["messages"] == 50
    assert made["path"].endswith("_what-was-that")
    assert not (await keeping.recorder.status({}))["recording"]
    assert len(list(episode_messages(made["path"]))) == 50
