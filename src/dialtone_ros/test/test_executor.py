"""Our executor runs what rclpy's does, and sleeps well."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from rclpy.task import Future
from spinning_rig import KIND, Spinning
from std_msgs.msg import String
from std_srvs.srv import Trigger

from dialtone_ros import executor as executor_module
from dialtone_ros.drain import DrainedSubscription


def _echo(request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
    response.success, response.message = True, "here"
    return response


def test_everything_that_a_node_can_have_gets_its_turn(spinning: Spinning) -> None:
    node, seen = spinning.node, dict.fromkeys(("timer", "heard", "drained", "guard"), 0)

    def count(name: str) -> Callable[..., None]:
        def counted(*_: Any) -> None:
            seen[name] += 1

        return counted

    node.create_timer(0.01, count("timer"))
    node.create_subscription(String, "plain", count("heard"), 10)
    DrainedSubscription(node, *KIND, "hot", QoSProfile(depth=10), count("drained"))
    guard = node.create_guard_condition(count("guard"))
    node.create_service(Trigger, "here", _echo)
    client = node.create_client(Trigger, "here")
    publishers = [node.create_publisher(String, each, 10) for each in ("plain", "hot")]
    spinning.start()
    spinning.until(lambda: all(each.get_subscription_count() for each in publishers))
    assert client.wait_for_service(5.0)
    for number in range(1, 20):
        for each in publishers:
            each.publish(String(data="x"))
        guard.trigger()
        answer = client.call_async(Trigger.Request())
        spinning.until(answer.done)
        assert answer.result().message == "here"
        spinning.until(lambda n=number: min(seen.values()) >= n)
    assert seen["heard"] == seen["drained"] == 19


def test_a_task_and_a_callback_that_waits_for_an_answer_end(spinning: Spinning) -> None:
    node = spinning.node
    node.create_service(Trigger, "here", _echo)
    client = node.create_client(Trigger, "here")
    awaited: Future[None] = Future()
    answers: list[str] = []

    async def ask() -> None:
        answers.append((await client.call_async(Trigger.Request())).message)

    group = ReentrantCallbackGroup()  # else the answer waits for whoever awaits it
    timer = node.create_timer(0.05, ask, callback_group=group)
    spinning.start()
    spinning.until(lambda: len(answers) > 2)
    timer.cancel()

    async def wait() -> str:
        await awaited
        ticks.append(node.create_timer(0.01, lambda: ticks.append(None)))
        return "awaited"

    ticks: list[Any] = []
    waiting = spinning.executor.create_task(wait)
    time.sleep(0.1)
    assert not waiting.done()
    awaited.set_result(None)
    spinning.executor.wake()  # as with rclpy's own, the future of somebody else wakes nobody
    spinning.until(waiting.done)
    assert waiting.result() == "awaited"
    spinning.until(lambda: len(ticks) > 5)
    task = spinning.executor.create_task(lambda: 7)
    spinning.until(task.done)
    assert task.result() == 7


@pytest.mark.parametrize("kind", ["timer", "drained"])
def test_a_group_whose_callback_awaits_waits_and_sleeps(spinning: Spinning, kind: str) -> None:
    node, heard = spinning.node, []
    answer: Future[None] = Future()

    async def ask() -> None:
        asking.cancel()
        await answer

    asking = node.create_timer(0.01, ask)
    publisher = node.create_publisher(String, "hot", 10)
    spinning.start()
    time.sleep(0.2)
    if kind == "timer":
        node.create_timer(0.01, lambda: heard.append("timer"))
    else:
        DrainedSubscription(node, *KIND, "hot", QoSProfile(depth=10), heard.append)
        spinning.until(lambda: publisher.get_subscription_count() == 1)
        publisher.publish(String(data="x"))
    time.sleep(1.0)
    assert not heard
    answer.set_result(None)
    spinning.executor.wake()
    spinning.until(lambda: heard)
    spinning.close()
    assert spinning.cpu_s < 0.5


def test_qos_that_does_not_fit_is_told(spinning: Spinning) -> None:
    node = spinning.node
    latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
    told: list[Any] = []
    events = SubscriptionEventCallbacks(incompatible_qos=told.append)
    spinning.start()
    node.create_subscription(String, "odd", lambda _: None, latched, event_callbacks=events)
    node.create_publisher(String, "odd", 1)
    spinning.until(lambda: told)


def test_it_sleeps_when_nothing_happens(spinning: Spinning) -> None:
    DrainedSubscription(spinning.node, *KIND, "hot", QoSProfile(depth=1), lambda _: None)
    spinning.node.create_timer(0.1, lambda: None)
    spinning.start()
    time.sleep(2.0)
    spinning.executor.shutdown()
    spinning.thread.join(5)
    assert 0 < spinning.cpu_s < 0.3


def test_a_flood_is_gathered_and_all_else_on_the_node_has_its_turn(spinning: Spinning) -> None:
    """Ends once 50 gatherings were seen, whenever the machine got round to them."""
    node, flood = spinning.node, spinning.executor.flood
    numbers: list[int] = []
    calm: list[bytes] = []
    ticks: list[int] = []
    qos = QoSProfile(depth=1000)
    DrainedSubscription(node, *KIND, "flood", qos, lambda each: numbers.append(each.seq or 0))
    DrainedSubscription(node, *KIND, "calm", qos, lambda each: calm.append(each.payload))
    node.create_timer(0.002, lambda: ticks.append(flood.gathered))
    loud, quiet = (node.create_publisher(String, name, qos) for name in ("flood", "calm"))
    spinning.start()
    spinning.until(lambda: loud.get_subscription_count() + quiet.get_subscription_count() == 2)
    done = threading.Event()

    def publish() -> None:
        number = 0
        while not done.is_set():
            for _ in range(5):
                loud.publish(String(data="x"))
            if number % 20 == 0:
                quiet.publish(String(data=str(number)))
            number += 1
            time.sleep(0.001)

    publisher = threading.Thread(target=publish)
    publisher.start()
    try:
        spinning.until(lambda: flood.gathered > 50 and len(calm) > 3, 30)
    finally:
        done.set()
        publisher.join()
    assert len({gathered for gathered in ticks if 0 < gathered < 50}) > 10
    assert numbers == sorted(set(numbers))


def test_a_steady_sensor_is_no_flood(spinning: Spinning) -> None:
    """500 messages a second are handed on one by one, each at once."""
    heard: list[int] = []
    DrainedSubscription(
        spinning.node, *KIND, "imu", QoSProfile(depth=100), lambda each: heard.append(1)
    )
    publisher = spinning.node.create_publisher(String, "imu", 100)
    spinning.start()
    spinning.until(lambda: publisher.get_subscription_count() == 1)
    for _ in range(500):
        publisher.publish(String(data="x"))
        time.sleep(0.002)
    spinning.until(lambda: len(heard) == 500)
    assert spinning.executor.flood.gathered == 0


def test_another_rclpy_s_own_executor_works_instead_and_that_is_said(
    spinning: Spinning, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(executor_module, "_INSIDES", ("_what_the_next_one_has",))
    heard: list[bytes] = []
    DrainedSubscription(
        spinning.node, *KIND, "hot", QoSProfile(depth=10), lambda each: heard.append(each.payload)
    )
    publisher = spinning.node.create_publisher(String, "hot", 10)
    spinning.start()
    spinning.until(lambda: publisher.get_subscription_count() == 1)
    publisher.publish(String(data="x"))
    spinning.until(lambda: heard)
    assert "not one that Dialtone's executor knows" in capfd.readouterr().err
