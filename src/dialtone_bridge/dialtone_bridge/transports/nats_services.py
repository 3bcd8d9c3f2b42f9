"""ROS services as endpoints of a NATS micro service: those that are there now, by their names."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

import orjson

from dialtone_bridge.transports.base import ServiceInfo
from dialtone_bridge.transports.nats_calls import NatsCalls
from dialtone_core.aio import timeout
from dialtone_core.delivery import Outbox, Policy
from dialtone_core.errors import DialtoneError, WireError
from dialtone_core.naming import topic_to_path
from dialtone_core.natsserve import Handler

PACKAGE = "ros"
#: How long a ROS service may take to answer.
_CALL_S = 5.0
Call = Callable[[str, bytes], Future[dict[str, Any]]]


class _Served(Protocol):
    async def stop(self) -> None: ...


class ServiceDesk:
    """Serves ``dt.<robot>.srv.ros.<service.path>``; ``offer`` is for the executor's thread, the
    rest for the loop. ``call`` passes a request on: path and JSON, to the response's fields."""

    def __init__(self, calls: NatsCalls, call: Call) -> None:
        self._calls = calls
        self._call = call
        self._news: Outbox[tuple[ServiceInfo, ...]] = Outbox()
        self._lane = self._news.open_lane("services", Policy("latest", 1))
        self._told: tuple[ServiceInfo, ...] = ()
        self._served: _Served | None = None

    def offer(self, found: Sequence[ServiceInfo]) -> None:
        """These may be called and are there now."""
        now = tuple(sorted(found, key=lambda each: each.name))
        if now != self._told:
            self._told = now
            self._lane.put(now, 1)

    async def run(self) -> None:
        """Serve what is offered until cancelled."""
        self._news.bind(asyncio.get_running_loop())
        while True:
            await self._news.wait()
            for _, found in self._news.drain():
                await self._serve(found)

    async def _serve(self, found: Sequence[ServiceInfo]) -> None:
        """The new set is there before the old one goes, so that no request falls between."""
        before = self._served
        handlers = {topic_to_path(each.path): self._handler(each.path) for each in found}
        about = {topic_to_path(each.path): {"type": each.type} for each in found}
        self._served = await self._calls.serve(PACKAGE, handlers, about) if found else None
        if before is not None:
            await before.stop()

    def _handler(self, path: str) -> Handler:
        async def handle(body: dict[str, Any]) -> dict[str, Any]:
            try:
                pending = asyncio.wrap_future(self._call(path, orjson.dumps(body)))
                async with timeout(_CALL_S):
                    return await pending
            except asyncio.TimeoutError:
                words = f"{path} did not answer within {_CALL_S:g} s"
                raise DialtoneError(words) from None
            except WireError as error:
                raise DialtoneError(str(error)) from error

        return handle
