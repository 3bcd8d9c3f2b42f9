"""A drained subscription loses nothing in a burst and hands on DDS's bytes and stamps."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.serialization import serialize_message
from std_msgs.msg import String

from dialtone_core.sample import Sample
from dialtone_ros.drain import MAX_BURST, DrainedSubscription


@pytest.fixture
def node() -> Iterator[Node]:
    context = rclpy.Context()
    rclpy.init(context=context)
    made = Node("drain_test", context=context)
    yield made
    made.destroy_node()
    context.shutdown()


def _spin_until(node: Node, done: object, timeout_s: float = 5.0) -> None:
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    deadline = time.monotonic() + timeout_s
    while not done() and time.monotonic() < deadline:  # type: ignore[operator]
        executor.spin_once(timeout_sec=0.1)
    executor.remove_node(node)


def test_a_burst_arrives_whole_and_in_order_in_few_wake_ups(node: Node) -> None:
    samples: list[Sample] = []
    qos = QoSProfile(depth=1000)
    subscription = DrainedSubscription(
        node, "std_msgs/msg/String", String, "burst", qos, samples.append
    )
    publisher = node.create_publisher(String, "burst", qos)
    _spin_until(node, lambda: publisher.get_subscription_count() == 1)
    before_ns = time.time_ns()
    for number in range(500):
        publisher.publish(String(data=str(number)))
    wakes = 0

    def done() -> bool:
        nonlocal wakes
        wakes += 1
        return len(samples) == 500

    _spin_until(node, done)
    assert [each.payload for each in samples] == [
        bytes(serialize_message(String(data=str(number)))) for number in range(500)
    ]
    assert wakes < 50
    first = samples[0]
    assert (first.topic, first.type, first.encoding) == ("/burst", "std_msgs/msg/String", "cdr")
    assert before_ns <= first.publish_ns <= first.receive_ns <= time.time_ns()
    sequence = [each.seq for each in samples]
    assert sequence == list(range(sequence[0] or 0, (sequence[0] or 0) + 500))
    subscription.close()
    subscription.close()


def test_draining_before_the_end_hands_on_what_no_executor_has_seen(node: Node) -> None:
    samples: list[Sample] = []
    qos = QoSProfile(depth=1000)
    subscription = DrainedSubscription(
        node, "std_msgs/msg/String", String, "tail", qos, samples.append
    )
    publisher = node.create_publisher(String, "tail", qos)
    _spin_until(node, lambda: publisher.get_subscription_count() == 1)
    for number in range(300):
        publisher.publish(String(data=str(number)))
    assert publisher.wait_for_all_acked()
    subscription.drain()
    subscription.close()
    subscription.drain()
    assert len(samples) == 300


def test_a_subscription_may_close_itself_while_it_drains(node: Node) -> None:
    seen: list[bytes] = []

    def once(sample: Sample) -> None:
        seen.append(sample.payload)
        subscription.close()

    qos = QoSProfile(depth=10)
    subscription = DrainedSubscription(node, "std_msgs/msg/String", String, "once", qos, once)
    publisher = node.create_publisher(String, "once", qos)
    _spin_until(node, lambda: publisher.get_subscription_count() == 1)
    for number in range(5):
        publisher.publish(String(data=str(number)))
    _spin_until(node, lambda: bool(seen))
    assert len(seen) == 1


def test_what_waits_is_handed_on_in_lists_of_bounded_length(node: Node) -> None:
    bursts: list[list[Sample]] = []
    qos = QoSProfile(depth=1000)
    DrainedSubscription(node, "std_msgs/msg/String", String, "lists", qos, on_burst=bursts.append)
    publisher = node.create_publisher(String, "lists", qos)
    _spin_until(node, lambda: publisher.get_subscription_count() == 1)
    for number in range(2 * MAX_BURST + 1):
        publisher.publish(String(data=str(number)))
    _spin_until(node, lambda: sum(map(len, bursts)) == 2 * MAX_BURST + 1)
    assert max(map(len, bursts)) <= MAX_BURST
    numbers = [each.seq or 0 for burst in bursts for each in burst]
    assert numbers == sorted(set(numbers))
    assert len(bursts) < 100
