"""Real processes in a real ament prefix, small enough to start by the dozen."""

from __future__ import annotations

import sys
from pathlib import Path

from dialtone_bringup.spec import Graph, NodeSpec

FAST = {"backoff_s": 0.05, "most_backoff_s": 0.2, "quick_deaths": 3}


def make_prefix(root: Path, **programs: str) -> Path:
    """An install prefix whose package ``fake`` has these Python programs as executables."""
    marker = root / "share" / "ament_index" / "resource_index" / "packages" / "fake"
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.touch()
    folder = root / "lib" / "fake"
    folder.mkdir(parents=True, exist_ok=True)
    for name, code in programs.items():
        path = folder / name
        path.write_text(f"#!{sys.executable}\n{code}\n", encoding="utf-8")
        path.chmod(0o755)
    return root


def make_graph(*nodes: NodeSpec) -> Graph:
    """A graph of just these processes."""
    return Graph(
        robot="fake",
        profile="sim",
        namespace="/",
        nodes=nodes,
        params_files=(),
        nats_url="",
        foxglove_url="",
        web_url="",
        episodes=Path(),
    )


def fake(name: str, **options: bool) -> NodeSpec:
    return NodeSpec(name, "fake", name, ros_args=False, **options)
