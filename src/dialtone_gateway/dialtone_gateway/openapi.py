"""The OpenAPI 3.1 document, written from the route table."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from dialtone_core import __version__
from dialtone_gateway.roles import Role
from dialtone_gateway.routes import NAME, STRING, Route, obj

_PARAMETER = re.compile(r"\{(\w+)(?::[^{}]*(?:\{[^{}]*\}[^{}]*)*)?\}")
#: What a name in a path looks like, where it is not just a name.
_PATTERNS = {"camera": "^[a-z0-9_]{1,40}$"}
_REASONS = {
    400: "The request is malformed.",
    401: "Not logged in.",
    403: "The role is too low, or the request is another site's.",
    404: "There is none of that name.",
    408: "The body did not come in time.",
    413: "The body is too big.",
    415: "The body is not JSON.",
    422: "The offer cannot be answered.",
    421: "The gateway is not known by that name.",
    429: "Too many; wait.",
    500: "Internal error.",
    503: "Not now: a limit is reached, or the robot is not there.",
}


def document(robot: str, routes: Iterable[Route]) -> dict[str, Any]:
    """The whole document. WebSockets are listed too, as the GET that they begin with."""
    paths: dict[str, Any] = {}
    for route in routes:
        if route.method == "*" or route.media == "*/*":
            continue
        path = _PARAMETER.sub(r"{\1}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"Dialtone gateway of {robot}",
            "version": __version__,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": "dt_session"},
            },
            "schemas": {"Error": obj({"error": STRING})},
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    made: dict[str, Any] = {
        "summary": route.summary,
        "x-role": route.role.text,
        "parameters": _parameters(route),
        "responses": _responses(route),
    }
    if route.role > Role.PUBLIC:
        made["security"] = [{"bearer": []}, {"cookie": []}]
    if route.body is not None:
        content = {"application/json": {"schema": route.body}}
        made["requestBody"] = {"required": True, "content": content}
    return made


def _parameters(route: Route) -> list[dict[str, Any]]:
    in_path = [
        {
            "name": match[1],
            "in": "path",
            "required": True,
            "schema": {"type": "string", "pattern": _PATTERNS.get(match[1], f"^{NAME}$")},
        }
        for match in _PARAMETER.finditer(route.path)
    ]
    in_query = [
        {"name": name, "in": "query", "required": False, "schema": schema}
        for name, schema in route.query.items()
    ]
    return [*in_path, *in_query]


def _responses(route: Route) -> dict[str, Any]:
    statuses = {*route.statuses, 421, 403}
    if route.role > Role.PUBLIC:
        statuses.add(401)
    if route.body is not None:
        statuses |= {400, 408, 413, 415}
    if route.query:
        statuses.add(400)
    fault = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    made: dict[str, Any] = {
        str(status): {"description": _REASONS[status], "content": fault}
        for status in sorted(statuses)
    }
    if route.socket:
        made["101"] = {"description": "It becomes a WebSocket."}
        made["400"] = {"description": "Not a WebSocket handshake.", "content": fault}
    else:
        schema = {"schema": route.answer} if route.answer is not None else {}
        made["200"] = {"description": route.summary, "content": {route.media: schema}}
    return made
