"""Calls ROS services for clients of any transport: JSON or CDR in, the same out."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from rclpy.client import Client
from rclpy.node import Node
from rclpy.serialization import deserialize_message, serialize_message

from dialtone_bridge.ros_json import parse, to_json
from dialtone_bridge.routes import topic_path
from dialtone_bridge.transports.base import ServiceInfo
from dialtone_core.errors import DialtoneError, WireError
from dialtone_ros.types import message_class, service_definitions


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
        self._allow = [re.compile(pattern) for pattern in allow]
        self._post = post
        self._clients: dict[str, Client] = {}

    def available(self) -> list[ServiceInfo]:
        """What may be called and is there now."""
        found = []
        for name, types in self._node.get_service_names_and_types():
            path = topic_path(name, self._node.get_namespace())
            if not any(pattern.fullmatch(path) for pattern in self._allow):
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

    def _call(
        self, name: str, type_name: str, request: Any, convert: Callable[[Any], Any]
    ) -> Future[Any]:
        result: Future[Any] = Future()

        def start() -> None:
            if name not in self._clients:
                self._clients[name] = self._node.create_client(message_class(type_name), name)
            answer = self._clients[name].call_async(request)
            answer.add_done_callback(finish)

        def finish(answer: Any) -> None:
            if not result.set_running_or_notify_cancel():
                return
            if answer.exception() is not None:
                result.set_exception(DialtoneError(f"{name}: {answer.exception()}"))
            else:
                result.set_result(convert(answer.result()))

        self._post(start)
        return result
