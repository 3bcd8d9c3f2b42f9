"""A timer that rings once after each start."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from dialtone_core.clock import NS_PER_S
from dialtone_ros.timers import OneShot

MS = NS_PER_S // 1000


@pytest.fixture
def node() -> Iterator[Node]:
    context = rclpy.Context()
    rclpy.init(context=context)
    made = Node("timers_test", context=context)
    yield made
    made.destroy_node()
    context.shutdown()


def _spin(node: Node, done: Callable[[], bool], within_s: float) -> float:
    """Seconds until ``done``, or ``within_s``."""
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    began_s = time.monotonic()
    while not done() and time.monotonic() - began_s < within_s:
        executor.spin_once(timeout_sec=0.02)
    executor.remove_node(node)
    return time.monotonic() - began_s


def test_it_rings_once_after_each_start(node: Node) -> None:
    rings: list[float] = []
    timer = OneShot(node, lambda: rings.append(time.monotonic()))
    assert len(list(node.timers)) == 0
    for _ in range(3):
        rings.clear()
        timer.start(20 * MS)
        assert _spin(node, lambda: bool(rings), 5) >= 0.02
        _spin(node, lambda: False, 0.1)
        assert len(rings) == 1


def test_the_newest_start_is_the_one_that_counts(node: Node) -> None:
    rings: list[float] = []
    timer = OneShot(node, lambda: rings.append(time.monotonic()))
    timer.start(3600 * NS_PER_S)
    timer.start(0)
    assert _spin(node, lambda: bool(rings), 5) < 5
    timer.start(20 * MS)
    timer.start(3600 * NS_PER_S)
    _spin(node, lambda: False, 0.1)
    assert len(rings) == 1


def test_a_closed_one_rings_no_more_until_it_is_started(node: Node) -> None:
    rings: list[float] = []
    timer = OneShot(node, lambda: rings.append(time.monotonic()))
    timer.start(0)
    timer.close()
    timer.close()
    _spin(node, lambda: False, 0.1)
    assert rings == []
    assert len(list(node.timers)) == 0
    timer.start(0)
    assert _spin(node, lambda: bool(rings), 5) < 5
