"""``dialtone routes``: what the bridge of a robot carries, with live figures."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import typer
from rich.table import Table

from dialtone_core.cli import console
from dialtone_core.errors import DialtoneError

_TIMEOUT_S = 3.0


def routes(
    robot: str = typer.Option("rover", help="Name of the robot, one that runs on this machine."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object for machines."),
) -> None:
    """Show the resolved table of routes with live rates, sizes, drops and ages."""
    rows = asyncio.run(_ask(robot))
    if as_json:
        console.print_json(json.dumps({"robot": robot, "routes": rows}))
    else:
        console.print(_table(rows))


async def _ask(robot: str) -> list[dict[str, Any]]:
    import nats.errors

    from dialtone_core.natslink import connect
    from dialtone_core.paths import RobotFile
    from dialtone_core.wire import service_subject

    found = RobotFile.read(robot)
    if found is None or not found.nats_url:
        raise DialtoneError(
            f"no robot {robot} with NATS runs on this machine",
            where="routes",
            fix="start one with: dialtone up",
        )
    client = await connect(found.nats_url, "routes", credentials=found.nats_credentials)
    try:
        reply = await client.request(
            service_subject(robot, "bridge", "routes"), b"{}", timeout=_TIMEOUT_S
        )
    except nats.errors.Error as error:
        raise DialtoneError(
            f"the bridge of {robot} does not answer ({type(error).__name__})",
            where=found.nats_url,
            fix="see its log, or start it again",
        ) from error
    finally:
        await client.close()
    answer = json.loads(reply.data)
    if not answer["ok"]:
        raise DialtoneError(answer["error"], where=found.nats_url)
    rows: list[dict[str, Any]] = answer["routes"]
    return rows


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("topic", "type", "as", "priority", "keeps"):
        table.add_column(name)
    for name in ("Hz", "kB/s", "age", "dropped"):
        table.add_column(name, justify="right")
    table.add_column("to")
    for each in rows:
        table.add_row(
            each["topic"],
            each["type"],
            each["encoding"],
            each["priority"],
            _keeps(each),
            f"{each['rate_hz']:.1f}" if each["subscribed"] else "-",
            f"{each['bytes_per_s'] / 1000:.1f}" if each["subscribed"] else "-",
            "-" if each["age_s"] is None else f"{max(each['age_s'], 0):.1f} s",
            str(sum(sink["dropped"] for sink in each["transports"].values())),
            ", ".join(each["transports"]) if each["subscribed"] else "nobody wants it",
            style="" if each["subscribed"] else "dim",
        )
    return table


def _keeps(row: dict[str, Any]) -> str:
    if row["delivery"] == "latest":
        return "latest"
    rate = f" ≤ {row['max_rate_hz']:g} Hz" if row["max_rate_hz"] else ""
    return f"{row['max_messages']} / {row['max_bytes'] // 1048576} MB{rate}"
