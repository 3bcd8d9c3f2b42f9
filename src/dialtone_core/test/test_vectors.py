"""The wire vectors that web clients are tested with are what this side reads and writes."""

from __future__ import annotations

import importlib.util
import json
import struct
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from rclpy.serialization import deserialize_message

from dialtone_core import wire
from dialtone_core.command import Twist
from dialtone_core.errors import WireError
from dialtone_ros.types import message_class

FOLDER = Path(__file__).parent / "vectors"


def _load(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("vectors_generate", FOLDER / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _without_padding(table: Any) -> Any:
    """Serialisers leave chance in a CDR payload's padding, so its bytes are compared decoded."""
    if isinstance(table, list) and table and "type" in table[0]:
        return [(vector["type"], vector["value"]) for vector in table]
    return table


def test_the_committed_vectors_are_what_the_generator_writes() -> None:
    for name, table in _generator().tables().items():
        assert _without_padding(_load(name)) == _without_padding(table), f"regenerate {name}"


@pytest.mark.parametrize("vector", _load("cdr"), ids=lambda vector: vector["type"])
def test_rclpy_reads_the_bytes_of_a_vector_as_its_value(vector: dict[str, Any]) -> None:
    message = deserialize_message(bytes.fromhex(vector["hex"]), message_class(vector["type"]))
    assert _generator()._plain(message) == vector["value"]


@pytest.mark.parametrize("vector", _load("commands")["encode"], ids=lambda vector: vector["name"])
def test_the_robot_reads_a_web_command_as_it_was_meant(vector: dict[str, Any]) -> None:
    twist, envelope = wire.decode_velocity(vector["json"].encode())
    assert twist == Twist(x=vector["x"], yaw=vector["yaw"])
    assert (envelope.operator, envelope.seq) == (vector["operator"], vector["seq"])
    assert envelope.issued_ns == int(vector["issued_ns"])
    assert envelope.ttl_ns == round(vector["ttl_ms"] * 1e6)


@pytest.mark.parametrize("vector", _load("commands")["refuse"], ids=lambda vector: vector["json"])
def test_a_malformed_command_is_refused_by_its_reason(vector: dict[str, str]) -> None:
    with pytest.raises(WireError) as caught:
        wire.decode_velocity(vector["json"].encode())
    assert caught.value.reason == vector["reason"]


@pytest.mark.parametrize("vector", _load("subjects"), ids=lambda vector: vector["path"])
def test_both_sides_name_a_subject_alike(vector: dict[str, str]) -> None:
    robot, path, space = vector["robot"], vector["path"], vector.get("namespace", "/")
    names: dict[str, Callable[[], str]] = {
        "tlm": lambda: wire.telemetry_subject(robot, path, space),
        "cmd": lambda: wire.command_subject(robot, path, space),
        "evt": lambda: wire.event_subject(robot, path),
        "srv": lambda: wire.service_subject(robot, *path.split(" ")),
    }
    assert names[vector["kind"]]() == vector["subject"]


def test_a_video_vector_is_a_header_of_24_bytes_and_the_picture() -> None:
    for vector in _load("video"):
        data = bytes.fromhex(vector["hex"])
        version, kind, _, seq, capture_ns, sent_ns = struct.unpack_from("<BBHIQQ", data)
        assert (version, kind, seq) == (1, vector["kind"], vector["seq"])
        assert (str(capture_ns), str(sent_ns)) == (vector["capture_ns"], vector["sent_ns"])
        assert data[24:].hex() == vector["picture_hex"]
