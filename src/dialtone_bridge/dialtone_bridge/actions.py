"""Actions of the ROS graph for NATS clients. Free of ROS.

An action is three services and a topic of feedback. Each that may be called gets a NATS service
``dt.<robot>.srv.<action.path>`` with ``send_goal``, ``cancel`` and ``result``; what comes by
itself leaves as ``dt.<robot>.evt.<action.path>.feedback`` and ``….result``. The result of a goal
is asked for the moment it is accepted, because an action server keeps results for seconds only.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

from dialtone_core.aio import end_task
from dialtone_core.delivery import Lane, Outbox, Policy, Priority
from dialtone_core.errors import DialtoneError, WireError
from dialtone_core.naming import ROOT, topic_to_path
from dialtone_core.natsserve import Handler

#: Goals whose results are kept or waited for; beyond them the oldest is forgotten.
MAX_GOALS = 256
#: How long an action server may take to say yes or no.
_ANSWER_S = 5.0
_RESULT_WAIT_S, _LONGEST_WAIT_S = 4.0, 30.0
_FEEDBACK = Policy("queue", 256, 1024 * 1024)


@dataclass(frozen=True, slots=True)
class ActionInfo:
    """An action that is there: full ROS name, path without the namespace, ``pkg/action/Type``."""

    name: str
    path: str
    type: str
    server: str = ""
    """Which server it is: one that was started anew knows nothing of the other's goals."""

    @property
    def tail(self) -> str:
        """Of its subjects; a path with a leading slash lies outside of the namespace."""
        outside = self.path.startswith("/")
        return topic_to_path(f"{ROOT}{self.path}" if outside else self.path)


@dataclass(frozen=True, slots=True)
class Feedback:
    """Of one goal, as JSON."""

    action: ActionInfo
    goal_id: bytes
    body: Mapping[str, Any]


#: What comes from ROS: feedback, or all actions that are there now.
News = Feedback | Sequence[ActionInfo]


class ActionCalls(Protocol):
    """The ROS side; from any thread. A future is cancelled by whoever waits no longer."""

    def send_goal(
        self, action: ActionInfo, goal_id: bytes, goal: Mapping[str, Any]
    ) -> Future[dict[str, Any]]:
        """``accepted`` and ``stamp_ns``; raises ``WireError`` for what is no goal."""

    def cancel(self, action: ActionInfo, goal_id: bytes) -> Future[dict[str, Any]]:
        """``goals`` (ids as bytes) that are being cancelled and ``refused``, why none is."""

    def result(self, action: ActionInfo, goal_id: bytes) -> Future[dict[str, Any]]:
        """``status`` and ``result``, once the goal has ended."""

    def follow(self, action: ActionInfo, wanted: bool) -> None:
        """Whether anybody wants feedback."""


class Served(Protocol):
    async def stop(self) -> None: ...


class Speaker(Protocol):
    """What the desk needs of NATS."""

    async def serve(self, package: str, handlers: Mapping[str, Handler]) -> Served: ...

    async def publish_event(self, name: str, body: Mapping[str, Any]) -> None: ...


@dataclass(slots=True)
class _Goal:
    action: ActionInfo
    goal_id: bytes
    ended: asyncio.Task[dict[str, Any]]


class ActionDesk:
    """Serves what is offered, and keeps the goals that were sent. ``lane`` and ``offer`` are for
    the executor's thread, the rest for the loop."""

    def __init__(self, calls: ActionCalls, speaker: Speaker) -> None:
        self._calls = calls
        self._speaker = speaker
        self._news: Outbox[News] = Outbox()
        self._offers = self._news.open_lane("offers", Policy("latest", 1), Priority.EVENT)
        self.lane: Lane[News] = self._news.open_lane("feedback", _FEEDBACK)
        self._served: dict[ActionInfo, Served] = {}
        self._goals: OrderedDict[tuple[str, bytes], _Goal] = OrderedDict()
        self.forgotten = 0

    def figures(self) -> dict[str, int]:
        """For ``diagnostics``."""
        return {
            "served": len(self._served),
            "goals": len(self._goals),
            "goals_forgotten": self.forgotten,
            "feedback_dropped": self.lane.dropped,
        }

    def offer(self, actions: Sequence[ActionInfo]) -> None:
        """These are there now."""
        self._offers.put(tuple(actions), 1)

    async def run(self) -> None:
        """Until cancelled; then no goal is waited for any more."""
        self._news.bind(asyncio.get_running_loop())
        try:
            while True:
                await self._news.wait()
                for _, news in self._news.drain():
                    if isinstance(news, Feedback):
                        await self._tell(news.action, "feedback", news.goal_id,
                                         {"feedback": news.body})  # fmt: skip
                    else:
                        await self._serve_those(news)
                await asyncio.sleep(0)
        finally:
            for goal in list(self._goals.values()):
                await end_task(goal.ended)

    async def _serve_those(self, offered: Sequence[ActionInfo]) -> None:
        for action in [each for each in self._served if each not in offered]:
            await self._served.pop(action).stop()
            for goal in [each for each in self._goals.values() if each.action == action]:
                await self._lose(goal)
        for action in offered:
            if action not in self._served:
                package = action.tail
                self._served[action] = await self._speaker.serve(package, self.handlers(action))

    def handlers(self, action: ActionInfo) -> dict[str, Handler]:
        """The three verbs of one action."""

        async def send_goal(body: dict[str, Any]) -> dict[str, Any]:
            return await self._send(action, body)

        async def cancel(body: dict[str, Any]) -> dict[str, Any]:
            if body.keys() - {"goal_id"}:
                raise DialtoneError('what to cancel is {"goal_id": …}, or {} for every goal')
            goal_id = _id_of(body) if "goal_id" in body else bytes(16)
            said = await _answer(self._calls.cancel(action, goal_id), action)
            if said["refused"]:
                raise DialtoneError(f"{action.path} cancels nothing: {said['refused']}")
            return {"canceling": [str(uuid.UUID(bytes=each)) for each in said["goals"]]}

        async def result(body: dict[str, Any]) -> dict[str, Any]:
            return await self._result(action, body)

        return {"send_goal": send_goal, "cancel": cancel, "result": result}

    async def _send(self, action: ActionInfo, body: dict[str, Any]) -> dict[str, Any]:
        unknown = body.keys() - {"goal", "goal_id"}
        if unknown or not isinstance(body.get("goal", {}), dict):
            raise DialtoneError('a goal is asked for as {"goal": {…}}, perhaps with a "goal_id"')
        goal_id = _id_of(body) if "goal_id" in body else uuid.uuid4().bytes
        self._calls.follow(action, True)
        try:
            pending = self._calls.send_goal(action, goal_id, body.get("goal", {}))
            said = await _answer(pending, action)
            if not said["accepted"]:
                raise DialtoneError(f"{action.path} does not accept the goal")
            await self._watch(action, goal_id)
        except WireError as error:
            raise DialtoneError(str(error)) from error
        finally:
            self._unfollow(action)
        return {"goal_id": str(uuid.UUID(bytes=goal_id)), "stamp_ns": said["stamp_ns"]}

    async def _watch(self, action: ActionInfo, goal_id: bytes) -> _Goal:
        """Wait for the result, whoever asks for it later."""
        while len(self._goals) >= MAX_GOALS:
            self.forgotten += 1
            oldest = next(iter(self._goals.values()))
            done = (each for each in self._goals.values() if each.ended.done())
            await self._forget(next(done, oldest))
        ended = asyncio.create_task(self._end(action, goal_id))
        ended.add_done_callback(lambda _: self._unfollow(action))
        goal = self._goals[(action.name, goal_id)] = _Goal(action, goal_id, ended)
        self._calls.follow(action, True)
        return goal

    async def _end(self, action: ActionInfo, goal_id: bytes) -> dict[str, Any]:
        try:
            said = await asyncio.wrap_future(self._calls.result(action, goal_id))
        except DialtoneError as error:
            said = {"status": "unknown", "error": str(error)}
        await self._tell(action, "result", goal_id, said)
        return said

    async def _result(self, action: ActionInfo, body: dict[str, Any]) -> dict[str, Any]:
        goal_id, wait_s = _id_of(body), body.get("timeout_s", _RESULT_WAIT_S)
        if isinstance(wait_s, bool) or not isinstance(wait_s, int | float) or not wait_s >= 0:
            raise DialtoneError("timeout_s is no number of seconds")
        goal = self._goals.get((action.name, goal_id)) or await self._watch(action, goal_id)
        await asyncio.wait({goal.ended}, timeout=min(wait_s, _LONGEST_WAIT_S))
        if not goal.ended.done():
            return {"status": "running"}
        if goal.ended.cancelled():
            raise DialtoneError(f"{action.path} went away before the goal had ended")
        return dict(goal.ended.result())

    async def _lose(self, goal: _Goal) -> None:
        """Its server went: nobody will ever tell how it ended."""
        running = not goal.ended.done()
        await self._forget(goal)
        if running:
            lost = {"status": "unknown", "error": f"the server of {goal.action.path} went away"}
            await self._tell(goal.action, "result", goal.goal_id, lost)

    async def _forget(self, goal: _Goal) -> None:
        del self._goals[(goal.action.name, goal.goal_id)]
        await end_task(goal.ended)
        self._unfollow(goal.action)

    def _unfollow(self, action: ActionInfo) -> None:
        """Feedback is wanted while one of the action's goals has not ended."""
        running = (each for each in self._goals.values() if not each.ended.done())
        if not any(each.action == action for each in running):
            self._calls.follow(action, False)

    async def _tell(
        self, action: ActionInfo, what: str, goal_id: bytes, body: Mapping[str, Any]
    ) -> None:
        name = f"{action.tail}.{what}"
        said = {"goal_id": str(uuid.UUID(bytes=goal_id)), **body}
        await self._speaker.publish_event(name, said)


async def _answer(pending: Future[dict[str, Any]], action: ActionInfo) -> dict[str, Any]:
    try:
        return await asyncio.wait_for(asyncio.wrap_future(pending), _ANSWER_S)
    except asyncio.TimeoutError:
        raise DialtoneError(f"{action.path} did not answer within {_ANSWER_S:g} s") from None


def _id_of(body: Mapping[str, Any]) -> bytes:
    try:
        return uuid.UUID(body["goal_id"]).bytes
    except (KeyError, ValueError, TypeError, AttributeError):
        raise DialtoneError("goal_id is no UUID such as send_goal replies") from None
