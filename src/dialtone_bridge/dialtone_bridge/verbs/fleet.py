"""``dialtone fleet``: the robots that a hub knows."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import datetime, timezone
from typing import Any

import typer
from rich.table import Table

from dialtone_core.cli import console
from dialtone_core.errors import DialtoneError

fleet = typer.Typer(no_args_is_help=True, add_completion=False, help="Many robots at once.")


@fleet.callback()
def _fleet() -> None:
    """Verbs of a fleet."""


@fleet.command("ls")
def ls(
    url: str = typer.Option("nats://127.0.0.1:4222", help="The hub's, or one robot's, server."),
    credentials: str = typer.Option("", help="File with our key or login there."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object for machines."),
) -> None:
    """List the robots that are up, by their own word."""
    robots = asyncio.run(presence(url, credentials))
    if as_json:
        console.print_json(json.dumps({"robots": robots}))
        return
    table = Table("robot", "version", box=None, header_style="bold", pad_edge=False)
    for name in ("seen", "link", "topics"):
        table.add_column(name, justify="right")
    table.add_column("")
    for each in robots:
        table.add_row(*_row(each))
    console.print(table if robots else "no robot is up")


def _row(robot: dict[str, Any]) -> tuple[str, ...]:
    seen = f"{robot['age_s']:.0f} s ago"
    if "refused" in robot:
        return robot["robot"], "?", seen, "-", "-", f"its presence is refused: {robot['refused']}"
    rtt = robot.get("hub_rtt_ms") or robot.get("rtt_ms")
    return (
        robot["robot"],
        robot.get("version", "?"),
        seen,
        "-" if rtt is None else f"{rtt:.1f} ms",
        str(len(robot.get("routes", {}))),
        "clash: two robots go by this name" if robot.get("clash") is True else "",
    )


async def presence(url: str, credentials: str = "") -> list[dict[str, Any]]:
    """What the presence bucket of the server at ``url`` holds, by robot.

    ``age_s`` is by the server's clock. An entry that is none has ``refused``, the reason.
    """
    from dialtone_bridge.jetstream import JetStreamError, ask
    from dialtone_core.natsaccess import PRESENCE
    from dialtone_core.natslink import connect

    client = await connect(url, "fleet", credentials=credentials)
    stream = f"KV_{PRESENCE}"
    try:
        if not client.is_connected:
            raise DialtoneError(
                "no server answers",
                where=url,
                fix="give --url, and --credentials if it wants them",
            )
        try:
            info = await ask(client, f"STREAM.INFO.{stream}", {"subjects_filter": ">"})
        except JetStreamError as error:
            if error.code == 10059:  # no such stream: no robot ever came
                return []
            raise
        found = []
        asked_s = time.monotonic()
        now_s = server_time_s(info.get("ts", ""))
        for subject in sorted(info["state"].get("subjects", {})):
            reply = await client.request(f"$JS.API.DIRECT.GET.{stream}.{subject}", b"", timeout=3)
            if reply.data:
                robot = subject.rpartition(".")[2]
                stored_s = server_time_s((reply.headers or {}).get("Nats-Time-Stamp", ""))
                age_s = max(0.0, now_s + time.monotonic() - asked_s - stored_s)
                found.append({**_entry(robot, reply.data), "age_s": round(age_s, 3)})
    finally:
        await client.close()
    return found


def _entry(robot: str, data: bytes) -> dict[str, Any]:
    from dialtone_bridge.presence import read_presence
    from dialtone_core.errors import WireError

    try:
        return read_presence(robot, data)
    except WireError as error:
        return {"robot": robot, "refused": str(error)}


def server_time_s(text: str) -> float:
    """Seconds since the epoch of ``2026-01-02T03:04:05.123456789Z``, which has 0 to 9 decimals."""
    whole, _, rest = text.rstrip("Z").partition(".")
    try:
        at = datetime.strptime(whole, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
        return at.timestamp() + float(f"0.{rest or 0}")
    except ValueError:
        return 0.0
