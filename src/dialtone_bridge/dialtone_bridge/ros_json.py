"""ROS messages as JSON and back, exactly, for every standard interface.

=====================  =====================================================================
ROS                    JSON
=====================  =====================================================================
bool, string, wstring  the same
integers               a number; beyond ±(2**53 - 1), where JavaScript rounds, a string
byte                   a number 0 to 255
float32, float64       a number; ``"nan"``, ``"inf"``, ``"-inf"`` where JSON has none
uint8[], char[],       base64 in a string (a list of numbers is taken too)
byte[]
other arrays           a list
nested messages        an object; a field left out has its default
=====================  =====================================================================

Whatever does not fit (an unknown field, a number out of its range, a list too long) raises
``WireError``: a message that was misunderstood must not reach the robot. Coders are built once a
type, from the type description that each generated class carries (``SLOT_TYPES``).
"""

from __future__ import annotations

import base64
import binascii
import math
from array import array
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import orjson
from rclpy.serialization import deserialize_message
from rosidl_parser import definition as idl

from dialtone_core.errors import WireError
from dialtone_ros.types import message_class

_SAFE = 2**53 - 1
_MOST_DIGITS = len(str(2**64))
_FLOAT32_MAX = (2 - 2**-23) * 2.0**127
_BITS = {"int8": 8, "int16": 16, "int32": 32, "int64": 64}
_BYTES = ("uint8", "char", "octet")
_WORDS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class Coder(NamedTuple):
    """``encode(value) -> JSON value``; ``decode(JSON value, where) -> value`` or ``WireError``."""

    encode: Callable[[Any], Any]
    decode: Callable[[Any, str], Any]


def to_json(message: Any) -> dict[str, Any]:
    """A message as a JSON object."""
    encoded: dict[str, Any] = _coder_of(type(message)).encode(message)
    return encoded


def from_json(cls: type[Any], body: Any) -> Any:
    """A message of ``cls`` from a JSON object; raises ``WireError``."""
    return _coder_of(cls).decode(body, "")


def cdr_to_json(type_name: str, payload: bytes) -> bytes:
    """CDR bytes of ``type_name`` as JSON text; raises ``WireError`` where they are none."""
    cls = message_class(type_name)
    try:
        message = deserialize_message(payload, cls)
    except Exception as error:  # rclpy raises RuntimeError, MemoryError or its own RMWError
        raise WireError("truncated", str(error)[:80]) from error
    return orjson.dumps(to_json(message))


def parse(cls: type[Any], text: bytes) -> Any:
    """A message of ``cls`` from JSON text; raises ``WireError``."""
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise WireError("not_json", str(error)[:80]) from error
    return from_json(cls, body)


def _coder_of(cls: Any) -> Coder:
    return _message(cls)


@cache
def _message(cls: Any) -> Coder:
    names = list(cls.get_fields_and_field_types())
    fields = {name: _coder(kind) for name, kind in zip(names, cls.SLOT_TYPES, strict=True)}

    def encode(message: Any) -> dict[str, Any]:
        return {name: coder.encode(getattr(message, name)) for name, coder in fields.items()}

    def decode(body: Any, where: str) -> Any:
        if not isinstance(body, dict):
            raise WireError("not_object", where or cls.__name__)
        message = cls()
        for name, value in body.items():
            coder = fields.get(name)
            at = f"{where}.{name}" if where else str(name)
            if coder is None:
                raise WireError("unknown_field", at[:80])
            setattr(message, name, coder.decode(value, at))
        return message

    return Coder(encode, decode)


def _coder(kind: Any) -> Coder:
    if isinstance(kind, idl.NamespacedType):
        return _coder_of(message_class("/".join([*kind.namespaces, kind.name])))
    if isinstance(kind, idl.AbstractGenericString):
        wide = isinstance(kind, idl.AbstractWString)
        return _string(getattr(kind, "maximum_size", None), "utf-16-le" if wide else "utf-8")
    if isinstance(kind, idl.Array):
        return _list(kind.value_type, kind.size, kind.size)
    if isinstance(kind, idl.BoundedSequence):
        return _list(kind.value_type, 0, kind.maximum_size)
    if isinstance(kind, idl.UnboundedSequence):
        return _list(kind.value_type, 0, None)
    return _basic(kind.typename)


def _basic(name: str) -> Coder:
    if name == "boolean":
        return Coder(bool, _decode_bool)
    if name == "octet":
        integer = _integer(0, 255)
        return Coder(lambda value: value[0], lambda value, at: bytes([integer.decode(value, at)]))
    if name in ("float", "double", "long double"):
        return _float(_FLOAT32_MAX if name == "float" else math.inf)
    if name in ("char", "wchar"):
        return _integer(0, 255 if name == "char" else 65535)
    bits = _BITS[name.removeprefix("u")]
    half = 2 ** (bits - 1)
    return _integer(0, 2 * half - 1) if name[0] == "u" else _integer(-half, half - 1)


def _decode_bool(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise WireError("not_bool", where)
    return value


def _integer(low: int, high: int) -> Coder:
    def encode(value: Any) -> Any:
        number = int(value)
        return number if -_SAFE <= number <= _SAFE else str(number)

    def decode(value: Any, where: str) -> int:
        if isinstance(value, str) and high > _SAFE:
            value = _whole(value, where)
        if isinstance(value, bool) or not isinstance(value, int):
            raise WireError("not_integer", where)
        if not low <= value <= high:
            raise WireError("out_of_range", where)
        return value

    return Coder(encode if high > _SAFE else int, decode)


def _whole(text: str, where: str) -> int:
    """The integer that ``text`` is; Python reads at most 4,300 digits, and slowly."""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal()):
        raise WireError("not_integer", where)
    digits = digits.lstrip("0") or "0"
    if len(digits) > _MOST_DIGITS:
        raise WireError("out_of_range", where)
    return -int(digits) if text[0] == "-" else int(digits)


def _float(limit: float) -> Coder:
    def encode(value: Any) -> Any:
        number = float(value)
        return number if math.isfinite(number) else str(number)

    def decode(value: Any, where: str) -> float:
        if isinstance(value, str) and value in _WORDS:
            return _WORDS[value]
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise WireError("not_number", where)
        if abs(value) > limit:
            raise WireError("out_of_range", where)
        return float(value)

    return Coder(encode, decode)


def _string(limit: int | None, encoding: str) -> Coder:
    """A string is bounded in what DDS carries of it: bytes of UTF-8, or words of UTF-16."""
    unit = len("x".encode(encoding))

    def decode(value: Any, where: str) -> str:
        if not isinstance(value, str):
            raise WireError("not_string", where)
        if limit is not None and len(value.encode(encoding, "surrogatepass")) > limit * unit:
            raise WireError("too_long", where)
        if "\0" in value:
            raise WireError("not_string", f"{where} holds a NUL")
        return value

    return Coder(str, decode)


def _list(kind: Any, least: int, most: int | None) -> Coder:
    item = _coder(kind)
    name = kind.typename if isinstance(kind, idl.BasicType) else ""

    def check(length: int, where: str) -> None:
        if length < least or (most is not None and length > most):
            raise WireError("wrong_length", f"{where} has {length}")

    def encode(values: Any) -> Any:
        if name in _BYTES:
            raw = b"".join(values) if name == "octet" else bytes(values)
            return base64.b64encode(raw).decode("ascii")
        plain = values.tolist() if hasattr(values, "tolist") else values
        return [item.encode(value) for value in plain]

    def decode(body: Any, where: str) -> Any:
        if isinstance(body, str) and name in _BYTES:
            raw = _unbase64(body, where)
            check(len(raw), where)
            return [bytes([each]) for each in raw] if name == "octet" else array("B", raw)
        if not isinstance(body, list):
            raise WireError("not_list", where)
        check(len(body), where)
        return [item.decode(value, f"{where}[{index}]") for index, value in enumerate(body)]

    return Coder(encode, decode)


def _unbase64(text: str, where: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise WireError("not_base64", where) from error
