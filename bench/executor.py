"""What an event costs a node: our executor beside rclpy's own, each with the same node.

The node has what every node of ours has, a timer, and 20 subscriptions that are silent. Latency is
from the publish, the call or the moment that a timer is due until its callback; CPU is that of the
spinning thread for each event. The baseline of each row is rclpy's ``SingleThreadedExecutor``.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from std_msgs.msg import String
from std_srvs.srv import Trigger

from dialtone_ros.domain import FreeDomain
from dialtone_ros.drain import DrainedSubscription
from dialtone_ros.executor import DrainingExecutor
from harness import Progress, Row, main, percentile, row

DEFAULT_RUNS = 3
EVENTS = 400
PERIOD_S = 0.005
SILENT = 20
_KIND = ("std_msgs/msg/String", String)
_QOS = QoSProfile(depth=100)
Figures = defaultdict[str, list[float]]


class Spun:
    """A node that ``executor`` spins in a thread, and a publisher on the other side."""

    def __init__(self, executor: type[Any], domain: int) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = Node("measured", context=self.context)
        self.other = Node("other", context=self.context)
        for number in range(SILENT):
            DrainedSubscription(self.node, *_KIND, f"silent{number}", _QOS, lambda _: None)
        self.executor = executor(context=self.context)
        self.executor.add_node(self.node)
        self._clock = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._spin)

    def start(self) -> None:
        self._thread.start()
        self._ready.wait()

    def _spin(self) -> None:
        self._clock = time.pthread_getcpuclockid(threading.get_ident())
        self._ready.set()
        try:
            self.executor.spin()
        except ExternalShutdownException:
            return

    def cpu_us(self) -> float:
        return time.clock_gettime(self._clock) * 1e6

    def close(self) -> None:
        self.executor.shutdown()
        self._thread.join()
        for each in (self.node, self.other):
            each.destroy_node()
        self.context.try_shutdown()


@contextmanager
def spun(executor: type[Any], domain: int) -> Iterator[Spun]:
    made = Spun(executor, domain)
    try:
        yield made
    finally:
        made.close()


def _messages(spun: Spun, drained: bool) -> tuple[list[float], float]:
    """Latencies (µs) of messages and the CPU (µs) of all."""
    taken: list[int] = []
    if drained:
        DrainedSubscription(
            spun.node, *_KIND, "heard", _QOS, lambda _: taken.append(time.monotonic_ns())
        )
    else:
        spun.node.create_subscription(
            String, "heard", lambda _: taken.append(time.monotonic_ns()), _QOS
        )
    publisher = spun.other.create_publisher(String, "heard", _QOS)
    while not publisher.get_subscription_count():
        time.sleep(0.01)
    return _paced(spun, lambda: publisher.publish(String(data="x")), taken)


def _calls(spun: Spun) -> tuple[list[float], float]:
    """Of requests, until the service has one."""
    taken: list[int] = []

    def serve(_: Any, response: Any) -> Any:
        taken.append(time.monotonic_ns())
        return response

    spun.node.create_service(Trigger, "asked", serve)
    client = spun.other.create_client(Trigger, "asked")
    while not client.service_is_ready():
        time.sleep(0.01)
    return _paced(spun, lambda: client.call_async(Trigger.Request()), taken)


def _paced(spun: Spun, act: Callable[[], object], taken: list[int]) -> tuple[list[float], float]:
    spun.start()
    time.sleep(0.5)
    taken.clear()
    acted = []
    before_us = spun.cpu_us()
    for _ in range(EVENTS):
        acted.append(time.monotonic_ns())
        act()
        time.sleep(PERIOD_S)
    time.sleep(0.2)
    if len(taken) != EVENTS:
        raise RuntimeError(f"{len(taken)} of {EVENTS} arrived")
    pairs = zip(acted, taken, strict=True)
    return [(end - start) / 1e3 for start, end in pairs], spun.cpu_us() - before_us


def _ticks(spun: Spun) -> tuple[list[float], float]:
    """How late a timer is, by its own phase: the earliest tick counts as in time."""
    taken: list[int] = []
    spun.node.create_timer(PERIOD_S, lambda: taken.append(time.monotonic_ns()))
    spun.start()
    time.sleep(0.5)
    taken.clear()
    before_us = spun.cpu_us()
    while len(taken) < EVENTS:
        time.sleep(0.05)
    cpu_us, ticks = spun.cpu_us() - before_us, taken[:]
    phases = [(at - ticks[0]) % int(PERIOD_S * 1e9) for at in ticks]
    half = int(PERIOD_S * 1e9) // 2
    offsets = [each - 2 * half if each > half else each for each in phases]
    earliest = min(offsets)
    return [(each - earliest) / 1e3 for each in offsets], cpu_us * EVENTS / len(ticks)


_KINDS: dict[str, Callable[[Spun], tuple[list[float], float]]] = {
    "drained": lambda spun: _messages(spun, drained=True),
    "message": lambda spun: _messages(spun, drained=False),
    "service": _calls,
    "timer": _ticks,
}


async def run(runs: int, progress: Progress) -> list[Row]:
    """Each kind of event with each executor, ``runs`` times in turns."""
    figures: Figures = defaultdict(list)
    with FreeDomain() as domain:
        for number in range(runs):
            progress(f"run {number + 1} of {runs}")
            for kind, measure in _KINDS.items():
                for prefix, executor in (("", DrainingExecutor), ("b_", SingleThreadedExecutor)):
                    with spun(executor, domain.number) as each:
                        late_us, cpu_us = await asyncio.to_thread(measure, each)
                    figures[f"{prefix}{kind}_p50_us"].append(percentile(late_us, 50))
                    figures[f"{prefix}{kind}_p99_us"].append(percentile(late_us, 99))
                    figures[f"{prefix}{kind}_cpu_us"].append(cpu_us / EVENTS)
    return [
        row(name, values, "µs", figures[f"b_{name}"])
        for name, values in figures.items()
        if not name.startswith("b_")
    ]


if __name__ == "__main__":
    main("executor", run, DEFAULT_RUNS)
