"""ROS services as Foxglove's: offered as they come and go, called in CDR."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NoAnswerError

from foxglove import MessageSchema, Schema, Service, ServiceRequest, ServiceSchema
from foxglove.websocket import WebSocketServer

from dialtone_bridge.transports.base import ServiceInfo
from dialtone_core.errors import DialtoneError

CallCdr = Callable[[str, str, bytes], "Future[bytes]"]
#: A client waits this long; the SDK runs each call in a thread of its own.
TIMEOUT_S = 5.0


class FoxgloveServices:
    """Keeps a server's services equal to those of the graph."""

    def __init__(self, call: CallCdr) -> None:
        self._call = call
        self._offered: dict[str, ServiceInfo] = {}

    def offer(self, server: WebSocketServer, found: Sequence[ServiceInfo]) -> None:
        """Withdraw what is gone or changed and add what is new."""
        wanted = {each.name: each for each in found}
        gone = [name for name, each in self._offered.items() if wanted.get(name) != each]
        if gone:
            server.remove_services(gone)
            for name in gone:
                del self._offered[name]
        fresh = [each for name, each in wanted.items() if name not in self._offered]
        if fresh:
            server.add_services([self._service(each) for each in fresh])
            self._offered |= {each.name: each for each in fresh}

    def _service(self, info: ServiceInfo) -> Service:
        def handle(request: ServiceRequest) -> bytes:
            answer = self._call(info.name, info.type, request.payload)
            try:
                return answer.result(TIMEOUT_S)
            except NoAnswerError as error:
                answer.cancel()
                raise DialtoneError(f"{info.name} did not answer in {TIMEOUT_S:g} s") from error

        schema = ServiceSchema(
            info.type,
            request=_schema(f"{info.type}_Request", info.request),
            response=_schema(f"{info.type}_Response", info.response),
        )
        return Service(info.name, schema=schema, handler=handle)


def _schema(name: str, definition: str) -> MessageSchema:
    text = Schema(name=name, encoding="ros2msg", data=definition.encode())
    return MessageSchema(encoding="cdr", schema=text)
