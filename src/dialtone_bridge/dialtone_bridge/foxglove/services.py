"""ROS services as Foxglove's: offered as they come and go, called in CDR."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from dialtone_bridge.foxglove.messages import ServiceCall
from dialtone_bridge.transports.base import ServiceInfo
from dialtone_core.errors import DialtoneError

CallCdr = Callable[[str, str, bytes], "Future[bytes]"]
#: A client waits this long: a ROS service that hangs never answers.
TIMEOUT_S = 5.0


class FoxgloveServices:
    """The services of the graph by the ids under which they are offered."""

    def __init__(self, call: CallCdr) -> None:
        self._call = call
        self._ids = itertools.count(1)
        self._known: dict[int, ServiceInfo] = {}

    def update(self, found: Sequence[ServiceInfo]) -> bool:
        """Take what is there now; whether that changed. A service that changed has a new id."""
        there = {each: number for number, each in self._known.items()}
        now = {there.get(each) or next(self._ids): each for each in found}
        changed = now.keys() != self._known.keys()
        self._known = now
        return changed

    def offers(self) -> dict[int, dict[str, object]]:
        """As ``advertiseServices`` lists them, by id."""
        return {number: _offer(number, each) for number, each in self._known.items()}

    def check(self, call: ServiceCall) -> ServiceInfo:
        """The service that is called; raises ``DialtoneError`` where there is none."""
        known = self._known.get(call.service)
        if known is None:
            raise DialtoneError(f"no service {call.service}")
        if call.encoding != "cdr":
            raise DialtoneError(f"{known.name} takes cdr, not {call.encoding[:20]!r}")
        return known

    async def call(self, call: ServiceCall) -> bytes:
        """Answer a client's call; raises ``DialtoneError`` or ``WireError``."""
        known = self.check(call)
        pending = asyncio.wrap_future(self._call(known.name, known.type, call.payload))
        try:
            return await asyncio.wait_for(pending, TIMEOUT_S)
        except asyncio.TimeoutError as error:
            raise DialtoneError(f"{known.name} did not answer in {TIMEOUT_S:g} s") from error


def _offer(number: int, info: ServiceInfo) -> dict[str, object]:
    return {
        "id": number,
        "name": info.name,
        "type": info.type,
        "request": _schema(f"{info.type}_Request", info.request),
        "response": _schema(f"{info.type}_Response", info.response),
    }


def _schema(name: str, definition: str) -> dict[str, str]:
    return {
        "encoding": "cdr",
        "schemaName": name,
        "schemaEncoding": "ros2msg",
        "schema": definition,
    }
