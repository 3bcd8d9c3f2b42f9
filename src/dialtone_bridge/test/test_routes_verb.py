"""``dialtone routes`` as people and programs read it."""

from __future__ import annotations

import asyncio
import io
import signal
from typing import Any

import pytest
import typer
from bridge_rig import Rig
from click.testing import Result
from rich.console import Console
from typer.testing import CliRunner

from dialtone_bridge.route_view import RouteView
from dialtone_bridge.verbs.routes import routes
from dialtone_core.aio import timeout
from dialtone_core.errors import DialtoneError

LONG = "/arm/controller_manager/statistics_with_a_long_name/values"


def row(topic: str, **values: Any) -> dict[str, Any]:
    """One of ``srv.bridge.routes``."""
    nats = {"wanted": True, "sent": 3, "dropped": 2, "waiting": 0, "clients": 0}
    made = {
        "topic": topic, "type": "std_msgs/msg/Int32", "encoding": "cdr", "priority": "telemetry",
        "delivery": "queue", "max_messages": 4096, "max_bytes": 1 << 24, "max_rate_hz": 0.0,
        "latched": False, "durable": False, "subscribed": True, "messages": 4, "bytes": 10_000,
        "rate_hz": 10.0, "bytes_per_s": 25_000, "skipped": 0, "age_s": 0.1,
        "transports": {"nats": nats},
    }  # fmt: skip
    return {**made, **values}


def shown(width: int, *rows: dict[str, Any], everything: bool = False) -> str:
    secret = {"topic": "/secret[1]", "type": "std_msgs/msg/Int32", "reason": "deny_topics"}
    answer: dict[str, Any] = {"routes": list(rows), "commands": [], "denied": [secret]}
    screen = Console(width=width, file=io.StringIO())
    screen.print(RouteView(answer, everything))
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


def test_a_wide_table_has_a_line_for_each_topic() -> None:
    lines = shown(200, row(LONG), row("/odom")).splitlines()
    assert lines[1].split() == [
        LONG, "std_msgs/Int32", "cdr", "telemetry", "4096", "/", "16", "MB", "10.0", "2.5", "25.0",
        "0.1", "s", "2", "nats",
    ]  # fmt: skip
    assert lines[2].startswith("/odom ")
    assert "skipped" not in lines[0]


@pytest.mark.parametrize("width", [50, 80, 100, 120])
def test_a_narrow_table_folds_and_cuts_nothing(width: int) -> None:
    text = shown(width, row(LONG, max_rate_hz=5.0, skipped=17), row("/odom", subscribed=False))
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    words = [line.split()[0] for line in text.splitlines() if line and line[0] not in " O"]
    assert LONG in "".join(words)
    assert " 17\n" in text
    flat = " ".join(text.split())
    assert "nobody wants it" in flat


def test_a_capped_route_shows_its_cap_and_what_it_skipped() -> None:
    text = shown(200, row("/a", delivery="latest", max_rate_hz=5.0, skipped=17), row("/b"))
    assert "latest, ≤ 5 Hz" in text
    assert [line.split()[-2] for line in text.splitlines()[1:3]] == ["17", "-"]


def test_what_may_not_leave_is_shown_with_all() -> None:
    assert "NOT OUT: 1; --all" in shown(80)
    assert "/secret[1]  std_msgs/Int32  deny_topics" in shown(80, everything=True)


async def test_names_are_whole_in_a_pipe_and_a_killed_bridge_is_named(rig: Rig) -> None:
    rig.start_server()
    bridge = rig.start_bridge()
    await rig.file()
    app = typer.Typer()
    app.command()(routes)

    async def call() -> Result:
        runner = CliRunner(env={"COLUMNS": "40"})
        return await asyncio.to_thread(runner.invoke, app, ["cmd_vel", "--robot", rig.robot])

    printed = ""
    async with timeout(15):
        while "/cmd_vel/nats  geometry_msgs/TwistStamped  cdr  telemetry" not in printed:
            printed = (await call()).output
    bridge.stop(signal.SIGKILL)
    caught = (await call()).exception
    assert isinstance(caught, DialtoneError)
    assert f"the bridge of {rig.robot} is gone (pid {bridge.process.pid}). Fix: " in str(caught)
