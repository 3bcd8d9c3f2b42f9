"""ROS services that somebody on NATS answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import orjson
from rclpy.node import Node
from rclpy.service import Service

from dialtone_bridge.params import RequestParams
from dialtone_bridge.requests import Asked
from dialtone_bridge.ros_json import from_json, to_json
from dialtone_core.errors import ConfigError, WireError
from dialtone_ros.types import message_class

#: A caller in a loop must not fill the log.
_WARN_EVERY_S = 10.0


class RosRequests:
    """Offers each service of ``table``; raises ``ConfigError`` for a type that is not installed.

    rclpy wants a service's response when its callback returns, and a callback that awaits keeps
    all others of its group waiting. So the callback hands on the request, and what sends the
    response waits for NATS: it is the service's own ``send_response``, called in the executor's
    thread by ``post`` when the reply is there.
    """

    def __init__(
        self,
        node: Node,
        table: Mapping[str, RequestParams],
        put: Callable[[Asked], None],
        post: Callable[[Callable[[], None]], None],
    ) -> None:
        self._node = node
        self._put = put
        self._post = post
        self._warned_s: dict[str, float] = {}
        for name, each in table.items():
            self._offer(name, each)

    def _offer(self, name: str, how: RequestParams) -> None:
        try:
            cls = message_class(how.type)
        except (LookupError, ValueError) as error:
            raise ConfigError(
                f"service {name} cannot be offered: {error}",
                fix="install its package or correct requests",
            ) from error
        service = self._node.create_service(cls, name, lambda request, _: request)
        service.send_response = partial(self._forward, service, name, how)

    def _forward(
        self, service: Service, name: str, how: RequestParams, request: Any, header: Any
    ) -> None:
        """In the executor's thread, in the place of sending a response."""
        answer = partial(self._answer, service, name, header)
        body = orjson.dumps(to_json(request))
        self._put(Asked(how.subject, body, how.timeout_s, answer))

    def _answer(self, service: Service, name: str, header: Any, reply: bytes, why: str) -> None:
        """On the loop; what went wrong is told in the response where its type can tell."""
        kind = service.srv_type.Response
        response = None
        if not why:
            try:
                response = _decode(kind, reply)
            except WireError as error:
                why = f"the reply is no {kind.__name__} ({error})"
        if response is None:
            self._warn(name, why)
            response = _failure(kind, why)
        if response is not None:
            self._post(partial(Service.send_response, service, response, header))

    def _warn(self, name: str, why: str) -> None:
        now_s = time.monotonic()
        if now_s - self._warned_s.get(name, -_WARN_EVERY_S) >= _WARN_EVERY_S:
            self._warned_s[name] = now_s
            self._node.get_logger().warning(f"service {name}: {why}")


def _decode(kind: Any, reply: bytes) -> Any:
    """A response from JSON; ``{"ok": false, "error": …}`` raises ``WireError`` with its words."""
    try:
        body = orjson.loads(reply)
    except orjson.JSONDecodeError as error:
        raise WireError("not_json", str(error)[:80]) from error
    if not isinstance(body, dict):
        raise WireError("not_object", kind.__name__)
    answered = "ok" in kind.get_fields_and_field_types() or body.pop("ok", True)
    if answered is not True:
        raise WireError("refused", str(body.get("error", ""))[:200])
    return from_json(kind, body)


def _failure(kind: Any, why: str) -> Any:
    """A response that says no, or ``None`` where the type has no words for it: a made-up one
    might be taken for a yes, so that such a caller gets none."""
    fields = kind.get_fields_and_field_types()
    if fields.get("success") != "boolean":
        return None
    response = kind(success=False)
    if fields.get("message") == "string":
        response.message = why
    return response
