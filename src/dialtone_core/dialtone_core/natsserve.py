"""Requests that are answered with JSON on NATS, as micro services (ADR-32)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from nats.aio.client import Client
from nats.micro import ServiceConfig, add_service
from nats.micro.request import Request
from nats.micro.service import EndpointConfig, Service

from dialtone_core.errors import DialtoneError
from dialtone_core.wire import service_subject

Handler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
Answer = Callable[[Request], Awaitable[None]]


async def serve(
    client: Client,
    robot: str,
    package: str,
    version: str,
    handlers: dict[str, Handler],
    around: Callable[[Answer], Answer] = lambda answer: answer,
    about: Mapping[str, Mapping[str, str]] | None = None,
) -> Service:
    """Answer ``dt.<robot>.srv.<package>.<verb>`` with JSON, as a NATS micro service (ADR-32).

    A handler gets the request object and returns the reply's fields; a ``DialtoneError`` becomes
    ``{"ok": false, "error": …}``. ``around`` wraps what answers a request: the library hands on
    the next one when it returns. ``about`` is metadata of endpoints, by verb.
    ``await service.stop()`` withdraws it.
    """
    service = await add_service(
        client,
        ServiceConfig(
            name=f"{robot}-{package.replace('.', '-')}",
            version=version,
            description=f"Dialtone {package}",
        ),
    )
    for verb, handler in handlers.items():
        await service.add_endpoint(
            EndpointConfig(
                name=verb.replace(".", "-"),
                subject=service_subject(robot, package, verb),
                handler=_asked(around(_endpoint(handler)), verb in _UNASKED),
                metadata=dict((about or {}).get(verb, {})),
            )
        )
    return service


#: Verbs that need no answer: a stop is never refused for want of one.
_UNASKED = frozenset(("estop", "estop.fire"))


def _asked(answer: Answer, unasked: bool = False) -> Answer:
    """``answer`` for requests whose reply goes to an inbox; what else comes has no effect.

    A server does not check where a reply goes. Somebody who may only ask for a status could name a
    command's subject there and have us, or the server itself, publish on it: such answers leave
    with the rights of who gives them, and arrive without a reply subject.
    """

    async def begin(request: Request) -> None:
        reply = request._msg.reply
        if reply.startswith(("_INBOX.", "_R_.")) or (unasked and not reply):
            await answer(request)

    return begin


def _endpoint(handler: Handler) -> Answer:
    async def answer(request: Request) -> None:
        try:
            body = orjson.loads(request.data) if request.data else {}
            if not isinstance(body, dict):
                raise DialtoneError("the request is no JSON object")
            reply = {"ok": True, **await handler(body)}
        except orjson.JSONDecodeError as error:
            await refuse(request, f"the request is not JSON: {error}")
        except DialtoneError as error:
            await refuse(request, str(error))
        else:
            await request.respond(orjson.dumps(reply))

    return answer


async def refuse(request: Request, why: str, code: int = 400) -> None:
    """Answer ``{"ok": false, "error": why}``, with the headers that ADR-32 has for errors."""
    body = orjson.dumps({"ok": False, "error": why})
    words = " ".join(why.encode("ascii", "replace").decode().split())[:200]
    await request.respond_error(str(code), words or "refused", body)
