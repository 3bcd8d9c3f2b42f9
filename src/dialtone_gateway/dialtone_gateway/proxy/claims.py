"""Who a message to a robot says it is from, held against who it is from. Pure.

The server's permissions say which subjects a role may use; they do not read payloads. A browser's
requests to teleop and its velocity commands leave in the login's own name and role, whatever it
left out, and what names somebody else does not leave at all. That holds for every robot that the
server knows, not just for the gateway's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson

from dialtone_core import wire
from dialtone_core.command import Envelope
from dialtone_core.errors import WireError
from dialtone_gateway.roles import Identity, Role

_TO_ROBOT = re.compile(r"dt\.[^.]+\.(cmd|srv)\.(.+)")
_INBOX = "_INBOX."


def in_the_name_of(
    identity: Identity, subject: str, headers: bytes, payload: bytes
) -> bytes | None:
    """``payload`` as it may go on, or ``None`` where it claims to be somebody else's."""
    if subject.startswith("$JS.API.CONSUMER."):
        return payload if _delivers_to_an_inbox(payload) else None
    found = _TO_ROBOT.fullmatch(subject)
    if found is None:
        return payload
    kind, name = found.groups()
    if not _headers_are_honest(identity, headers, kind):
        return None
    try:
        body: Any = orjson.loads(payload) if payload else {}
    except orjson.JSONDecodeError:
        return payload  # the receiver refuses it, and says why
    if not isinstance(body, dict):
        return payload
    if any(claim != identity.operator for claim in _claims(body)):
        return None
    if kind == "cmd":
        return _stamped(payload, body, {"operator": identity.operator}, name == "cmd_vel")
    return _request(identity, name, payload, body)


def _request(identity: Identity, name: str, payload: bytes, body: dict[str, Any]) -> bytes | None:
    """A service's. Only teleop asks for a role."""
    if not name.startswith("teleop."):
        return payload
    if body.get("role", identity.role.text) != identity.role.text:
        return None
    clears = name == "teleop.estop" and body.get("active", True) is not True
    if clears and identity.role < Role.OPERATOR:
        return None
    own = {"operator": identity.operator, "role": identity.role.text}
    return _stamped(payload, body, own, True)


def _stamped(payload: bytes, body: dict[str, Any], own: dict[str, str], wanted: bool) -> bytes:
    if not wanted or own.items() <= body.items():
        return payload
    return orjson.dumps({**body, **own})


def _claims(body: dict[str, Any]) -> Iterator[object]:
    """Every operator that a body names: by a field, behind a neck line, or in ``frame_id``."""
    if "operator" in body:
        yield body["operator"]
    header = body.get("header")
    frame = header.get("frame_id") if isinstance(header, dict) else None
    for text in (body.get("data"), frame):
        if not isinstance(text, str) or "?" not in text:
            continue
        try:
            operator = Envelope.from_frame_id(text)[1].operator
        except WireError:
            operator = text  # nobody's name
        if operator:
            yield operator


def _headers_are_honest(identity: Identity, headers: bytes, kind: str) -> bool:
    """No other operator, and no command whose operator can't be read here."""
    for line in headers.split(b"\r\n"):
        name, _, value = line.partition(b":")
        key, told = name.strip().lower(), value.strip()
        if key == wire.OPERATOR.lower().encode() and told != identity.operator.encode():
            return False
        if key == wire.ENCODING.lower().encode() and kind == "cmd" and told != b"json":
            return False
    return True


def _delivers_to_an_inbox(payload: bytes) -> bool:
    """A stream's messages go to whom asks, not on to a subject that they may not publish on."""
    try:
        body: Any = orjson.loads(payload) if payload else {}
        config = body.get("config", {})
        subject = config.get("deliver_subject", _INBOX)
    except (orjson.JSONDecodeError, AttributeError):
        return False
    return isinstance(subject, str) and subject.startswith(_INBOX)


def answers_to_an_inbox(reply: bytes) -> bool:
    """Whether an answer may go there: robots answer with their own rights, wherever it is."""
    tokens = reply.split(b".")
    return len(tokens) >= 2 and tokens[0] == b"_INBOX" and all(tokens)
