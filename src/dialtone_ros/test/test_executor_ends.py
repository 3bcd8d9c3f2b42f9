"""What comes, goes, fails and ends while our executor spins."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from rclpy.executors import ExternalShutdownException
from rclpy.qos import QoSProfile
from rclpy.serialization import serialize_message
from spinning_rig import KIND, Spinning
from std_msgs.msg import String

from dialtone_core.sample import Sample
from dialtone_ros.drain import DrainedSubscription


def test_what_comes_and_goes_while_it_spins_is_seen_and_let_go(spinning: Spinning) -> None:
    """From another thread, from rclpy's callbacks and from a drained subscription's own."""
    node = spinning.node
    publisher = node.create_publisher(String, "hot", 10)
    spinning.start()
    for _ in range(20):
        heard: list[Sample] = []
        made = DrainedSubscription(node, *KIND, "hot", QoSProfile(depth=10), heard.append)
        spinning.until(lambda: publisher.get_subscription_count() == 1)
        publisher.publish(String(data="x"))
        spinning.until(heard.copy)
        assert heard[0].payload == serialize_message(String(data="x"))
        spinning.executor.create_task(made.close)
        spinning.until(lambda: publisher.get_subscription_count() == 0)


def test_a_drained_subscription_that_closes_itself_and_others_is_let_go(
    spinning: Spinning,
) -> None:
    node, heard = spinning.node, []
    qos = QoSProfile(depth=10)

    def end_all(sample: Sample) -> None:
        heard.append(sample.topic)
        for each in all_of_them:
            each.close()
        node.create_timer(0.01, lambda: heard.append("timer"))

    all_of_them = [DrainedSubscription(node, *KIND, "hot", qos, end_all) for _ in range(3)]
    publisher = node.create_publisher(String, "hot", qos)
    spinning.until(lambda: publisher.get_subscription_count() == 3)
    publisher.publish(String(data="x"))
    publisher.publish(String(data="y"))
    spinning.start()
    spinning.until(lambda: publisher.get_subscription_count() == 0)
    spinning.until(lambda: heard.count("timer") > 3)
    assert heard.count("/hot") == 1


def test_what_was_ready_and_is_destroyed_by_another_is_left_alone(spinning: Spinning) -> None:
    """A timer and a drained subscription that a drained one destroys at the same wake-up."""
    node, heard = spinning.node, []

    def end(sample: Sample) -> None:
        heard.append(sample.topic)
        node.destroy_timer(timer)
        node.destroy_subscription(other._subscription)

    qos = QoSProfile(depth=10)
    DrainedSubscription(node, *KIND, "first", qos, end)
    other = DrainedSubscription(node, *KIND, "second", qos, lambda each: heard.append(each.topic))
    timer = node.create_timer(0.01, lambda: heard.append("timer"))
    publishers = [node.create_publisher(String, each, qos) for each in ("first", "second")]
    spinning.until(lambda: all(each.get_subscription_count() for each in publishers))
    for each in publishers:
        each.publish(String(data="x"))
    time.sleep(0.1)
    spinning.start()
    spinning.until(lambda: publishers[1].get_subscription_count() == 0)
    time.sleep(1.0)
    assert heard == ["/first"]
    spinning.close()
    assert spinning.cpu_s < 0.3  # what was destroyed keeps nobody awake


@pytest.mark.parametrize("what", ["executor", "context"])
@pytest.mark.parametrize("who", ["timer", "task", "drained"])
def test_an_end_that_a_callback_asks_for_comes_before_the_next(
    spinning: Spinning, what: str, who: str
) -> None:
    node, after = spinning.node, []
    end = spinning.executor.shutdown if what == "executor" else spinning.context.shutdown
    qos = QoSProfile(depth=10)

    def end_once(*_: Any) -> None:
        if after:
            after.append("more")
            return
        after.append("end")
        end()

    if who == "drained":
        for _ in range(3):
            DrainedSubscription(node, *KIND, "hot", qos, end_once)
        publisher = node.create_publisher(String, "hot", qos)
        spinning.until(lambda: publisher.get_subscription_count() == 3)
        publisher.publish(String(data="x"))
    elif who == "timer":
        for _ in range(3):
            node.create_timer(0.01, end_once)
    else:
        for _ in range(3):
            spinning.executor.create_task(end_once)
    time.sleep(0.1)
    spinning.start()
    spinning.until(lambda: not spinning.thread.is_alive())
    assert spinning.failure is None
    assert after == ["end"]


def test_what_another_spin_left_over_is_run(spinning: Spinning) -> None:
    node, heard = spinning.node, []
    guards = [node.create_guard_condition(lambda n=n: heard.append(n)) for n in (1, 2)]
    for each in guards:
        each.trigger()
    spinning.executor.spin_once(timeout_sec=1)
    while len(heard) != 1:
        spinning.executor.spin_once(timeout_sec=1)
    spinning.start()
    spinning.until(lambda: sorted(heard) == [1, 2])


@pytest.mark.parametrize("hot", [False, True])
def test_a_callback_that_fails_ends_the_spin_with_its_error(spinning: Spinning, hot: bool) -> None:
    def fail(_: Any) -> None:
        raise ValueError("on purpose")

    if hot:
        DrainedSubscription(spinning.node, *KIND, "bad", QoSProfile(depth=1), fail)
    else:
        spinning.node.create_subscription(String, "bad", fail, 1)
    publisher = spinning.node.create_publisher(String, "bad", 1)
    spinning.start()
    spinning.until(lambda: publisher.get_subscription_count() == 1)
    publisher.publish(String(data="x"))
    spinning.until(lambda: spinning.failure)
    assert isinstance(spinning.failure, ValueError)


def test_the_context_s_end_ends_it_as_rclpy_s_own(spinning: Spinning) -> None:
    spinning.start()
    spinning.until(spinning.thread.is_alive)
    time.sleep(0.1)
    spinning.context.shutdown()
    spinning.until(lambda: not spinning.thread.is_alive())
    assert spinning.failure is None or isinstance(spinning.failure, ExternalShutdownException)


def test_its_shutdown_waits_for_the_callback_that_runs(spinning: Spinning) -> None:
    entered, leave = threading.Event(), threading.Event()

    def slow() -> None:
        entered.set()
        leave.wait(5)

    spinning.node.create_timer(0.01, slow)
    spinning.start()
    assert entered.wait(5)
    assert not spinning.executor.shutdown(timeout_sec=0.1)
    assert spinning.thread.is_alive()
    leave.set()
    spinning.thread.join(5)
    assert spinning.failure is None
    assert spinning.executor.shutdown()


def test_ends_of_nodes_executors_and_contexts_may_meet() -> None:
    """In any order and at once, as tests and launch files end them."""
    for number in range(30):
        made = Spinning()
        DrainedSubscription(made.node, *KIND, "hot", QoSProfile(depth=1), lambda _: None)
        made.start()
        time.sleep(0.002 * (number % 10))
        ends = [made.executor.shutdown, made.node.destroy_node, made.context.shutdown]
        for end in ends[number % 3 :] + ends[: number % 3]:
            end()
        made.thread.join(5)
        assert not made.thread.is_alive()
        assert made.failure is None or isinstance(made.failure, ExternalShutdownException)
