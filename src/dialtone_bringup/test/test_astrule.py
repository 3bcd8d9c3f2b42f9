"""The house rules that ``dialtone check`` proves on the syntax tree."""

from __future__ import annotations

from pathlib import Path

import pytest

from dialtone_bringup.astrule import check_source, check_tree

PURE = Path("src/dialtone_bridge/dialtone_bridge/routes.py")


@pytest.mark.parametrize(
    ("path", "broken"),
    [
        ("src/dialtone_core/dialtone_core/node.py", True),
        ("src/dialtone_sim/dialtone_sim/ros_camera.py", True),
        ("src/dialtone_bridge/dialtone_bridge/routes.py", True),
        ("src/dialtone_bridge/dialtone_bridge/transports/nats.py", True),
        ("src/dialtone_bridge/dialtone_bridge/node.py", False),
        ("src/dialtone_bridge/dialtone_bridge/ros_source.py", False),
        ("src/dialtone_sensors/dialtone_sensors/camera_node.py", False),
        ("src/dialtone_ros/dialtone_ros/drain.py", False),
        ("src/dialtone_bridge/test/test_node.py", False),
        ("bench/drive.py", False),
    ],
)
def test_only_the_rim_imports_ros(path: str, broken: bool) -> None:
    for text in ("import rclpy\n", "def f():\n    from sensor_msgs.msg import Image\n"):
        assert bool(check_source(Path(path), text)) is broken


def test_a_bare_except_is_found() -> None:
    (found,) = check_source(PURE, "try:\n    f()\nexcept:\n    pass\n")
    assert str(found).startswith(f"{PURE}:3: bare except")


def test_print_is_for_verbs_and_benchmarks() -> None:
    assert check_source(PURE, "print(1)\n")
    assert not check_source(Path("bench/idle.py"), "print(1)\n")
    assert not check_source(Path("src/dialtone_x/dialtone_x/verbs/up.py"), "print(1)\n")


def test_what_is_put_off_is_found_in_comments_only() -> None:
    later = "TO" + "DO"
    assert check_source(PURE, f"x = 1  # {later}: more\n")
    assert not check_source(PURE, f"x = {later!r}\n")


def test_a_file_that_does_not_parse_is_a_finding() -> None:
    assert "does not parse" in str(check_source(PURE, "def\n")[0])


def test_this_very_tree_keeps_the_rules() -> None:
    assert check_tree(Path(__file__).resolve().parents[3]) == []
