"""JSON and back, for every message type of every installed interface package."""

from __future__ import annotations

import math
import random
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
from ament_index_python.packages import get_packages_with_prefixes
from hypothesis import given, settings
from hypothesis import strategies as st
from rclpy.serialization import deserialize_message, serialize_message
from rosidl_parser import definition as idl
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Float32, Int64, String, UInt8

from dialtone_bridge import ros_json
from dialtone_bridge.ros_json import cdr_to_json, from_json, parse, to_json
from dialtone_core.errors import WireError
from dialtone_ros.types import message_class


def _installed() -> list[str]:
    found = []
    for package, prefix in get_packages_with_prefixes().items():
        for path in sorted(Path(prefix, "share", package, "msg").glob("*.msg")):
            found.append(f"{package}/msg/{path.stem}")
    return sorted(set(found))


TYPES = _installed()
_EDGES = {"float": [0.0, -0.0, 1.5, math.inf, -math.inf, math.nan, 3.4028234663852886e38],
          "double": [0.0, -0.0, 0.1, math.inf, math.nan, 1e308, 5e-324]}  # fmt: skip


def fill(cls: type[Any], rng: random.Random) -> Any:
    """A message of ``cls`` with arbitrary values in every field, edges of each range included."""
    message = cls()
    for name, kind in zip(cls.get_fields_and_field_types(), cls.SLOT_TYPES, strict=True):
        setattr(message, name, value_of(kind, rng))
    return message


def value_of(kind: Any, rng: random.Random) -> Any:
    if isinstance(kind, idl.NamespacedType):
        return fill(message_class("/".join([*kind.namespaces, kind.name])), rng)
    if isinstance(kind, idl.AbstractGenericString):
        most = getattr(kind, "maximum_size", None)
        text = rng.choice(["", "plain", "ünï·☃", '"\\ \n\t'])
        return text if most is None else text.encode()[:most].decode(errors="ignore")
    if isinstance(kind, idl.AbstractNestedType):
        count = rng.randrange(4)
        if isinstance(kind, idl.Array):
            count = kind.size
        elif isinstance(kind, idl.BoundedSequence):
            count = min(count, kind.maximum_size)
        return [value_of(kind.value_type, rng) for _ in range(count)]
    return basic(kind.typename, rng)


def basic(name: str, rng: random.Random) -> Any:
    if name == "boolean":
        return rng.random() < 0.5
    if name == "octet":
        return bytes([rng.randrange(256)])
    if name in _EDGES:
        return rng.choice(_EDGES[name])
    bits = int(name.lstrip("uint") or 8) if name != "char" else 8
    low, high = (0, 2**bits - 1) if name[0] in "uc" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return rng.choice([low, high, rng.randint(low, high)])


def test_the_standard_packages_are_all_here() -> None:
    packages = {name.split("/")[0] for name in TYPES}
    assert {"sensor_msgs", "nav_msgs", "geometry_msgs", "diagnostic_msgs"} <= packages
    assert len(TYPES) > 150


def same(one: Any, other: Any) -> bool:
    """Equal to the last bit: NaN is itself, and 0.0 is not -0.0.

    Not a comparison of CDR bytes: the serialiser leaves its padding uninitialised.
    """
    if hasattr(one, "SLOT_TYPES"):
        names = one.get_fields_and_field_types()
        return type(one) is type(other) and all(
            same(getattr(one, name), getattr(other, name)) for name in names
        )
    if hasattr(one, "tolist"):
        return type(one) is type(other) and same(one.tolist(), other.tolist())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float):
        return struct.pack("d", one) == struct.pack("d", other)
    return type(one) is type(other) and bool(one == other)


@pytest.mark.parametrize("type_name", TYPES)
def test_every_type_comes_back_exactly(type_name: str) -> None:
    cls = message_class(type_name)
    for seed in range(5):
        cdr = serialize_message(fill(cls, random.Random(seed)))
        again = parse(cls, cdr_to_json(type_name, cdr))
        sent_again = deserialize_message(serialize_message(again), cls)
        assert same(sent_again, deserialize_message(cdr, cls))


def test_numbers_that_javascript_would_round_travel_as_strings() -> None:
    assert to_json(Int64(data=2**53)) == {"data": str(2**53)}
    assert to_json(Int64(data=2**53 - 1)) == {"data": 2**53 - 1}
    assert from_json(Int64, {"data": "-9223372036854775808"}).data == -(2**63)


@pytest.mark.parametrize("text", ["0" * 24 + "5", "0" * 5000 + "5", "-" + "0" * 30 + "5"])
def test_zeros_in_front_of_an_integer_change_nothing(text: str) -> None:
    assert from_json(Int64, {"data": text}).data == (-5 if text[0] == "-" else 5)


@pytest.mark.parametrize(
    ("kind", "text", "fits"),
    [
        (idl.BoundedWString(4), "üüüü", True),
        (idl.BoundedWString(4), "\U0001f916\U0001f916", True),
        (idl.BoundedWString(4), "\U0001f916\U0001f916x", False),
        (idl.BoundedWString(4), "plain", False),
        (idl.BoundedString(4), "üü", True),
        (idl.BoundedString(4), "üüx", False),
    ],
)
def test_a_string_is_bounded_in_bytes_and_a_wide_one_in_words(
    kind: Any, text: str, fits: bool
) -> None:
    decode = ros_json._coder(kind).decode
    if fits:
        assert decode(text, "name") == text
        return
    with pytest.raises(WireError, match="too_long"):
        decode(text, "name")


def test_bytes_are_base64_and_a_list_is_taken_too() -> None:
    made = to_json(CompressedImage(format="jpeg", data=b"\xff\xd8"))
    assert made["data"] == "/9g="
    assert bytes(from_json(CompressedImage, {"data": [255, 216]}).data) == b"\xff\xd8"


@pytest.mark.parametrize(
    ("cls", "body", "reason"),
    [
        (String, {"dato": "x"}, "unknown_field"),
        (String, {"data": 1}, "not_string"),
        (String, {"data": "a\0b"}, "not_string"),
        (String, [], "not_object"),
        (UInt8, {"data": 256}, "out_of_range"),
        (UInt8, {"data": -1}, "out_of_range"),
        (UInt8, {"data": 1.5}, "not_integer"),
        (UInt8, {"data": True}, "not_integer"),
        (UInt8, {"data": "7"}, "not_integer"),
        (Int64, {"data": str(2**63)}, "out_of_range"),
        (Int64, {"data": "9" * 4000}, "out_of_range"),
        (Int64, {"data": "9" * 9000}, "out_of_range"),
        (Int64, {"data": "5 apples"}, "not_integer"),
        (Int64, {"data": "\u0665"}, "not_integer"),
        (Int64, {"data": "-"}, "not_integer"),
        (Float32, {"data": 1e39}, "out_of_range"),
        (Float32, {"data": "fast"}, "not_number"),
        (CompressedImage, {"data": "?"}, "not_base64"),
        (CompressedImage, {"data": {}}, "not_list"),
        (CompressedImage, {"header": {"stamp": {"sec": "x"}}}, "not_integer"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(cls: Any, body: Any, reason: str) -> None:
    with pytest.raises(WireError) as caught:
        from_json(cls, body)
    assert caught.value.reason == reason


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@settings(max_examples=200, deadline=None)
@given(body=_JSON | st.dictionaries(st.sampled_from(["header", "data", "format"]), _JSON))
def test_garbage_is_refused_or_understood_and_never_crashes(body: Any) -> None:
    with suppress(WireError):
        serialize_message(from_json(CompressedImage, body))


@given(text=st.binary(max_size=60))
def test_any_bytes_are_refused_or_understood(text: bytes) -> None:
    with suppress(WireError):
        assert isinstance(parse(String, text), String)
        assert isinstance(orjson.loads(text), dict)
