"""One way to be a NATS client: reconnect for ever, speak JSON services, never replay commands."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import nats
import orjson
from nats.aio.client import Client
from nats.micro import ServiceConfig, add_service
from nats.micro.request import Request
from nats.micro.service import EndpointConfig, Service

from dialtone_core.errors import DialtoneError
from dialtone_core.wire import service_subject

Handler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]

#: Buffered publishes are *delivered after a reconnect* (facts: NATS): stale telemetry is worth
#: little, a stale command is dangerous. 0 makes a publish fail at once while disconnected.
NO_REPLAY = 0


async def connect(
    url: str,
    name: str,
    *,
    pending_bytes: int = 2 * 1024 * 1024,
    on_state: Callable[[bool, str], None] | None = None,
    credentials: str = "",
) -> Client:
    """Connect to ``url`` and keep connected for ever; returns at once when the server is away.

    ``on_state(connected, why)`` runs on the loop whenever the link comes or goes. Pass
    ``pending_bytes=NO_REPLAY`` for a connection that carries commands.
    """

    def tell(connected: bool, why: str) -> None:
        if on_state is not None:
            on_state(connected, why)

    async def on_error(error: Exception) -> None:
        if not client.is_connected:
            tell(False, str(error) or type(error).__name__)

    async def on_up() -> None:
        tell(True, "connected")

    async def on_down() -> None:
        tell(False, "disconnected")

    client = nats.NATS()
    options: dict[str, Any] = {"user_credentials": credentials} if credentials else {}
    await client.connect(
        url,
        name=name,
        allow_reconnect=True,
        max_reconnect_attempts=-1,
        reconnect_time_wait=0.5,
        connect_timeout=2,
        ping_interval=5,
        max_outstanding_pings=2,
        drain_timeout=2,
        pending_size=pending_bytes,
        error_cb=on_error,
        reconnected_cb=on_up,
        disconnected_cb=on_down,
        **options,
    )
    tell(True, "connected")
    return client


async def serve(
    client: Client, robot: str, package: str, version: str, handlers: dict[str, Handler]
) -> Service:
    """Answer ``dt.<robot>.srv.<package>.<verb>`` with JSON, as a NATS micro service (ADR-32).

    A handler gets the request object and returns the reply's fields; a ``DialtoneError`` becomes
    ``{"ok": false, "error": …}``. ``await service.stop()`` withdraws it.
    """
    service = await add_service(
        client,
        ServiceConfig(
            name=f"{robot}-{package}", version=version, description=f"Dialtone {package}"
        ),
    )
    for verb, handler in handlers.items():
        await service.add_endpoint(
            EndpointConfig(
                name=verb.replace(".", "-"),
                subject=service_subject(robot, package, verb),
                handler=_endpoint(handler),
            )
        )
    return service


def _endpoint(handler: Handler) -> Callable[[Request], Awaitable[None]]:
    async def answer(request: Request) -> None:
        try:
            body = orjson.loads(request.data) if request.data else {}
            if not isinstance(body, dict):
                raise DialtoneError("the request is no JSON object")
            reply = {"ok": True, **await handler(body)}
        except orjson.JSONDecodeError as error:
            reply = {"ok": False, "error": f"the request is not JSON: {error}"}
        except DialtoneError as error:
            reply = {"ok": False, "error": str(error)}
        await request.respond(orjson.dumps(reply))

    return answer
