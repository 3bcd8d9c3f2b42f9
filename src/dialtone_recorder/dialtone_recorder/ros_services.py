"""The recorder as ROS sees it: services, label parameters, diagnostics."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import orjson
from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.task import Future
from std_srvs.srv import SetBool, Trigger

from dialtone_core.errors import DialtoneError
from dialtone_recorder.control import Recorder
from dialtone_recorder.gate import Colour
from dialtone_recorder.labels import check_labels
from dialtone_ros.diagnostics import Level, Report

Verb = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
Service = Callable[[Any, Any], Coroutine[Any, Any, Any]]
_LEVELS = {Colour.GREEN: Level.OK, Colour.YELLOW: Level.WARN, Colour.RED: Level.ERROR}


class RosServices:
    """``recorder/{start,stop,discard,snapshot}`` (Trigger), ``recorder/pause`` (SetBool) and the
    parameters ``label.*``; a message that answers is the NATS reply as JSON.

    Made on the loop's thread; callbacks run in the executor's and ask the loop.
    """

    def __init__(self, node: Node, recorder: Recorder) -> None:
        self._node = node
        self._recorder = recorder
        self._loop = asyncio.get_running_loop()
        for verb in ("start", "stop", "discard", "snapshot"):
            handler = recorder.handlers()[verb]
            node.create_service(Trigger, f"recorder/{verb}", self._answer(_always(handler)))
        node.create_service(SetBool, "recorder/pause", self._answer(self._pause_or_resume))
        node.add_on_set_parameters_callback(self._on_parameters)

    def _pause_or_resume(self, request: SetBool.Request) -> Verb:
        return self._recorder.handlers()["pause" if request.data else "resume"]

    def _answer(
        self, verb: Callable[[Any], Verb]
    ) -> Callable[[Any, Any], Coroutine[Any, Any, Any]]:
        """A ROS service that runs a verb on the loop without holding up the executor."""

        async def answer(request: Any, response: Any) -> Any:
            executor = self._node.executor
            waiting = Future(executor=executor)
            asked = asyncio.run_coroutine_threadsafe(_reply(verb(request)({})), self._loop)
            # The empty task wakes the executor, which then looks at the future again.
            asked.add_done_callback(
                lambda done: (waiting.set_result(done.result()), executor.create_task(_nothing))
            )
            response.success, response.message = await waiting
            return response

        return answer

    def _on_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        given = {
            each.name.partition(".")[2]: each.value
            for each in parameters
            if each.name.startswith("label.")
        }
        if "tags" in given:
            given["tags"] = [each for each in given["tags"] or [] if each]
        try:
            labels = check_labels(given)
        except DialtoneError as error:
            return SetParametersResult(successful=False, reason=str(error))
        self._loop.call_soon_threadsafe(self._relabel, labels)
        return SetParametersResult(successful=True)

    def _relabel(self, labels: dict[str, Any]) -> None:
        """An outcome belongs to one episode; every other label stays for the next ones."""
        if self._recorder.session is not None:
            self._recorder.session.relabel(labels)
        self._recorder.labels |= {k: v for k, v in labels.items() if k != "outcome"}


def report_episode(recorder: Recorder, link: str) -> Report:
    """The diagnostics of what is being recorded."""
    session = recorder.session
    values: dict[str, Any] = {"link": link, "directory": str(recorder.directory)}
    if session is None:
        if recorder.failures:
            return Report(Level.ERROR, recorder.failures[-1], values)
        return Report(Level.OK, "idle", values)
    lost = session.lost
    values |= {
        "episode": session.facts.name,
        "messages": session.messages,
        "lost": lost,
        "bytes": session.bytes,
        "waiting_bytes": session.waiting_bytes,
        "duration_s": session.duration_s,
    }
    if session.error:
        return Report(Level.ERROR, session.error, values)
    if lost or session.warning:
        return Report(Level.WARN, session.warning or f"{lost} messages lost", values)
    return Report(Level.OK, "paused" if session.paused else "recording", values)


def report_gate(recorder: Recorder) -> Report:
    """The diagnostics of the live gate."""
    verdict = recorder.watch.gate.verdict
    reasons = {str(number): text for number, text in enumerate(verdict.reasons)}
    first = verdict.reasons[0] if verdict.reasons else ""
    return Report(_LEVELS[verdict.colour], f"{verdict.name} {first}".strip(), reasons)


async def _reply(verb: Awaitable[dict[str, Any]]) -> tuple[bool, str]:
    try:
        return True, orjson.dumps(await verb).decode()
    except DialtoneError as error:
        return False, str(error)


def _always(verb: Verb) -> Callable[[Any], Verb]:
    return lambda _: verb


def _nothing() -> None:
    """Only wakes whoever waits."""
