"""Teleop's own line to NATS: control requests in, events out, on a thread of its own.

It does not depend on the bridge, so the lease and the e-stop work while the bridge is down.
What cannot be sent at once is dropped: an old event or an old reply helps nobody.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import nats.errors
import orjson
from nats.aio.client import Client

from dialtone_core import __version__, natslink, natsserve
from dialtone_core.errors import DialtoneError
from dialtone_core.wire import event_subject

_CLOSE_S = 2.0
#: Events that wait for the loop; more than that and the oldest is dropped.
_MOST_EVENTS = 64


class Remote:
    """Serves ``handlers`` from ``open`` to ``close``; ``tell`` may be called from any thread."""

    def __init__(
        self,
        robot: str,
        url: str,
        credentials: str,
        handlers: dict[str, natsserve.Handler],
        log: Callable[[str, str], None],
    ) -> None:
        self._robot, self._url, self._credentials = robot, url, credentials
        self._handlers = handlers
        self._log = log
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._waiting: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(_MOST_EVENTS)
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name="nats", daemon=True)
        self._up: bool | None = None

    def open(self) -> None:
        """Start; connecting goes on in the background for ever."""
        self._thread.start()

    def close(self) -> None:
        """End and wait for it; idempotent."""
        if not self._thread.is_alive():
            return
        with suppress(RuntimeError):  # the loop has ended by itself
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_CLOSE_S)

    def tell(self, name: str, body: dict[str, Any]) -> None:
        """Publish event ``name``, or drop it where there is no connection."""
        subject, payload = event_subject(self._robot, name), orjson.dumps(body)
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._queue, subject, payload)

    @property
    def connected(self) -> bool:
        return bool(self._up)

    def _queue(self, subject: str, payload: bytes) -> None:
        if self._waiting.full():
            self._waiting.get_nowait()
            self.dropped += 1
        self._waiting.put_nowait((subject, payload))

    async def _publish(self, client: Client) -> None:
        while True:
            subject, payload = await self._waiting.get()
            try:
                await client.publish(subject, payload)
            except nats.errors.Error:  # not connected: the state at the reconnect is what counts
                self.dropped += 1

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except DialtoneError as error:
            self._log("error", f"no control over NATS: {error}")
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        client = await natslink.connect(
            self._url,
            f"{self._robot}-teleop",
            pending_bytes=natslink.NO_REPLAY,
            on_state=self._on_state,
            credentials=self._credentials,
        )
        publishing = asyncio.create_task(self._publish(client))
        try:
            await natsserve.serve(client, self._robot, "teleop", __version__, self._handlers)
            await self._stop.wait()
        finally:
            publishing.cancel()
            await client.close()

    def _on_state(self, connected: bool, why: str) -> None:
        if connected == self._up:
            return
        self._up = connected
        if connected:
            self._log("info", f"lease and e-stop answer at {self._url}")
        else:
            self._log("warn", f"no link to {self._url} ({why}); trying on")
