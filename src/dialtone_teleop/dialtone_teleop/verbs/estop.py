"""``dialtone estop``: stop a robot now, from anywhere; clear it afterwards."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import typer

from dialtone_core.cli import console
from dialtone_core.errors import DialtoneError


def estop(
    clear: bool = typer.Option(False, "--clear", help="Clear a latched e-stop instead."),
    robot: str = typer.Option("", help="Name of the robot; the one that runs here by default."),
    nats_url: str = typer.Option("", help="NATS server of a robot elsewhere: nats://host:4222."),
    credentials: str = typer.Option("", help="NATS credentials file (.creds)."),
    user: str = typer.Option("", help="Who you are; your login name by default."),
    role: str = typer.Option("operator", help="Role that clears: operator or admin."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object for machines."),
) -> None:
    """Fire a robot's e-stop: it stops and refuses every command until the e-stop is cleared.

    Anyone may fire it. It latches: neither silence nor a restart clears it,
    only [bold]dialtone estop --clear[/bold] by the role that the robot's
    settings name. Exits with 0 only once the robot has confirmed.
    """
    from dialtone_teleop.cockpit.robot import find_robot

    where = find_robot(robot, nats_url, credentials)
    reply = asyncio.run(_ask(where, user, role, not clear))
    if not reply.get("ok"):
        raise DialtoneError(
            f"not confirmed: {reply.get('error')}", where=f"{where.robot} at {where.url}"
        )
    if as_json:
        console.print_json(json.dumps({"robot": where.robot, "estop": not clear}))
    elif clear:
        console.print(f"The e-stop of {where.robot} is cleared.", highlight=False)
    else:
        again = "Clear it with: dialtone estop --clear"
        console.print(f"[bold red]{where.robot} is stopped.[/bold red] {again}", highlight=False)


async def _ask(where: Any, user: str, role: str, active: bool) -> dict[str, Any]:
    from dialtone_teleop.cockpit.robot import RobotLine, operator_name

    line = await RobotLine.open(where, operator_name(user))
    try:
        return await line.estop(active, role)
    finally:
        await line.close()
