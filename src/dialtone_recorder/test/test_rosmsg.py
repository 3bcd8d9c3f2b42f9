"""The CDR reader against rosbags' serialiser, type by type."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_episode import STORE, T, header, joints, odometry

from dialtone_core.errors import WireError
from dialtone_recorder.rosmsg import Definition, Reader, parse


def definition(type_name: str) -> Definition:
    return parse(type_name, STORE.generate_msgdef(type_name, ros_version=2)[0])


def value_of(message: Any, path: str) -> Any:
    for step in path.split("."):
        name, _, index = step.partition("[")
        message = getattr(message, name)
        message = message[int(index[:-1])] if index else message
    return message


def read(message: Any, paths: list[str], little: bool = True) -> list[Any]:
    data = STORE.serialize_cdr(message, message.__msgtype__, little_endian=little)
    return Reader(definition(message.__msgtype__), paths).read(bytes(data))


def same(read: Any, expected: Any) -> bool:
    return bool(np.all(np.asarray(read) == np.asarray(expected)))


@pytest.mark.parametrize("little", [True, False])
def test_every_field_of_an_odometry_is_read_in_both_byte_orders(little: bool) -> None:
    message = odometry(1.25)
    paths = definition("nav_msgs/msg/Odometry").paths()
    for path, found in zip(paths, read(message, paths, little), strict=True):
        assert same(found, value_of(message, path)), path
    for path in paths:
        assert same(read(message, [path], little)[0], value_of(message, path)), path


@settings(max_examples=60, deadline=None)
@given(
    names=st.lists(st.text(max_size=9), max_size=5),
    values=st.lists(st.floats(allow_nan=False), max_size=4),
    frame=st.text(max_size=7),
)
def test_alignment_holds_behind_strings_and_empty_sequences(
    names: list[str], values: list[float], frame: str
) -> None:
    names = [name.replace("\0", "") for name in names]
    message = T["sensor_msgs/msg/JointState"](
        header(123, frame.replace("\0", "")), names, np.array(values), np.empty(0),
        np.array(values[::-1]),
    )  # fmt: skip
    found = read(message, ["name", "position", "velocity", "effort", "header.stamp.nanosec"])
    assert list(found[0]) == names
    assert same(found[1], values)
    assert len(found[2]) == 0
    assert same(found[3], values[::-1])
    assert found[4] == 123


def test_one_of_several_messages_in_a_sequence_is_read() -> None:
    field = T["sensor_msgs/msg/PointField"]
    message = T["sensor_msgs/msg/PointCloud2"](
        header(5), 1, 1, [field("x", 0, 7, 1), field("long name", 4, 8, 3)], False, 12, 12,
        np.zeros(12, np.uint8), True,
    )  # fmt: skip
    found = read(message, ["fields[1].offset", "fields[0].name", "is_dense", "data"])
    assert (found[0], found[1], found[2], len(found[3])) == (4, "x", True, 12)
    with pytest.raises(WireError, match="element"):
        read(message, ["fields[2].offset"])


def test_every_standard_message_type_can_be_compiled() -> None:
    compiled = 0
    for type_name in sorted(T):
        if (
            type_name.split("/")[1] == "msg"
            and "wstring" not in STORE.generate_msgdef(type_name, ros_version=2)[0]
        ):
            made = definition(type_name)
            Reader(made, made.paths())
            compiled += 1
    assert compiled > 150


def test_a_message_cut_anywhere_is_refused_and_never_read_past() -> None:
    data = bytes(STORE.serialize_cdr(joints(1.0, ["a", "b"]), "sensor_msgs/msg/JointState"))
    reader = Reader(definition("sensor_msgs/msg/JointState"), ["name", "position", "effort"])
    assert reader.read(data)
    for cut in range(len(data)):
        with pytest.raises(WireError):
            reader.read(data[:cut])


def test_a_field_that_is_not_there_is_named() -> None:
    with pytest.raises(KeyError, match=r"twist\.linear\.w"):
        Reader(definition("geometry_msgs/msg/TwistStamped"), ["twist.linear.w"])


def test_a_definition_with_constants_defaults_bounds_and_comments_is_understood() -> None:
    text = (
        'uint8 KIND=3 # a constant\nstring<=8 label "x"\nint32[<=4] few\n'
        "float64 scale 1.5\nOther[2] others\n" + "=" * 80 + "\nMSG: a/Other\nint8 v\n"
    )
    made = parse("a/msg/Thing", text)
    assert made.paths() == ["label", "few", "scale", "others[0].v"]
    assert not made.has_header()
    with pytest.raises(ValueError, match="lacks"):
        Reader(parse("a/msg/Thing", "Missing m\n"), [])
    with pytest.raises(ValueError, match="itself"):
        Reader(parse("a/msg/Thing", "Thing t\n"), [])
