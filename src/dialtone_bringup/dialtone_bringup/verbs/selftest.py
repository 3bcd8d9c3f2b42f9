"""``dialtone selftest``"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import orjson
import typer
from rich.table import Table

from dialtone_core.cli import console, errors


def selftest(
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Bring up a simulated robot on free ports, drive, watch and record it, and tear it down.

    It drives over NATS and over the Foxglove protocol, checks that odometry and picture changed,
    records an episode and reads it back. Takes about 20 seconds; touches nothing that runs beside
    it. Exit code 0 when everything worked, 1 when not.
    """
    from dialtone_bringup.selftest import run_selftest

    with errors.status("starting") as status:
        report = asyncio.run(run_selftest(lambda what: status.update(f"{what} …")))
    if json:
        typer.echo(orjson.dumps(report.as_json()).decode())
    else:
        _print(report)
    raise typer.Exit(0 if report.ok else 1)


def _print(report: Any) -> None:
    table = Table(title="Selftest", show_header=False, title_style="bold")
    first = report.first_frame_s
    rows = (
        ("first picture after start", "none" if first is None else f"{first:.2f} s"),
        ("camera", f"{report.camera_hz:.1f} Hz, {report.camera_lost} lost"),
        ("driven over NATS", f"{report.drive_m_nats:.2f} m"),
        ("driven over Foxglove", f"{report.drive_m_foxglove:.2f} m"),
        ("picture changed by", f"{report.picture_change:.1f} grey levels"),
        ("recorded", f"{sum(report.episode_messages.values())} messages"),
        *((f"  {topic}", str(n)) for topic, n in sorted(report.episode_messages.items())),
        ("stopped in", f"{report.stop_s:.2f} s"),
        ("processes left", str(report.leftover_processes)),
    )
    for row in rows:
        table.add_row(*row)
    console.print(table)
    for problem in report.problems:
        errors.print(f"selftest: {problem}", style="bold red", markup=False)
    if report.ok:
        console.print("[bold green]ok[/bold green]: this machine carries a robot")
