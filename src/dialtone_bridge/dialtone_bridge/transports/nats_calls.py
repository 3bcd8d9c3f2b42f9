"""Requests on NATS, both ways: what the robot answers, what it asks, and events.

Requests are answered side by side, so that one which waits for a ROS node holds up no other; how
many at once is bounded, and what is beyond is refused and counted.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import nats.errors
import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.micro.request import Request
from nats.micro.service import Service

from dialtone_core import __version__, wire
from dialtone_core.aio import end_task, timeout
from dialtone_core.errors import DialtoneError
from dialtone_core.natsserve import Handler, refuse, serve

#: Requests of ours that may be under way, and those of others at one endpoint.
MAX_CALLS, MAX_RUNNING = 128, 64
Answer = Callable[[Request], Awaitable[None]]


class NatsCalls:
    """On the loop, once ``bind`` gave it a client."""

    def __init__(self, robot: str, namespace: str = "/") -> None:
        self.refused_busy = 0
        self.lost_events = 0
        self._robot = robot
        self._namespace = namespace
        self._client: Client | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._replies = f"dt.{robot}.sync.reply.{secrets.token_hex(6)}"
        self._asked: dict[str, asyncio.Future[Msg]] = {}
        self._next = 0

    async def bind(self, client: Client) -> None:
        """Use ``client`` from now on."""
        self._client = client
        await client.subscribe(f"{self._replies}.*", cb=self._on_reply)

    async def aclose(self) -> None:
        """Answer nothing more."""
        self._client = None
        for task in list(self._running):
            await end_task(task)

    async def serve(
        self,
        package: str,
        handlers: Mapping[str, Handler],
        about: Mapping[str, Mapping[str, str]] | None = None,
    ) -> Service:
        """Answer requests on ``dt.<robot>.srv.<package>.<verb>``; see ``natsserve.serve``."""
        return await serve(
            self._bound(), self._robot, package, __version__, dict(handlers), self._beside, about
        )

    async def publish_event(self, name: str, body: Mapping[str, Any]) -> None:
        """``dt.<robot>.evt.<name>``; lost and counted while there is no link."""
        try:
            subject = wire.event_subject(self._robot, name)
            await self._bound().publish(subject, orjson.dumps(body))
        except nats.errors.Error:
            self.lost_events += 1

    async def ask(self, subject: str, body: bytes, timeout_s: float) -> bytes:
        """The reply to one request of ours; raises ``DialtoneError`` where none comes in time."""
        client = self._bound()
        if len(self._asked) >= MAX_CALLS:
            self.refused_busy += 1
            raise DialtoneError(f"{MAX_CALLS} requests wait for replies already", where=subject)
        self._next += 1
        reply = f"{self._replies}.{self._next}"
        pending: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
        self._asked[reply] = pending
        try:
            await client.publish(subject, body, reply=reply)
            async with timeout(timeout_s):
                said = await pending
        except asyncio.TimeoutError:
            raise DialtoneError(f"no reply within {timeout_s:g} s", where=subject) from None
        except nats.errors.Error as error:
            raise DialtoneError(
                f"cannot ask ({error or type(error).__name__})", where=subject
            ) from error
        finally:
            del self._asked[reply]
        if not said.data and (said.headers or {}).get("Status") == "503":
            raise DialtoneError("nobody answers there", where=subject)
        return bytes(said.data)

    async def _on_reply(self, message: Msg) -> None:
        pending = self._asked.get(message.subject)
        if pending is not None and not pending.done():
            pending.set_result(message)

    def _bound(self) -> Client:
        if self._client is None:
            raise RuntimeError("open the transport before serving on it")
        return self._client

    def _beside(self, answer: Answer) -> Answer:
        """``answer`` as a task of its own: the library hands on the next when one returns.

        Each endpoint has its own bound: those who wait for a result keep nobody from cancelling.
        """
        running: set[asyncio.Task[None]] = set()

        async def begin(request: Request) -> None:
            if len(running) >= MAX_RUNNING:
                self.refused_busy += 1
                await refuse(request, f"busy with {MAX_RUNNING} requests; ask again", 503)
                return
            task = asyncio.create_task(self._finish(answer, request))
            for each in (running, self._running):
                each.add(task)
                task.add_done_callback(each.discard)

        return begin

    async def _finish(self, answer: Answer, request: Request) -> None:
        try:
            await answer(request)
        except nats.errors.Error:
            self.lost_events += 1  # the link went while it was being answered
