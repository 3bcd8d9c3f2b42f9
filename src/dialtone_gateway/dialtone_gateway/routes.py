"""The route table: every path with its role and its description, in one place.

The middleware decides by it, the OpenAPI document is written from it, and a test walks the
application's router to prove that nothing is served that is not in it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from dialtone_gateway.roles import Role

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Schema = dict[str, Any]

#: A name in a path: no separators, no dots in front, so that no path leaves its folder.
NAME = r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}"

ANY: Schema = {}
STRING: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
INTEGER: Schema = {"type": "integer"}
BOOLEAN: Schema = {"type": "boolean"}


def obj(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    """JSON schema of an object; further members are allowed, so that fields may be added."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
    }


def array(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


@dataclass(frozen=True)
class Route:
    """One method of one path.

    ``role`` is the least that may call it. ``query`` and ``body`` are JSON schemas by name and as
    a whole; ``answer`` that of the 200 reply where it is JSON, ``media`` its type otherwise.
    ``socket``: a WebSocket. ``json_body``: the body is JSON and must say so. ``own_auth``: the
    handler proves who asks by itself (socket.io's token). ``any_origin``: nothing that a browser
    sends by itself counts there, so that pages of other sites may come.
    """

    method: str
    path: str
    handler: Handler
    role: Role
    summary: str
    query: Mapping[str, Schema] = field(default_factory=dict)
    body: Schema | None = None
    answer: Schema | None = None
    media: str = "application/json"
    socket: bool = False
    own_auth: bool = False
    any_origin: bool = False
    statuses: tuple[int, ...] = ()
    max_body_bytes: int = 16 * 1024

    @property
    def unsafe(self) -> bool:
        """Whether it may change something, so that a forged cross-site request must not do it."""
        return self.method not in ("GET", "HEAD", "OPTIONS")


TABLE: web.AppKey[dict[tuple[str, str], Route]] = web.AppKey("routes", dict)


def mount(app: web.Application, routes: list[Route]) -> None:
    """Serve ``routes`` and remember them for the middleware and the document."""
    table = app.setdefault(TABLE, {})
    for route in routes:
        made = app.router.add_route(route.method, route.path, route.handler)
        if route.method == "GET" and not route.socket:
            app.router.add_route("HEAD", route.path, route.handler)
        resource = made.resource
        if resource is None:
            raise RuntimeError(f"no resource for {route.path}")
        table[route.method, resource.canonical] = route


def find(request: web.Request) -> Route | None:
    """The route of a request, or ``None`` where nothing is served there."""
    resource = request.match_info.route.resource
    if resource is None:
        return None
    method = "GET" if request.method == "HEAD" else request.method
    table = request.config_dict[TABLE]
    return table.get((method, resource.canonical)) or table.get(("*", resource.canonical))
