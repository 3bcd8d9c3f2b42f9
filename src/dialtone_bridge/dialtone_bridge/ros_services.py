"""Calls ROS services for clients of any transport: JSON or CDR in, the same out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
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
from dialtone_ros.timers import steady_timer
from dialtone_ros.types import message_class, service_definitions

#: How soon a service that DDS has not matched yet is tried again.
_TRY_EVERY_S = 0.02
#: How often clients of services that are no more are looked for.
_SWEEP_EVERY_S = 5.0


@dataclass(eq=False)
class _Known:
    """A client of ours, and how many answers it waits for."""

    client: Client
    waiting: int = 0


_OF_EVERY_NODE = frozenset(
    {
        "describe_parameters",
        "get_parameter_types",
        "get_parameters",
        "get_type_description",
        "list_parameters",
        "set_parameters",
        "set_parameters_atomically",
    }
)


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
        self._clients: dict[str, _Known] = {}
        self._unready: list[Callable[[], None]] = []
        self._timer: Timer | None = None
        self._sweeper: Timer | None = None
        self._warned: set[str] = set()
        #: What may be called and was there at the last look.
        self.offered: list[ServiceInfo] = []

    def look(self) -> None:
        """Renew ``offered``. Executor's thread."""
        self.offered = self._available()

    def allows(self, name: str) -> bool:
        """Whether clients may call, and know of, the service ``name``, a full ROS name.

        What every node offers of itself is only for those who spell it out: a pattern for a node's
        services must not be a way round ``settable_parameters``.
        """
        names = topic_path(name, self._node.get_namespace()), name
        if name.rpartition("/")[2] in _OF_EVERY_NODE:
            return self._allow.spell(*names)
        return self._allow.match(*names)

    def _available(self) -> list[ServiceInfo]:
        found = []
        for name, types in self._node.get_service_names_and_types():
            if not self.allows(name):
                continue
            if not self._node.count_services(name):  # our own client keeps the name alive
                continue
            try:
                request, response = service_definitions(types[0])
            except (LookupError, ValueError) as error:  # a native DDS name is none of ROS
                if name not in self._warned:
                    self._warned.add(name)
                    self._node.get_logger().warning(f"service {name} is not offered: {error}")
                continue
            path = topic_path(name, self._node.get_namespace())
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
        for service in self._available():
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
        the future, as a timeout does, ends the waiting and frees what is kept for the answer. What
        ROS refuses (a name, a number that does not fit) ends the future with ``DialtoneError``.
        """
        result: Future[Any] = Future()

        def start() -> None:
            if result.cancelled():
                return
            try:
                known = self._client(name, cls)
                if not known.client.service_is_ready():
                    self._try_soon(start)
                    return
                answer = known.client.call_async(request)
            except Exception as error:  # rclpy has many, and none may end the executor
                _fail(result, name, error)
                return
            known.waiting += 1
            answer.add_done_callback(partial(finish, known))
            result.add_done_callback(partial(self._drop, known, answer))

        def finish(known: _Known, answer: Any) -> None:
            known.waiting -= 1
            if not result.set_running_or_notify_cancel():
                return
            try:
                result.set_result(convert(answer.result()))
            except Exception as error:  # what the answer or its conversion raised
                result.set_exception(_failure(name, error))

        self._post(start)
        return result

    def _call(
        self, name: str, type_name: str, request: Any, convert: Callable[[Any], Any]
    ) -> Future[Any]:
        return self.call_class(name, message_class(type_name), request, convert)

    def _client(self, name: str, cls: Any) -> _Known:
        """That for ``name``, anew where its type changed."""
        known = self._clients.get(name)
        if known is not None and known.client.srv_type is not cls:
            self._node.destroy_client(self._clients.pop(name).client)
            known = None
        if known is None:
            known = self._clients[name] = _Known(self._node.create_client(cls, name))
            if self._sweeper is None:
                self._sweeper = steady_timer(self._node, _SWEEP_EVERY_S, self._sweep)
        return known

    def _sweep(self) -> None:
        """Part from services that are no more: a client of each would stay for ever."""
        for name, known in list(self._clients.items()):
            if not known.waiting and not self._node.count_services(name):
                self._node.destroy_client(self._clients.pop(name).client)
        if not self._clients and self._sweeper is not None:
            self._node.destroy_timer(self._sweeper)
            self._sweeper = None

    def _drop(self, known: _Known, answer: Any, result: Future[Any]) -> None:
        """Nobody waits for ``answer`` any more; rclpy would keep its future for ever."""
        if result.cancelled():
            self._post(partial(self._forget, known, answer))

    def _forget(self, known: _Known, answer: Any) -> None:
        if not answer.done():
            known.waiting -= 1
            known.client.remove_pending_request(answer)

    def _try_soon(self, start: Callable[[], None]) -> None:
        self._unready.append(start)
        if self._timer is None:
            self._timer = steady_timer(self._node, _TRY_EVERY_S, self._try_again)

    def _try_again(self) -> None:
        waiting, self._unready = self._unready, []
        for start in waiting:
            start()
        if not self._unready and self._timer is not None:
            self._node.destroy_timer(self._timer)
            self._timer = None


def _fail(result: Future[Any], name: str, error: Exception) -> None:
    if result.set_running_or_notify_cancel():
        result.set_exception(_failure(name, error))


def _failure(name: str, error: Exception) -> DialtoneError:
    return DialtoneError(f"{name[:200]}: {str(error) or type(error).__name__}"[:400])
