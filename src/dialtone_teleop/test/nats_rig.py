"""A real nats-server on a free port, and a client that a synchronous test can ask with."""

from __future__ import annotations

import asyncio
import subprocess
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import nats
import nats.errors
import orjson
from nats.aio.client import Client

from dialtone_bringup.preflight import find_nats_server
from dialtone_core.ports import free_ports


class NatsServer:
    """One server and one client; ``kill`` and ``start`` cut and mend it on the same port."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = free_ports(1)[0]
        self.url = f"nats://127.0.0.1:{self.port}"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._process: subprocess.Popen[bytes] | None = None
        self.start()
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self._client: Client = self._do(self._connect())

    def start(self) -> None:
        binary = find_nats_server()
        assert binary is not None, "nats-server is a requirement of the tests"
        with (self._folder / "nats.log").open("ab") as log:
            command = [binary, "-a", "127.0.0.1", "-p", str(self.port)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def ask(self, subject: str, body: dict[str, Any]) -> dict[str, Any]:
        """Request and reply, tried until somebody answers there."""

        async def ask() -> dict[str, Any]:
            for _ in range(100):
                try:
                    reply = await self._client.request(subject, orjson.dumps(body), timeout=2)
                except (nats.errors.NoRespondersError, nats.errors.OutboundBufferLimitError):
                    await asyncio.sleep(0.05)
                    continue
                found: dict[str, Any] = orjson.loads(reply.data)
                return found
            raise AssertionError(f"nobody answers {subject}")

        found: dict[str, Any] = self._do(ask())
        return found

    def events(self, name: str) -> list[dict[str, Any]]:
        """What was published on ``dt.<robot>.evt.<name>`` so far."""
        return [body for subject, body in self.heard if subject.endswith(f".evt.{name}")]

    def close(self) -> None:
        self._do(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self.kill()

    async def _connect(self) -> Client:
        async def hear(message: Any) -> None:
            self.heard.append((message.subject, orjson.loads(message.data)))

        client = await nats.connect(
            self.url, max_reconnect_attempts=-1, reconnect_time_wait=0.05, pending_size=0
        )
        await client.subscribe("dt.*.evt.>", cb=hear)
        return client

    def _do(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(15)
