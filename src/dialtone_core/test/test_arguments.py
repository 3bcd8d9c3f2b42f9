"""The command line of programs that are no ROS nodes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from dialtone_core.arguments import parse_arguments
from dialtone_core.config import param
from dialtone_core.errors import ConfigError


@dataclass(frozen=True)
class Tunnel:
    command: list[str] = param([], "program and arguments")
    check_period_s: float = param(60.0, "how often", unit="s", minimum=1)


@dataclass(frozen=True)
class Params:
    port: int = param(8080, "port", minimum=0, maximum=65535)
    open_door: bool = param(False, "let everybody in")
    tunnel: Tunnel = param(Tunnel(), "the way out")


def parse(*argv: str) -> Params:
    return parse_arguments(argv, Params, "gateway", "A test.")


def test_nothing_given_is_the_defaults() -> None:
    assert parse() == Params()


def test_a_switch_needs_no_value_and_takes_one() -> None:
    assert parse("--open-door").open_door
    assert not parse("--open-door", "false").open_door


def test_nested_parameters_are_options_with_a_dot() -> None:
    assert parse("--tunnel.command", "a,b").tunnel == Tunnel(["a", "b"])


def test_later_layers_win_and_keep_what_they_do_not_name(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(
        "/**/gateway:\n  ros__parameters:\n    port: 1\n    use_sim_time: false\n"
        "    tunnel: {check_period_s: 5.0, command: [x]}\n"
    )
    ros = ["--ros-args", "-r", "__ns:=/robot2", "--params-file", str(file), "-p", "port:=2"]
    assert parse(*ros) == Params(port=2, tunnel=Tunnel(["x"], 5.0))
    assert parse("--port", "3", "--tunnel.command", "y", *ros) == Params(
        port=3, tunnel=Tunnel(["y"], 5.0)
    )
    assert parse("--params-file", str(file)).port == 1


@pytest.mark.parametrize(
    "argv", [["--port", "70000"], ["--prot", "1"], ["--tunnel.check-period-s", "0"], ["stray"]]
)
def test_what_is_wrong_is_one_line(argv: list[str]) -> None:
    with pytest.raises(ConfigError, match="Fix: "):
        parse(*argv)
