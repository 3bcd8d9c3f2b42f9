"""Timers that run on while simulated time stands still."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.timer import Timer

from dialtone_core.clock import NS_PER_S


def steady_timer(node: Node, period_s: float, callback: Callable[[], None]) -> Timer:
    """Like ``node.create_timer``, whose timers follow ``use_sim_time``: a simulator that is paused
    or has not started must not stop a node from looking around and from telling how it is."""
    return node.create_timer(period_s, callback, clock=Clock(clock_type=ClockType.STEADY_TIME))


class OneShot:
    """Calls back once after each start. Made at the first, and kept: a start costs no new timer.

    Everything in the executor's thread.
    """

    def __init__(self, node: Node, callback: Callable[[], None]) -> None:
        self._node = node
        self._callback = callback
        self._timer: Timer | None = None

    def start(self, delay_ns: int) -> None:
        """Call back in ``delay_ns``, and not when it would have been before."""
        if self._timer is None:
            self._timer = steady_timer(self._node, delay_ns / NS_PER_S, self._fire)
        else:
            self._timer.timer_period_ns = delay_ns
            self._timer.reset()

    def close(self) -> None:
        """Call back no more; idempotent. ``start`` opens it again."""
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
            self._timer = None

    def _fire(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._callback()
