"""An executor that sleeps cheaply and hands on at once what is drained.

rclpy's executor makes a new wait set of everything on its nodes at each wake-up, and again after
each callback, which costs as much Python as all that we do with a camera's frame. This one keeps
its wait set while nothing comes or goes. When only drained subscriptions are ready it takes from
them itself; all else it leaves to one pass of rclpy's executor, by rclpy's rules.

In a flood it lets messages gather for 2 ms before it looks again. A flood is told by its rate and
not by how closely wake-ups follow each other: a busy interpreter wakes latest in the thickest one.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from rclpy.exceptions import InvalidHandle
from rclpy.executors import (
    ExternalShutdownException,
    ShutdownException,
    SingleThreadedExecutor,
    TimeoutException,
)
from rclpy.impl.implementation_singleton import rclpy_implementation as _rclpy
from rclpy.logging import get_logger

from dialtone_core.clock import NS_PER_S
from dialtone_ros.drain import MAX_BURST
from dialtone_ros.wait_set import WaitSet

#: More messages than this in a second, over a window of so long, are a flood.
_FLOOD_HZ = 2_000
_WINDOW_NS = 20_000_000
#: How long messages gather in one, and how long all else in the executor waits at most.
_GATHER_S = 0.002
#: A callback that awaits is looked after so often: nothing wakes an executor for what it awaits.
_POLL_NS = 5_000_000
#: What is rclpy's own business and we lean on; Jazzy's and Kilted's rclpy have it all.
_INSIDES = (
    *("_guard", "_is_shutdown", "_shutdown_lock", "_sigint_gc"),
    *("_tasks", "_tasks_lock", "_wait_for_ready_callbacks"),
)


class DrainingExecutor(SingleThreadedExecutor):  # type: ignore[misc]
    """rclpy's single-threaded executor, whose ``spin`` costs little for drained subscriptions.

    Only ``spin`` differs; ``spin_once`` and its kin are rclpy's, and drain as well.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.flood = Flood()
        self._awaiting = False
        self._spinner: int | None = None
        self._spun = threading.Event()

    def spin(self) -> None:
        """Execute callbacks until shutdown, in the calling thread."""
        self._spun.clear()
        self._spinner = threading.get_ident()
        try:
            self._spin()
        finally:
            self._spinner = None
            self._spun.set()

    def shutdown(self, timeout_sec: float | None = None) -> bool:
        """Return once ``spin`` has, or false if it has not within ``timeout_sec``.

        rclpy says so too and does not wait: what it then takes away a callback may still need.
        """
        with self._shutdown_lock:
            self._is_shutdown = True
        self.wake()
        ended = self._spinner in (None, threading.get_ident()) or self._spun.wait(timeout_sec)
        super().shutdown(timeout_sec)
        return ended

    def _spin(self) -> None:
        if not all(hasattr(self, each) for each in _INSIDES):
            get_logger("executor").warning(
                "this rclpy is not one that Dialtone's executor knows: rclpy's own works instead "
                "and costs more CPU"
            )
            super().spin()
            return
        wait_set = WaitSet(self)
        try:
            self._renew(wait_set)
            while self.context.ok() and not self._is_shutdown:
                self._turn(wait_set)
        finally:
            wait_set.close()

    def _turn(self, wait_set: WaitSet) -> None:
        ready = wait_set.wait(_POLL_NS if self._awaiting else -1)
        if self._ended():
            return
        taken = sum(each.take([]) for each in ready.drained)
        if ready.others or self._awaiting or (ready.told and self._has_tasks()):
            self._pass()
            self._awaiting = self._has_tasks()
        if ready.told:
            self._renew(wait_set)
        self.flood.taken(taken)

    def _renew(self, wait_set: WaitSet) -> None:
        try:
            wait_set.renew()
        except (InvalidHandle, _rclpy.RCLError):
            if not self._ended():  # it may have ended since we looked
                raise

    def _ended(self) -> bool:
        """As rclpy has it: a shutdown of the executor is an end, one of the context an error."""
        if not self._is_shutdown and not self.context.ok():
            raise ExternalShutdownException
        return bool(self._is_shutdown)

    def _has_tasks(self) -> bool:
        with self._tasks_lock:
            return any(not task.done() for task, *_ in self._tasks)

    def _pass(self) -> None:
        """All that is ready now, as rclpy has it."""
        try:
            for handler, *_ in self._wait_for_ready_callbacks(timeout_sec=0):
                handler()
                if (failure := handler.exception()) is not None:
                    raise failure
        except (TimeoutException, ShutdownException):
            return


class Flood:
    """Tells a flood by its rate and lets it gather. Executor's thread only."""

    def __init__(self) -> None:
        self.gathered = 0
        self._flooded = False
        self._since_ns = time.monotonic_ns()
        self._taken = 0

    def taken(self, count: int) -> None:
        """``count`` messages were taken at this wake-up; returns a while later in a flood."""
        self._taken += count
        passed_ns = time.monotonic_ns() - self._since_ns
        if passed_ns >= _WINDOW_NS:
            self._flooded = self._taken * NS_PER_S > _FLOOD_HZ * passed_ns
            self._since_ns += passed_ns
            self._taken = 0
        if self._flooded and 0 < count < MAX_BURST:
            self.gathered += 1
            time.sleep(_GATHER_S)
