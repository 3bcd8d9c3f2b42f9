"""Our executor does what rclpy's does, whatever comes and goes while it spins, and sleeps well."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import rclpy
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from rclpy.serialization import serialize_message
from rclpy.task import Future
from std_msgs.msg import String
from std_srvs.srv import Trigger

from dialtone_core.sample import Sample
from dialtone_ros import executor as executor_module
from dialtone_ros.drain import DrainedSubscription
from dialtone_ros.executor import DrainingExecutor

KIND = ("std_msgs/msg/String", String)


class Spinning:
    """A node that a thread spins; ``failure`` is what ended it."""

    def __init__(self) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = Node("spun", context=self.context)
        self.executor = DrainingExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.failure: BaseException | None = None
        self.thread = threading.Thread(target=self._spin)
        self.cpu_s = 0.0

    def start(self) -> None:
        self.thread.start()

    def _spin(self) -> None:
        try:
            self.executor.spin()
        except BaseException as failure:
            self.failure = failure
        self.cpu_s = time.thread_time()

    def until(self, done: Callable[[], Any], timeout_s: float = 10.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not done():
            assert time.monotonic() < deadline, f"not within {timeout_s} s ({self.failure})"
            time.sleep(0.01)

    def close(self) -> None:
        self.executor.shutdown()
        if self.thread.ident is not None:
            self.thread.join(5)
        assert not self.thread.is_alive()
        self.node.destroy_node()
        self.context.try_shutdown()


@pytest.fixture
def spinning() -> Iterator[Spinning]:
    made = Spinning()
    yield made
    made.close()


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


def test_qos_that_does_not_fit_is_told(spinning: Spinning) -> None:
    node = spinning.node
    latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
    told: list[Any] = []
    events = SubscriptionEventCallbacks(incompatible_qos=told.append)
    spinning.start()
    node.create_subscription(String, "odd", lambda _: None, latched, event_callbacks=events)
    node.create_publisher(String, "odd", 1)
    spinning.until(lambda: told)


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
