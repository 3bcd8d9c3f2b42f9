"""ROS service calls on their way to NATS: who is asked, and what comes back. Free of ROS."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from dialtone_bridge.params import RequestParams
from dialtone_core.aio import end_task
from dialtone_core.delivery import Outbox, Policy
from dialtone_core.errors import ConfigError, DialtoneError
from dialtone_core.naming import topic_to_path

#: Calls that wait to be taken by the loop; beyond them the oldest stays without an answer.
_WAITING = Policy("queue", 256, 8 * 1024 * 1024)
Ask = Callable[[str, bytes, float], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class Asked:
    """One call. ``answer(reply, "")`` or ``answer(b"", why)`` is called once, on the loop."""

    subject: str
    body: bytes
    timeout_s: float
    answer: Callable[[bytes, str], None]


class Forwarder:
    """Carries calls to NATS side by side. ``put`` from any thread, the rest on the loop.

    ``ask(subject, body, timeout_s)`` bounds how many are under way, and says so.
    """

    def __init__(self, ask: Ask) -> None:
        self.answered = 0
        self.failed = 0
        self._ask = ask
        self._outbox: Outbox[Asked] = Outbox()
        self._lane = self._outbox.open_lane("requests", _WAITING)
        self._running: set[asyncio.Task[None]] = set()

    def figures(self) -> dict[str, int]:
        """For ``diagnostics``; ``dropped`` are calls that nobody took in time."""
        return {"answered": self.answered, "failed": self.failed, "dropped": self._lane.dropped}

    def put(self, asked: Asked) -> None:
        self._lane.put(asked, len(asked.body))

    async def run(self) -> None:
        """Until cancelled; calls under way stay without an answer then."""
        self._outbox.bind(asyncio.get_running_loop())
        try:
            while True:
                await self._outbox.wait()
                for _, asked in self._outbox.drain():
                    task = asyncio.create_task(self._carry(asked))
                    self._running.add(task)
                    task.add_done_callback(self._running.discard)
                await asyncio.sleep(0)
        finally:
            for task in list(self._running):
                await end_task(task)

    async def _carry(self, asked: Asked) -> None:
        try:
            reply = await self._ask(asked.subject, asked.body, asked.timeout_s)
        except DialtoneError as error:
            self.failed += 1
            asked.answer(b"", str(error))
            return
        self.answered += 1
        asked.answer(reply, "")


def resolve(robot: str, requests: Mapping[str, RequestParams]) -> dict[str, RequestParams]:
    """The table by service, each with its subject; raises ``ConfigError`` for what cannot be."""
    found: dict[str, RequestParams] = {}
    for label, each in requests.items():
        where = f"requests.{label}"
        service = each.service or label
        if not each.type:
            raise ConfigError(
                f"{where}.type is empty", fix="give one such as std_srvs/srv/Trigger"
            )
        if service in found:
            raise ConfigError(f"{where}.service is {service!r}, which another entry offers",
                              fix="offer each service once")  # fmt: skip
        subject = each.subject or f"dt.{robot}.req.{topic_to_path(service)}"
        tokens = subject.split(".")
        if not all(tokens) or any(each in " \t\r\n*>" for each in subject):
            raise ConfigError(
                f"{where}.subject is {subject!r}, no subject to publish on",
                fix="give words with dots between them, without spaces, * and >",
            )
        found[service] = RequestParams(service, each.type, subject, each.timeout_s)
    return found
