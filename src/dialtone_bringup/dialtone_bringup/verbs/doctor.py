"""``dialtone doctor``: what this machine has, what it lacks, and what to do about it."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from dialtone_bringup.autopilot import mavlink_settings
from dialtone_bringup.examine import examine
from dialtone_bringup.finding import Finding, Verdict
from dialtone_core.cli import console

_MARKS = {
    Verdict.OK: "[green]ok[/green]",
    Verdict.WARN: "[yellow]warn[/yellow]",
    Verdict.FAIL: "[bold red]fail[/bold red]",
}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    mavlink: Annotated[
        str,
        typer.Option(help="Also ask the autopilot there: serial:DEVICE:BAUD, udpin:HOST:PORT."),
    ] = "",
    params_file: Annotated[
        str, typer.Option(help="Also ask the autopilot that this params file names.")
    ] = "",
) -> None:
    """Examine this machine: versions, ports, cameras, serial ports, disk, memory, state folder.

    With an autopilot on the line, whether its failsafes stop the vehicle when this computer dies.

    Changes nothing. [green]ok[/green] is good, [yellow]warn[/yellow] limits something and says
    what, [red]fail[/red] keeps a robot from coming up; each with its fix.

    Exit codes: 0, or 1 where something fails.
    """
    findings = examine(mavlink_settings(mavlink, params_file))
    good = all(finding.verdict is not Verdict.FAIL for finding in findings)
    if as_json:
        rows = [finding.as_json() for finding in findings]
        typer.echo(json.dumps({"ok": good, "findings": rows}))
    else:
        _show(findings)
    raise typer.Exit(0 if good else 1)


def _show(findings: list[Finding]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for finding in findings:
        what = Text(finding.what)
        if finding.fix:
            what.append(f"\n→ {finding.fix}", style="dim")
        table.add_row(_MARKS[finding.verdict], finding.name, what)
    console.print(table)
