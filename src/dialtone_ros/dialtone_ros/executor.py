"""An executor that keeps its wait set, and hands on at once what is drained.

rclpy's executor makes a new wait set of everything on its nodes at each wake-up, and again after
each callback, which costs as much Python as all that we do with a camera's frame. This one keeps
its wait set while nothing comes or goes. It takes from drained subscriptions itself, and runs all
else with rclpy's own handlers.

In a flood it lets messages gather for 2 ms before it looks again. A flood is told by its rate and
not by how closely wake-ups follow each other: a busy interpreter wakes latest in the thickest one.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from rclpy.exceptions import InvalidHandle
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation as _rclpy
from rclpy.logging import get_logger
from rclpy.task import Task

from dialtone_core.clock import NS_PER_S
from dialtone_ros.drain import MAX_BURST
from dialtone_ros.wait_set import Ready, WaitSet, Work

#: More messages than this in a second, of all topics, begin a flood; less than that end it.
_FLOOD_HZ = 3_000
_CALM_HZ = 2_000
#: Over so long.
_WINDOW_NS = 20_000_000
#: How long messages gather in one, and how long all else in the executor waits at most.
_GATHER_S = 0.002
#: What is rclpy's own business and we lean on; Jazzy's and Kilted's rclpy have it all.
_INSIDES = (
    *("_guard", "_is_shutdown", "_shutdown_lock", "_sigint_gc", "_tasks", "_tasks_lock"),
    *("_make_handler", "_take_client", "_take_guard_condition", "_take_service"),
    *("_take_subscription", "_take_timer", "_take_waitable"),
)


class DrainingExecutor(SingleThreadedExecutor):  # type: ignore[misc]
    """rclpy's single-threaded executor with a ``spin`` that wakes for less CPU.

    ``spin_once`` and its kin are rclpy's own; drained subscriptions drain there as well.
    """

    _is_shutdown: bool
    _tasks: list[tuple[Task, Any, Any]]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.flood = Flood()
        #: Whether a callback awaits something and keeps its group from running others.
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
            if not self._is_shutdown:
                self._is_shutdown = True
                self._guard.trigger()
        if timeout_sec is not None and timeout_sec < 0:
            timeout_sec = None
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
            self._run_tasks()
            while not self._over():
                ready = self._wait(wait_set)
                if not self._over():
                    self._turn(ready)
        finally:
            wait_set.close()

    def _over(self) -> bool:
        return self._is_shutdown or not self.context.ok()

    def _wait(self, wait_set: WaitSet) -> Ready:
        """As rclpy has it, a context that ends meanwhile is an error."""
        try:
            ready = wait_set.wait(only_free=self._awaiting)
        except (InvalidHandle, _rclpy.RCLError):
            if not self._over():
                raise
            ready = Ready([], [])
        if not self._is_shutdown and not self.context.ok():
            raise ExternalShutdownException
        return ready

    def _turn(self, ready: Ready) -> None:
        taken = 0
        for each in ready.drained:
            taken += each.take([])
            if self._over():
                return
        for number, work in enumerate(ready.others):
            if (number == 0 or work.exists()) and self._runs(work):
                self._run(self._make_handler(work.entity, work.node, work.take))
                if self._over():
                    return
        if self._tasks:
            self._run_tasks()
        else:
            self._awaiting = False
        self.flood.taken(taken)

    def _runs(self, work: Work) -> bool:
        """Whether rclpy would run it now; it may have been cancelled or be of a busy group."""
        if not self.can_execute(work.entity):
            return False
        try:
            return work.kind != "timers" or bool(work.entity.handle.is_timer_ready())
        except InvalidHandle:
            return False

    def _run_tasks(self) -> None:
        """Those that somebody made, and callbacks that await something; forget what is done."""
        with self._tasks_lock:
            tasks = [each for each, *_ in self._tasks]
        for task in tasks:
            if not (task.executing() or task.done() or task.cancelled()):
                self._run(task)
                if self._over():
                    return
        with self._tasks_lock:
            self._tasks = [each for each in self._tasks if not _ended(each[0])]
            self._awaiting = bool(self._tasks)

    @staticmethod
    def _run(task: Task) -> None:
        task()
        if (failure := task.exception()) is not None:
            raise failure


def _ended(task: Task) -> bool:
    return bool(task.done() or task.cancelled())


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
            bound_hz = _CALM_HZ if self._flooded else _FLOOD_HZ
            self._flooded = self._taken * NS_PER_S > bound_hz * passed_ns
            self._since_ns += passed_ns
            self._taken = 0
        if self._flooded and 0 < count < MAX_BURST:
            self.gathered += 1
            time.sleep(_GATHER_S)
