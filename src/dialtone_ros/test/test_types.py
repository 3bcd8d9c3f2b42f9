"""Definitions are whole for every installed message type, and domains are held by one alone."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from geometry_msgs.msg import Twist
from mcap_ros2._dynamic import generate_dynamic

from dialtone_ros.domain import FreeDomain
from dialtone_ros.types import any_definition, message_class, message_definition


def _installed() -> list[str]:
    found = []
    for prefix in os.environ["AMENT_PREFIX_PATH"].split(os.pathsep):
        for path in Path(prefix, "share").glob("*/msg/*.msg"):
            found.append(f"{path.parts[-3]}/msg/{path.stem}")
    return sorted(found)


def test_every_installed_definition_is_whole_for_an_independent_parser() -> None:
    names = _installed()
    assert len(names) > 150
    for name in names:
        generate_dynamic(name, message_definition(name))


def test_dependencies_are_named_as_fields_write_them() -> None:
    heads = [
        line for line in message_definition("nav_msgs/msg/Odometry").splitlines() if "MSG:" in line
    ]
    assert heads[0] == "MSG: std_msgs/Header"
    assert not [line for line in heads if "/msg/" in line]


def test_a_class_is_found_by_either_form_of_its_name() -> None:
    assert message_class("geometry_msgs/Twist") is Twist
    assert message_class("geometry_msgs/msg/Twist") is Twist


@pytest.mark.parametrize("name", ["no_such_msgs/msg/Thing", "std_msgs/msg/NoSuch"])
def test_a_type_that_is_not_installed_is_a_lookup_error(name: str) -> None:
    with pytest.raises(LookupError, match="installed"):
        message_class(name)
    with pytest.raises(LookupError, match="installed"):
        message_definition(name)


def test_a_type_of_which_only_idl_is_installed_is_described_by_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = tmp_path / "share" / "ament_index" / "resource_index" / "packages"
    folder = tmp_path / "share" / "idl_only_msgs" / "msg"
    index.mkdir(parents=True)
    folder.mkdir(parents=True)
    (index / "idl_only_msgs").touch()
    (folder / "Thing.idl").write_text('#include "std_msgs/msg/Header.idl"\nmodule idl_only_msgs;')
    paths = f"{tmp_path}{os.pathsep}{os.environ['AMENT_PREFIX_PATH']}"
    monkeypatch.setenv("AMENT_PREFIX_PATH", paths)
    text = any_definition("idl_only_msgs/msg/Thing")
    heads = [line for line in text.splitlines() if line.startswith(("IDL: ", "MSG: "))]
    assert text.startswith("=" * 80 + "\nIDL: idl_only_msgs/msg/Thing\n#include")
    assert heads == [
        "IDL: idl_only_msgs/msg/Thing",
        "IDL: std_msgs/msg/Header",
        "IDL: builtin_interfaces/msg/Time",
    ]
    assert any_definition("std_msgs/msg/String") == message_definition("std_msgs/msg/String")
    with pytest.raises(LookupError, match="no definition of idl_only_msgs/msg/None is installed"):
        any_definition("idl_only_msgs/msg/None")


def test_two_holders_never_share_a_domain() -> None:
    with FreeDomain() as one, FreeDomain() as two:
        assert one.number != two.number
        assert str(one.number) != os.environ["ROS_DOMAIN_ID"] != str(two.number)
    with FreeDomain() as again:
        assert again.number == one.number
    again.close()


@pytest.mark.parametrize(
    "name", ["this/msg/Zen", "antigravity/msg/Xkcd", "os/msg/Path", "no/msg/X"]
)
def test_a_name_from_the_network_imports_nothing_but_packages_of_messages(name: str) -> None:
    before = set(sys.modules)
    with pytest.raises(LookupError):
        message_class(name)
    assert {"this", "antigravity"}.isdisjoint(set(sys.modules) - before)
