"""The stream on the robot that holds what must not be lost, and the consumer that a hub reads.

Both can go while we run: a folder that was wiped, somebody's ``nats stream rm``. They are looked
after, not only made.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Set
from dataclasses import dataclass
from typing import Any

from nats.aio.client import Client

from dialtone_bridge.jetstream import (
    NO_CONSUMER,
    NO_MESSAGE,
    NO_STREAM,
    JetStreamError,
    ask,
    ask_or_none,
)
from dialtone_core.clock import NS_PER_S

CONSUMER = "hub"
#: How long the server knows message ids, and so takes what it has for what it has.
DUPLICATES_S = 120.0
#: Biggest message with its headers. It is also what the server lets through at once before the
#: rate limit of the consumer holds (nats-server 2.15: the limiter's burst, else ``max_payload``).
MAX_BYTES = 1024 * 1024
#: A stream made anew begins above every number of the one before it, as a hub goes on from the
#: last that it has: at fewer messages a second than this, the clock tells such a number.
_SEQ_PER_S = 10_000
_ID = b"Nats-Msg-Id:"


def stream_name(robot: str) -> str:
    """The stream on the robot."""
    return f"dt_{robot}_durable"


def deliver_subject(robot: str) -> str:
    """Where the consumer ``hub`` sends what a hub sources."""
    return f"dt.{robot}.sync.durable"


@dataclass(frozen=True, slots=True)
class DurableSettings:
    """Limits of the stream, and of how fast a hub catches up (Mbit/s, 0: as fast as it can)."""

    max_bytes: int = 1 << 30
    max_age_s: float = 7 * 86400.0
    catchup_mbps: float = 16.0


class DurableStream:
    """Requests to the server that holds the stream; each raises ``JetStreamError``."""

    def __init__(self, robot: str, settings: DurableSettings) -> None:
        self.name = stream_name(robot)
        #: Number of the newest message that we know to be in the stream.
        self.last_seq = 0
        self._robot = robot
        self._settings = settings
        self._created = ""

    async def ensure(self, client: Client, wanted: Set[str], released: Set[str]) -> None:
        """Have a stream that takes the subjects ``wanted``, and its consumer.

        Those of an earlier run stay, as their topics may still come, unless they are ``released``.
        What is stored of those stays for the hub all the same. No stream is made for no subject.
        """
        info = await ask_or_none(client, f"STREAM.INFO.{self.name}", NO_STREAM)
        if info is None:
            if not wanted:
                return
            first = max(self.last_seq + 1, int(time.time()) * _SEQ_PER_S)
            config = {**self._config(), "subjects": sorted(wanted), "first_seq": first}
            info = await ask(client, f"STREAM.CREATE.{self.name}", config)
        self._follow(info)
        known = set(info["config"].get("subjects", ())) - {self.name}
        # A stream has a subject, if only one that nobody uses.
        subjects = sorted(wanted | (known - released)) or [self.name]
        await self._update(client, info["config"], {**self._config(), "subjects": subjects})
        await self._ensure_consumer(client)

    def _follow(self, info: dict[str, Any]) -> None:
        """Another stream than before counts from its own beginning."""
        if info["created"] != self._created:
            known, self._created = self._created, info["created"]
            state = info["state"]
            self.last_seq = state["first_seq"] - 1 if known else state["last_seq"]

    async def _update(self, client: Client, is_so: dict[str, Any], shall: dict[str, Any]) -> None:
        now = {**is_so, "subjects": sorted(is_so.get("subjects", ()))}
        if any(now.get(key) != value for key, value in shall.items()):
            await ask(client, f"STREAM.UPDATE.{self.name}", {**is_so, **shall})

    async def _ensure_consumer(self, client: Client) -> None:
        config: dict[str, object] = {
            "name": CONSUMER,
            "durable_name": CONSUMER,
            "deliver_subject": deliver_subject(self._robot),
            "deliver_policy": "all",
            "replay_policy": "instant",
            "ack_policy": "flow_control",
            "flow_control": True,
            "idle_heartbeat": NS_PER_S,
            "max_ack_pending": 1000,
        }
        rate = round(self._settings.catchup_mbps * 1e6)
        wanted = {**config, "rate_limit_bps": rate} if rate else config
        where = f"{self.name}.{CONSUMER}"
        info = await ask_or_none(client, f"CONSUMER.INFO.{where}", NO_CONSUMER)
        have = info["config"] if info is not None else {}
        if have.get("rate_limit_bps", 0) != rate or any(
            have.get(key) != value for key, value in config.items()
        ):
            body = {"stream_name": self.name, "config": wanted}
            await ask(client, f"CONSUMER.CREATE.{where}", body)

    async def since(self, client: Client, most: int) -> list[tuple[str, int]]:
        """Ids and numbers of up to ``most`` messages that came after ``last_seq``."""
        found: list[tuple[str, int]] = []
        seq = self.last_seq
        while len(found) < most:
            body = {"seq": seq + 1, "next_by_subj": ">"}
            try:
                got = await ask(client, f"STREAM.MSG.GET.{self.name}", body)
            except JetStreamError as error:
                if error.code != NO_MESSAGE:
                    raise
                break
            seq = got["message"]["seq"]
            found.append((_message_id(got["message"].get("hdrs", "")), seq))
        return found

    def _config(self) -> dict[str, object]:
        limits = self._settings
        return {
            "name": self.name,
            "storage": "file",
            "max_bytes": limits.max_bytes,
            "max_age": round(limits.max_age_s * NS_PER_S),
            "max_msg_size": MAX_BYTES,
            "discard": "old",
            "duplicate_window": round(DUPLICATES_S * NS_PER_S),
        }


def _message_id(headers: str) -> str:
    for line in base64.b64decode(headers).split(b"\r\n"):
        if line.startswith(_ID):
            return line.removeprefix(_ID).strip().decode("utf-8", "replace")
    return ""
