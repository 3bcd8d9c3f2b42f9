"""The gateway's own way to the robot: one NATS client, requests, and the state of the link.

``pending_bytes=NO_REPLAY``: what is asked or sent while the server is away fails at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import nats.errors
import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg

from dialtone_core.natslink import NO_REPLAY, connect
from dialtone_core.wire import service_subject

LOG = logging.getLogger("gateway")

OnMessage = Callable[[Msg], Awaitable[None]]
End = Callable[[], Awaitable[None]]
_REQUEST_S = 0.3


class RobotLink:
    """``create`` opens nothing; ``open`` returns also while the server is away."""

    def __init__(self, robot: str, url: str, credentials: str = "") -> None:
        self.robot = robot
        self._url = url
        self._credentials = credentials
        self._client: Client | None = None
        self._up = False
        self._complained = False
        self._held = 0

    @property
    def connected(self) -> bool:
        return self._up

    def subscriptions(self) -> int:
        """How many subscriptions are held now, but for those of requests."""
        return self._held

    async def open(self) -> None:
        self._client = await connect(
            self._url,
            f"{self.robot} gateway",
            pending_bytes=NO_REPLAY,
            on_state=self._on_state,
            credentials=self._credentials,
        )

    async def aclose(self) -> None:
        client, self._client = self._client, None
        self._up, self._complained = False, True  # our own end is no news
        if client is not None:
            await client.close()

    async def subscribe(self, subject: str, on_message: OnMessage) -> End:
        """Have ``on_message`` for each message; the returned function ends it."""
        client = self._client
        if client is None:
            raise RuntimeError("open the link first")
        subscription = await client.subscribe(subject, cb=on_message)
        self._held += 1

        async def end() -> None:
            self._held -= 1
            if client.is_closed:
                return
            try:
                await subscription.unsubscribe()
            except nats.errors.Error as error:
                LOG.debug("unsubscribing %s: %s", subject, error)

        return end

    async def publish(self, subject: str, payload: bytes, headers: Mapping[str, str]) -> bool:
        """Send now, or tell that it did not go."""
        if self._client is None or not self._up:
            return False
        try:
            await self._client.publish(subject, payload, headers=dict(headers))
        except nats.errors.Error as error:
            LOG.debug("publishing on %s: %s", subject, error)
            return False
        return True

    async def ask(
        self, package: str, verb: str, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any] | None:
        """The reply of a service, or ``None`` where nobody answers in time."""
        if self._client is None or not self._up:
            return None
        subject = service_subject(self.robot, package, verb)
        try:
            asked = orjson.dumps(dict(body or {}))
            reply = await self._client.request(subject, asked, timeout=_REQUEST_S)
            answer = orjson.loads(reply.data)
        except (nats.errors.Error, asyncio.TimeoutError, orjson.JSONDecodeError):
            return None
        return answer if isinstance(answer, dict) else None

    def _on_state(self, connected: bool, why: str) -> None:
        if connected:
            LOG.info("connected to %s", self._url)
            self._complained = False
        elif self._up or not self._complained:
            self._complained = True
            LOG.warning("no link to %s (%s); trying on", self._url, why)
        self._up = connected
