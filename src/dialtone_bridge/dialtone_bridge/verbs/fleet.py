"""``dialtone fleet``: the robots that a hub knows."""

from __future__ import annotations

import asyncio
import json
import time
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
    for each in robots:
        rtt = each.get("hub_rtt_ms") or each.get("rtt_ms")
        table.add_row(
            each["robot"],
            str(each.get("version", "?")),
            f"{max(0.0, (time.time_ns() - each.get('stamp_ns', 0)) / 1e9):.0f} s ago",
            "-" if rtt is None else f"{rtt:.1f} ms",
            str(len(each.get("routes", {}))),
        )
    console.print(table if robots else "no robot is up")


async def presence(url: str, credentials: str = "") -> list[dict[str, Any]]:
    """What the presence bucket of the server at ``url`` holds, by robot."""
    import orjson

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
        for subject in sorted(info["state"].get("subjects", {})):
            reply = await client.request(f"$JS.API.DIRECT.GET.{stream}.{subject}", b"", timeout=3)
            if reply.data:
                found.append(orjson.loads(reply.data))
    finally:
        await client.close()
    return found
