"""The NATS contract: subjects, headers, and the JSON of a velocity command. See docs/wire.md."""

from __future__ import annotations

import math
from typing import Any

import orjson

from dialtone_core.command import Envelope, Twist
from dialtone_core.errors import WireError
from dialtone_core.naming import path_to_topic, topic_to_path

MAX_COMMAND_BYTES = 4096
#: A day; a longer one is a mistake.
_MOST_TTL_MS = 86_400_000.0

TYPE = "Dt-Type"
ENCODING = "Dt-Encoding"
STAMP_NS = "Dt-Stamp-Ns"
SEQ = "Dt-Seq"
OPERATOR = "Dt-Operator"

_AXES = ("x", "y", "z")


def telemetry_subject(robot: str, topic: str, namespace: str = "/") -> str:
    """``dt.<robot>.tlm.<topic.path>``: a ROS topic on its way out."""
    return f"dt.{robot}.tlm.{topic_to_path(topic, namespace)}"


def command_subject(robot: str, topic: str, namespace: str = "/") -> str:
    """``dt.<robot>.cmd.<topic.path>``: a ROS topic on its way in."""
    return f"dt.{robot}.cmd.{topic_to_path(topic, namespace)}"


def event_subject(robot: str, name: str) -> str:
    """``dt.<robot>.evt.<name>``: something happened."""
    return f"dt.{robot}.evt.{name}"


def service_subject(robot: str, package: str, verb: str) -> str:
    """``dt.<robot>.srv.<package>.<verb>``: request and reply, NATS micro (ADR-32)."""
    return f"dt.{robot}.srv.{package}.{verb}"


def command_topic(robot: str, subject: str, namespace: str = "/") -> str:
    """``dt.<robot>.cmd.cmd_vel`` → ``cmd_vel``, relative to ``namespace`` or a full name outside
    of it; raises ``WireError`` for a foreign subject, and for a second way to say the same topic:
    rules that know one name of it must not be got round by another."""
    prefix = f"dt.{robot}.cmd."
    topic = path_to_topic(subject.removeprefix(prefix), namespace)
    if not topic or subject != command_subject(robot, topic, namespace):
        raise WireError("foreign_subject", subject[:80])
    return topic


def decode_velocity(payload: bytes) -> tuple[Twist, Envelope]:
    """JSON velocity command → twist (base_link, m/s, rad/s) and envelope.

    ``{"linear":{"x":0.4},"angular":{"z":0.1}}`` is whole; missing axes are 0. Optional ``seq``,
    ``ttl_ms``, ``issued_ns``, ``operator``; a TwistStamped shape (``{"twist": {…}}``) is taken.
    Raises ``WireError`` with reason ``too_big``, ``not_json``, ``not_object``, ``unknown_field``,
    ``not_number``, ``not_finite`` or ``out_of_range``; an unknown field is an error because a
    misspelt ``"linaer"`` must not silently mean "stop".
    """
    if len(payload) > MAX_COMMAND_BYTES:
        raise WireError("too_big", f"{len(payload)} bytes, at most {MAX_COMMAND_BYTES}")
    try:
        body = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise WireError("not_json", str(error)[:80]) from error
    if not isinstance(body, dict):
        raise WireError("not_object", type(body).__name__)
    twist = body.get("twist", body)
    if not isinstance(twist, dict):
        raise WireError("not_object", "twist")
    _reject_unknown(body, twist)
    linear = _vector(twist, "linear")
    angular = _vector(twist, "angular")
    return Twist(*linear, *angular), _envelope(body)


def _reject_unknown(body: dict[str, Any], twist: dict[str, Any]) -> None:
    known = {"linear", "angular", "twist", "header", "seq", "ttl_ms", "issued_ns", "operator"}
    unknown = (body.keys() | twist.keys()) - known
    if unknown:
        raise WireError("unknown_field", sorted(unknown)[0][:40])
    if "linear" not in twist and "angular" not in twist:
        raise WireError("empty", "neither linear nor angular")


def _vector(twist: dict[str, Any], key: str) -> tuple[float, float, float]:
    vector = twist.get(key, {})
    if not isinstance(vector, dict):
        raise WireError("not_object", key)
    unknown = vector.keys() - set(_AXES)
    if unknown:
        raise WireError("unknown_field", f"{key}.{sorted(unknown)[0][:40]}")
    x, y, z = (_number(vector.get(axis, 0.0), f"{key}.{axis}") for axis in _AXES)
    return x, y, z


def _number(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise WireError("not_number", name)
    number = float(value)
    if not math.isfinite(number):
        raise WireError("not_finite", name)
    return number


def _envelope(body: dict[str, Any]) -> Envelope:
    operator = body.get("operator", "")
    seq = body.get("seq")
    ttl_ms = body.get("ttl_ms")
    issued_ns = body.get("issued_ns")
    if not isinstance(operator, str) or len(operator) > 64:
        raise WireError("not_string", "operator")
    for name, value in (("seq", seq), ("issued_ns", issued_ns)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise WireError("not_number", name)
        if value is not None and abs(value) >= 1 << 63:
            raise WireError("out_of_range", name)
    ttl_ns = None
    if ttl_ms is not None:
        ttl = _number(ttl_ms, "ttl_ms")
        if abs(ttl) > _MOST_TTL_MS:
            raise WireError("out_of_range", "ttl_ms")
        ttl_ns = round(ttl * 1e6)
    return Envelope(operator, seq, ttl_ns, issued_ns)
