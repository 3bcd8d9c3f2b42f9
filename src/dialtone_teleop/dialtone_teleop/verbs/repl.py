"""``dialtone repl``: type the neck's lines, see each acknowledged."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from dialtone_core.cli import console
from dialtone_core.errors import DialtoneError

if TYPE_CHECKING:
    from dialtone_teleop.cockpit.neckline import NeckLine
    from dialtone_teleop.cockpit.robot import Where

_ACK_S = 2.0
#: A list of lines waits so long for a HOME in it to end.
_HOMING_S = 15.0


def repl(
    lines: Annotated[
        list[str] | None, typer.Argument(help="Lines to send instead of typing them.")
    ] = None,
    robot: str = typer.Option("", help="Name of the robot; the one that runs here by default."),
    nats_url: str = typer.Option("", help="NATS server of a robot elsewhere: nats://host:4222."),
    credentials: str = typer.Option("", help="NATS credentials file (.creds)."),
    user: str = typer.Option("", help="Who you are; your login name by default."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object a line."),
) -> None:
    """Talk to a robot's neck, line by line; each acknowledgement is echoed.

    [bold]HOME[/bold]            home it; also HOME_SOFT, HOME_BRUTE
    [bold]HEALTH[/bold]          ask it; also STATUS
    [bold]X50,Y-20[/bold]        head pose: X Y Z R P -700..700, H 0..70, S A 0..10;
                    what is left out stays as it was
    [bold]1:55,2:60[/bold]       single actuators, mm
    [bold]Q:1,0,0,0,H30[/bold]   quaternion w,x,y,z, then H, S
    [bold]exit[/bold], Ctrl-D    end

    With lines as arguments, or piped in, it exits with 2 when one was
    refused or not acknowledged.
    """
    from dialtone_teleop.cockpit.robot import find_robot

    where = find_robot(robot, nats_url, credentials)
    asyncio.run(_talk(where, user, lines or [], as_json))


async def _talk(where: Where, user: str, lines: list[str], as_json: bool) -> None:
    from dialtone_teleop.cockpit.neckline import NeckLine
    from dialtone_teleop.cockpit.robot import RobotLine, operator_name

    line = await RobotLine.open(where, operator_name(user))
    neck = NeckLine(line)
    show = _printer(as_json)
    try:
        await neck.open(lambda text: show("", text))
        if lines or not sys.stdin.isatty():
            await _all(neck, lines or sys.stdin.read().splitlines(), show)
        else:
            await _typed(neck, where.robot, show)
    finally:
        await neck.close()
        await line.close()


async def _all(neck: NeckLine, lines: list[str], show: Callable[[str, str], None]) -> None:
    for text in filter(None, map(str.strip, lines)):
        ack = await neck.say(text, _ACK_S)
        end_s = time.monotonic() + _HOMING_S
        while ack == f"refused {text} (homing)" and time.monotonic() < end_s:
            await asyncio.sleep(0.2)
            ack = await neck.say(text, _ACK_S)
        if not ack:
            raise DialtoneError(
                f"{text} was not acknowledged", fix="check that the robot's actuator is a neck"
            )
        if not ack.startswith("ok "):
            raise DialtoneError(ack)
        show(text, ack)


async def _typed(neck: NeckLine, robot: str, show: Callable[[str, str], None]) -> None:
    """Lines from the terminal, which edits them itself, so that the lease is kept meanwhile."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(signum, reader.feed_eof)
    while True:
        console.print(f"[bold]{robot}>[/bold] ", end="")
        raw = await reader.readline()
        text = raw.decode("utf-8", "replace").strip()
        if not raw or text in ("exit", "quit"):
            return
        if text:
            ack = await neck.say(text, _ACK_S)
            show(text, ack or "no acknowledgement; is the robot's actuator a neck?")


def _printer(as_json: bool) -> Callable[[str, str], None]:
    def show(sent: str, ack: str) -> None:
        if as_json:
            console.print(json.dumps({"sent": sent, "ack": ack}), markup=False, highlight=False)
            return
        style = "green" if ack.startswith("ok ") else "dim" if ack.startswith("says ") else "red"
        console.print(ack, style=style, markup=False, highlight=False)

    return show
