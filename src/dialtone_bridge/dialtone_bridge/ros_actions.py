"""Calls ROS actions by their services and topic, as any action client does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

import orjson
from action_msgs.msg import GoalStatus
from action_msgs.srv import CancelGoal
from rclpy.node import Node
from rclpy.subscription import Subscription

from dialtone_bridge.actions import ActionInfo, Feedback, News
from dialtone_bridge.patterns import Patterns
from dialtone_bridge.ros_json import from_json, to_json
from dialtone_bridge.ros_services import RosServices
from dialtone_bridge.routes import topic_path
from dialtone_core.clock import NS_PER_S
from dialtone_core.delivery import Lane
from dialtone_ros.types import message_class

_GOAL_SERVICE, _GOAL_TYPE = "/_action/send_goal", "_SendGoal"
#: Subjects under ``srv.ros`` are those of ROS services.
_TAKEN = "ros"
_STATUS = {
    GoalStatus.STATUS_UNKNOWN: "unknown",
    GoalStatus.STATUS_SUCCEEDED: "succeeded",
    GoalStatus.STATUS_CANCELED: "canceled",
    GoalStatus.STATUS_ABORTED: "aborted",
}
_REFUSED = {
    CancelGoal.Response.ERROR_REJECTED: "the action refused",
    CancelGoal.Response.ERROR_UNKNOWN_GOAL_ID: "no such goal",
    CancelGoal.Response.ERROR_GOAL_TERMINATED: "the goal has ended",
}


class RosActions:
    """``actions.ActionCalls``: the actions whose path matches ``allow``.

    ``post`` runs work in the executor's thread, where subscriptions are made; feedback comes
    there and goes into ``lane``.
    """

    def __init__(
        self,
        node: Node,
        allow: Sequence[str],
        services: RosServices,
        post: Callable[[Callable[[], None]], None],
    ) -> None:
        self.lane: Lane[News] | None = None
        self._node = node
        self._allow = Patterns("allow_actions", allow)
        self._services = services
        self._post = post
        self._feedback: dict[str, Subscription] = {}
        self._warned: set[str] = set()

    def available(self) -> list[ActionInfo]:
        """What may be called and is there now; in the executor's thread."""
        found = []
        for name, types in self._node.get_service_names_and_types() if self._allow else ():
            if not (name.endswith(_GOAL_SERVICE) and types[0].endswith(_GOAL_TYPE)):
                continue
            action = name.removesuffix(_GOAL_SERVICE)
            path = topic_path(action, self._node.get_namespace())
            # A name of which only clients are left is still in the graph.
            if self._allow.match(path, action) and self._node.count_services(name):
                server = self._server(action)
                info = ActionInfo(action, path, types[0].removesuffix(_GOAL_TYPE), server)
                found += [info] if server and self._usable(info) else []
        return found

    def _server(self, action: str) -> str:
        """The id that DDS gave the server's publisher of states; empty while there is none."""
        infos = self._node.get_publishers_info_by_topic(f"{action}/_action/status")
        return ",".join(sorted(bytes(each.endpoint_gid).hex() for each in infos))

    def _usable(self, action: ActionInfo) -> bool:
        why = ""
        if action.path.split("/")[0] == _TAKEN:
            why = "its name begins with ros/, which NATS has for services"
        try:
            message_class(action.type)
        except LookupError as error:
            why = str(error)
        if why and action.name not in self._warned:
            self._warned.add(action.name)
            self._node.get_logger().warning(f"action {action.name} is not bridged: {why}")
        return not why

    def send_goal(
        self, action: ActionInfo, goal_id: bytes, goal: Mapping[str, Any]
    ) -> Future[dict[str, Any]]:
        cls = message_class(action.type)
        request = cls.Impl.SendGoalService.Request()
        request.goal_id.uuid = list(goal_id)
        request.goal = from_json(cls.Goal, goal)
        return self._services.call_class(
            f"{action.name}{_GOAL_SERVICE}", cls.Impl.SendGoalService, request, _accepted
        )

    def cancel(self, action: ActionInfo, goal_id: bytes) -> Future[dict[str, Any]]:
        request = CancelGoal.Request()
        request.goal_info.goal_id.uuid = list(goal_id)
        service = f"{action.name}/_action/cancel_goal"
        return self._services.call_class(service, CancelGoal, request, _canceling)

    def result(self, action: ActionInfo, goal_id: bytes) -> Future[dict[str, Any]]:
        service = message_class(action.type).Impl.GetResultService
        request = service.Request()
        request.goal_id.uuid = list(goal_id)
        return self._services.call_class(
            f"{action.name}/_action/get_result", service, request, _ended
        )

    def follow(self, action: ActionInfo, wanted: bool) -> None:
        self._post(partial(self._follow, action, wanted))

    def _follow(self, action: ActionInfo, wanted: bool) -> None:
        known = self._feedback.get(action.name)
        if wanted and known is None:
            self._feedback[action.name] = self._node.create_subscription(
                message_class(action.type).Impl.FeedbackMessage,
                f"{action.name}/_action/feedback",
                partial(self._on_feedback, action),
                10,
            )
        elif not wanted and known is not None:
            del self._feedback[action.name]
            self._node.destroy_subscription(known)

    def _on_feedback(self, action: ActionInfo, message: Any) -> None:
        if self.lane is not None:
            body = to_json(message.feedback)
            goal_id = bytes(message.goal_id.uuid.tolist())
            self.lane.put(Feedback(action, goal_id, body), len(orjson.dumps(body)))


def _accepted(response: Any) -> dict[str, Any]:
    stamp = response.stamp
    return {"accepted": response.accepted, "stamp_ns": stamp.sec * NS_PER_S + stamp.nanosec}


def _canceling(response: Any) -> dict[str, Any]:
    goals = [bytes(each.goal_id.uuid.tolist()) for each in response.goals_canceling]
    return {"goals": goals, "refused": _REFUSED.get(response.return_code, "")}


def _ended(response: Any) -> dict[str, Any]:
    status = _STATUS.get(response.status, str(response.status))
    return {"status": status, "result": to_json(response.result)}
