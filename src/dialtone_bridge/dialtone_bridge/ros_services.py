"""Calls ROS services for clients of any transport: JSON or CDR in, the same out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

from rclpy.client import Client
from rclpy.node import Node
from rclpy.serialization import deserialize_message, serialize_message
from rclpy.timer import Timer

from dialtone_bridge.patterns import Patterns
from dialtone_bridge.ros_json import parse, to_json
from dialtone_bridge.routes import topic_path
from dialtone_bridge.transports.base import ServiceInfo
from dialtone_core.errors import DialtoneError, WireError
from dialtone_ros.types import message_class, service_definitions

#: How soon a service that DDS has not matched yet is tried again.
_TRY_EVERY_S = 0.02


class RosServices:
    """The services of the graph whose path matches ``allow``.

    ``post`` runs work in the executor's thread, where clients are made and answers come. The
    futures are resolved there; wait for them anywhere else, with a timeout: a ROS service that
    hangs never answers.
    """

    def __init__(
        self, node: Node, allow: Sequence[str], post: Callable[[Callable[[], None]], None]
    ) -> None:
        self._node = node
        self._allow = Patterns("allow_services", allow)
        self._post = post
        self._clients: dict[str, Client] = {}
        self._unready: list[Callable[[], None]] = []
        self._timer: Timer | None = None

    def available(self) -> list[ServiceInfo]:
        """What may be called and is there now."""
        found = []
        for name, types in self._node.get_service_names_and_types():
            path = topic_path(name, self._node.get_namespace())
            if not self._allow.match(path, name):
                continue
            if not self._node.count_services(name):  # our own client keeps the name alive
                continue
            try:
                request, response = service_definitions(types[0])
            except LookupError:
                continue
            found.append(ServiceInfo(name, path, types[0], request, response))
        return found

    def call_cdr(self, name: str, type_name: str, payload: bytes) -> Future[bytes]:
        """Call with a CDR request; resolves to the CDR response."""
        try:
            request = deserialize_message(payload, message_class(type_name).Request)
        except Exception as error:  # rclpy raises RuntimeError, MemoryError or its own RMWError
            raise WireError("truncated", str(error)[:80]) from error
        return self._call(name, type_name, request, serialize_message)

    def call_json(self, path: str, payload: bytes) -> Future[dict[str, Any]]:
        """Call by path with a JSON request; resolves to the response as a JSON object."""
        for service in self.available():
            if service.path == path:
                cls = message_class(service.type).Request
                return self._call(
                    service.name, service.type, parse(cls, payload or b"{}"), to_json
                )
        raise DialtoneError(f"no service {path} that clients may call")

    def call_ros(self, name: str, type_name: str, request: Any) -> Future[Any]:
        """Call with a ROS request whatever ``allow`` says; resolves to the ROS response."""
        return self._call(name, type_name, request, lambda response: response)

    def call_class(
        self, name: str, cls: Any, request: Any, convert: Callable[[Any], Any]
    ) -> Future[Any]:
        """Call the service ``name`` of the class ``cls``; resolves to ``convert(response)``.

        Waits until the service is matched: DDS drops a request that comes sooner. Whoever cancels
        the future, as a timeout does, ends the waiting and frees what is kept for the answer.
        """
        result: Future[Any] = Future()

        def start() -> None:
            if result.cancelled():
                return
            client = self._client(name, cls)
            if not client.service_is_ready():
                self._try_soon(start)
                return
            answer = client.call_async(request)
            answer.add_done_callback(finish)
            result.add_done_callback(partial(self._drop, client, answer))

        def finish(answer: Any) -> None:
            if not result.set_running_or_notify_cancel():
                return
            if answer.exception() is not None:
                result.set_exception(DialtoneError(f"{name}: {answer.exception()}"))
            else:
                result.set_result(convert(answer.result()))

        self._post(start)
        return result

    def _call(
        self, name: str, type_name: str, request: Any, convert: Callable[[Any], Any]
    ) -> Future[Any]:
        return self.call_class(name, message_class(type_name), request, convert)

    def _client(self, name: str, cls: Any) -> Client:
        """That for ``name``, anew where its type changed."""
        known = self._clients.get(name)
        if known is not None and known.srv_type is not cls:
            self._node.destroy_client(known)
            known = None
        if known is None:
            known = self._clients[name] = self._node.create_client(cls, name)
        return known

    def _drop(self, client: Client, answer: Any, result: Future[Any]) -> None:
        """Nobody waits for ``answer`` any more; rclpy would keep its future for ever."""
        if result.cancelled():
            self._post(partial(client.remove_pending_request, answer))

    def _try_soon(self, start: Callable[[], None]) -> None:
        self._unready.append(start)
        if self._timer is None:
            self._timer = self._node.create_timer(_TRY_EVERY_S, self._try_again)

    def _try_again(self) -> None:
        waiting, self._unready = self._unready, []
        for start in waiting:
            start()
        if not self._unready and self._timer is not None:
            self._node.destroy_timer(self._timer)
            self._timer = None
