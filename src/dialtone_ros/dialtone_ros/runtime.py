"""Runs a node: parameters, executor thread, signals, and an end in the right order.

The main thread waits (or runs an asyncio loop); one rclpy executor spins in a second thread
named ``ros``. On SIGINT or SIGTERM the node's own ``close`` runs *first*, while ROS still works,
so that a stop can be sent and a file closed; then the executor and the context go.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol, TypeVar

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from dialtone_core.errors import DialtoneError
from dialtone_ros.executor import DrainingExecutor
from dialtone_ros.params import read_params

T = TypeVar("T")

EXIT_CONFIG = 2
EXIT_CRASH = 1


class Closeable(Protocol):
    """What a node's builder returns. ``close`` is called once, from the main thread."""

    def close(self) -> None: ...


def run(name: str, params: type[T], build: Callable[[Node, T], Closeable]) -> None:
    """Run a node whose work happens in ROS callbacks; returns by ``sys.exit``."""

    def body(runtime: _Runtime, made: T) -> None:
        stop = threading.Event()
        runtime.on_stop(stop.set)
        work = build(runtime.node, made)
        try:
            runtime.spin()
            stop.wait()
        finally:
            work.close()

    _guarded(name, params, body)


def run_async(
    name: str, params: type[T], main: Callable[[Node, T, asyncio.Event], Awaitable[None]]
) -> None:
    """Run a network node: ``main(node, params, stop)`` on the main thread's asyncio loop.

    ``main`` returns soon after ``stop`` is set; ROS works until it has.
    """

    def body(runtime: _Runtime, made: T) -> None:
        asyncio.run(_main(runtime, made))

    async def _main(runtime: _Runtime, made: T) -> None:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        runtime.on_stop(lambda: _call_soon(loop, stop.set))
        runtime.spin()
        await main(runtime.node, made, stop)

    _guarded(name, params, body)


def _call_soon(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    with suppress(RuntimeError):  # the loop is closed: it has stopped already
        loop.call_soon_threadsafe(callback)


class _Runtime:
    """One node, its executor and the way to stop both."""

    def __init__(self, name: str) -> None:
        self.node = Node(name)
        self.failed = False
        self._executor = DrainingExecutor()
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, name="ros", daemon=True)
        self._stop: Callable[[], None] = lambda: None
        self._stopped = False

    def on_stop(self, callback: Callable[[], None]) -> None:
        """``callback`` is called, from any thread, when a signal or a failure ends the node."""
        self._stop = callback
        if self._stopped:
            callback()

    def stop(self) -> None:
        self._stopped = True
        self._stop()

    def spin(self) -> None:
        # What is loaded by now stays: to look through all of it for garbage takes 30 ms.
        gc.collect()
        gc.freeze()
        self._thread.start()

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            pass
        except DialtoneError as error:
            self.failed = True
            self.node.get_logger().fatal(str(error))
        except Exception:
            self.failed = True
            self.node.get_logger().fatal(f"a callback failed:\n{traceback.format_exc()}")
        finally:
            self.stop()

    def close(self) -> None:
        self._executor.shutdown(timeout_sec=1.0)
        if self._thread.is_alive():
            self._thread.join(1.0)
        self.node.destroy_node()


def _guarded(name: str, params: type[T], body: Callable[[_Runtime, T], None]) -> None:
    code = 0
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    runtime = _Runtime(name)
    for signum in (signal.SIGINT, signal.SIGTERM):
        # In a thread: the signal may interrupt us while we hold the very lock that stop needs.
        signal.signal(
            signum, lambda *_: threading.Thread(target=runtime.stop, daemon=True).start()
        )
    try:
        body(runtime, read_params(runtime.node, params))
    except DialtoneError as error:
        runtime.node.get_logger().fatal(str(error))
        code = error.exit_code
    except Exception:
        runtime.node.get_logger().fatal(traceback.format_exc())
        code = EXIT_CRASH
    finally:
        runtime.close()
        rclpy.try_shutdown()
    _leave(code or (EXIT_CRASH if runtime.failed else 0))


def _leave(code: int) -> None:
    """Exit without waiting for non-daemon threads of libraries, once everything is closed."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
