"""The few requests of the JetStream API that we need, over a client that may be disconnected.

``nats.js`` would do for most, but not for sources with a named consumer. Protocol: subjects
``$JS.API.…`` with JSON bodies (docs.nats.io, JetStream wire API); durations in ns.
"""

from __future__ import annotations

import asyncio
from typing import Any

import nats.errors
import orjson
from nats.aio.client import Client

from dialtone_core.clock import NS_PER_S
from dialtone_core.errors import DialtoneError

_TIMEOUT_S = 3.0
#: JSStreamNameExistErr: there is one, with other settings.
_EXISTS = 10058
#: JSStreamNotFoundErr, JSConsumerNotFoundErr, JSNoMessageFoundErr.
NO_STREAM, NO_CONSUMER, NO_MESSAGE = 10059, 10014, 10037


class JetStreamError(DialtoneError):
    """The server said no; ``code`` is its own number of the reason, 0 for no answer."""

    def __init__(self, verb: str, code: int, why: str) -> None:
        self.code = code
        super().__init__(f"JetStream refused {verb}: {why}")


async def ask(client: Client, verb: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """One request, such as ``STREAM.INFO.name``; raises ``JetStreamError``."""
    try:
        payload = orjson.dumps(body) if body is not None else b""
        reply = await client.request(f"$JS.API.{verb}", payload, timeout=_TIMEOUT_S)
        answer: dict[str, Any] = orjson.loads(reply.data)
    except (nats.errors.Error, asyncio.TimeoutError, orjson.JSONDecodeError) as error:
        raise JetStreamError(verb, 0, str(error) or type(error).__name__) from error
    if "error" in answer:
        said = answer["error"]
        raise JetStreamError(verb, said.get("err_code", 0), said.get("description", "?"))
    return answer


async def ask_or_none(client: Client, verb: str, missing: int) -> dict[str, Any] | None:
    """Like ``ask``; ``None`` where the server has no such thing, by its number ``missing``."""
    try:
        return await ask(client, verb)
    except JetStreamError as error:
        if error.code != missing:
            raise
        return None


async def ensure_stream(client: Client, config: dict[str, Any]) -> None:
    """Have the stream ``config["name"]`` with these settings, whether it was there or not."""
    name = config["name"]
    try:
        await ask(client, f"STREAM.CREATE.{name}", config)
    except JetStreamError as error:
        if error.code != _EXISTS:
            raise
        await ask(client, f"STREAM.UPDATE.{name}", config)


def bucket(
    name: str, *, ttl_s: float = 0, storage: str = "file", size: int = -1
) -> dict[str, Any]:
    """Settings of the stream under a KV bucket of history 1 (ADR-8)."""
    return {
        "name": f"KV_{name}",
        "subjects": [f"$KV.{name}.>"],
        "storage": storage,
        "max_msgs_per_subject": 1,
        "max_age": round(ttl_s * NS_PER_S),
        "max_bytes": size,
        "discard": "new" if size < 0 else "old",
        "allow_rollup_hdrs": True,
        "deny_delete": True,
        "allow_direct": True,
        "duplicate_window": round(min(ttl_s, 120) * NS_PER_S) if ttl_s else 0,
    }
