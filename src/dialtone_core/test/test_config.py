"""A wrong setting is one line that names the parameter, its value and its bound."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dialtone_core.config import build, declarations, load_params_file, node_values, param
from dialtone_core.errors import ConfigError


@dataclass(frozen=True)
class Source:
    topic: str = param("cmd_vel", "topic")
    timeout_s: float = param(0.25, "silence", unit="s", minimum=0.05, maximum=0.3)


@dataclass(frozen=True)
class Params:
    rate_hz: float = param(30.0, "rate", unit="Hz", minimum=1, maximum=240)
    driver: str = param("sim", "driver", choices=("sim", "v4l2"))
    depth: int = param(10, "depth", minimum=1)
    names: list[str] = param(["a"], "names")
    source: Source = field(default_factory=Source)
    sources: dict[str, Source] = param({}, "table")
    others: dict[str, dict[str, Any]] = param({}, "what others judge")


def test_values_nest_and_an_integer_is_taken_for_a_number() -> None:
    made = build(
        Params, {"rate_hz": 15, "source": {"timeout_s": 0.1}, "sources": {"nats": {"topic": "t"}}}
    )
    assert made == Params(
        rate_hz=15.0, source=Source(timeout_s=0.1), sources={"nats": Source(topic="t")}
    )


def test_what_others_judge_is_passed_on_as_it_is_for_a_class_of_their_own() -> None:
    made = build(Params, {"others": {"line": {"timeout_s": 0.2, "x": [1]}, "none": {}}})
    assert made.others == {"line": {"timeout_s": 0.2, "x": [1]}, "none": {}}
    with pytest.raises(ConfigError, match=r"others.line.timeout_s is 9.0. Fix: give 0.05 to 0.3"):
        build(Source, {"timeout_s": 9}, prefix="others.line.")


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"rate_hz": "fast"}, "rate_hz is 'fast' (str). Fix: give a number"),
        ({"rate_hz": 1000}, "rate_hz is 1000.0. Fix: give 1 to 240 Hz"),
        ({"rate_hz": float("nan")}, "rate_hz is nan"),
        ({"rate_hz": True}, "rate_hz is True (bool)"),
        ({"depth": 1.5}, "depth is 1.5 (float). Fix: give an integer"),
        ({"depth": 0}, "depth is 0. Fix: give at least 1"),
        ({"driver": "usb"}, "driver is 'usb'. Fix: give one of sim, v4l2"),
        ({"rate_hertz": 3}, "no parameter rate_hertz. Fix: did you mean rate_hz?"),
        ({"source": 3}, "source is 3 (int). Fix: give a mapping"),
        (
            {"sources": {"x": {"timeout_s": 9}}},
            "sources.x.timeout_s is 9.0. Fix: give 0.05 to 0.3",
        ),
        ({"others": {"line": 3}}, "others.line is 3 (int). Fix: give a mapping"),
        ({"names": "a"}, "names is 'a' (str). Fix: give a list"),
        ({"names": [1]}, "names[0] is 1 (int). Fix: give a string"),
    ],
)
def test_a_wrong_value_is_one_line_with_its_bound(values: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(Params, values, where="sim.yaml")
    assert str(caught.value).startswith(f"sim.yaml: {says}")
    assert "\n" not in str(caught.value)


def test_one_empty_string_is_how_a_params_file_writes_an_empty_list() -> None:
    assert build(Params, {"names": [""]}).names == []


def test_leaves_are_declared_with_dotted_names() -> None:
    names = [each.name for each in declarations(Params)]
    assert names == [
        "rate_hz",
        "driver",
        "depth",
        "names",
        "source.topic",
        "source.timeout_s",
    ]


@pytest.mark.parametrize(
    ("tree", "node", "found"),
    [
        ({"/**": {"ros__parameters": {"a": 1}}}, "/x/y", {"a": 1}),
        ({"/**/bridge": {"ros__parameters": {"a": 1}}}, "/r/bridge", {"a": 1}),
        ({"/**/bridge": {"ros__parameters": {"a": 1}}}, "/bridge", {"a": 1}),
        ({"/**/bridge": {"ros__parameters": {"a": 1}}}, "/teleop", {}),
        ({"bridge": {"ros__parameters": {"a": 1}}}, "/bridge", {"a": 1}),
        ({"bridge": {"ros__parameters": {"a": 1}}}, "/r/bridge", {}),
        ({"r": {"bridge": {"ros__parameters": {"a": 1}}}}, "/r/bridge", {"a": 1}),
        ({"/r/*": {"ros__parameters": {"a": 1}}}, "/r/bridge", {"a": 1}),
        ({"/**": {"ros__parameters": {"a.b": 1, "a": {"c": 2}}}}, "/n", {"a": {"b": 1, "c": 2}}),
        (
            {"/**": {"ros__parameters": {"a": 1}}, "n": {"ros__parameters": {"a": 2}}},
            "/n",
            {"a": 2},
        ),
    ],
)
def test_a_node_finds_its_section_as_rcl_does(
    tree: dict[str, object], node: str, found: dict[str, object]
) -> None:
    assert node_values(tree, node, "f.yaml") == found


def test_a_file_that_is_not_yaml_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("a: 1\nb: [1\n")
    with pytest.raises(ConfigError, match=r"p\.yaml:\d+: not YAML"):
        load_params_file(path)
    with pytest.raises(ConfigError, match=r"cannot read the params file \(No such file"):
        load_params_file(tmp_path / "none.yaml")
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not YAML"):
        load_params_file(path)
