"""``dialtone drive``: drive a robot from a terminal, over NATS, from anywhere."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from dialtone_teleop.cockpit.robot import RobotLine, Where
    from dialtone_teleop.cockpit.session import DriveSession, Settings

_DRAW_PERIOD_S = 0.1


def drive(
    robot: str = typer.Option("", help="Name of the robot; the one that runs here by default."),
    nats_url: str = typer.Option("", help="NATS server of a robot elsewhere: nats://host:4222."),
    credentials: str = typer.Option("", help="NATS credentials file (.creds)."),
    user: str = typer.Option("", help="Who you are; your login name by default."),
    role: str = typer.Option("operator", help="Role for the lease: operator or admin."),
    speed: float = typer.Option(0.5, min=0.01, max=20, help="Top speed at the start, m/s."),
    turn: float = typer.Option(1.0, min=0.01, max=10, help="Top turn rate at the start, rad/s."),
    gamepad: bool = typer.Option(True, help="Use a gamepad if there is one (needs evdev)."),
) -> None:
    """Drive a robot from this terminal.

    [bold]W A S D[/bold], arrows   drive while held
    [bold]space[/bold]             e-stop (latches);  [bold]c[/bold] then [bold]y[/bold] clears it
    [bold]+[/bold]  [bold]-[/bold]              faster, slower
    [bold]g[/bold]                 arm, disarm
    [bold]r[/bold]                 start, stop recording;  [bold]p[/bold] pauses it
    [bold]o[/bold]  [bold]k[/bold]              the recording is a success, a failure
    [bold]backspace[/bold]         throw the recording away
    [bold]l[/bold]                 let go of the lease
    [bold]f[/bold]                 take the lease over (with a higher --role)
    [bold]q[/bold]                 quit
    gamepad           left stick while LB is held; B is the e-stop

    Letting go stops the robot: at once in terminals that report key
    releases (kitty, Ghostty, WezTerm, foot, Konsole, iTerm2), elsewhere
    0.25 to 0.6 s after the last key.

    The lease is taken with your first driving key and given back when you
    quit. The robot is told to stop when you let go, quit, press Ctrl-C,
    close the terminal, or turn to another window; if this program or the
    network dies, it stops by itself 0.3 s later.
    """
    from dialtone_teleop.cockpit.robot import find_robot
    from dialtone_teleop.cockpit.session import Settings

    where = find_robot(robot, nats_url, credentials)
    asyncio.run(_drive(where, user, Settings(speed, turn, role), gamepad))


async def _drive(where: Where, user: str, settings: Settings, gamepad: bool) -> None:
    from dialtone_teleop.cockpit.gamepad import open_gamepad
    from dialtone_teleop.cockpit.robot import RobotLine, operator_name
    from dialtone_teleop.cockpit.session import DriveSession
    from dialtone_teleop.cockpit.terminal import DriveTerminal

    terminal = DriveTerminal(0, 1)
    line: RobotLine = await RobotLine.open(where, operator_name(user))
    try:
        with terminal:
            session = DriveSession(line, terminal, settings, open_gamepad() if gamepad else None)
            loop = asyncio.get_running_loop()
            for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                loop.add_signal_handler(signum, session.stop.set)
            await _show(session)
    finally:
        await line.close()


async def _show(session: DriveSession) -> None:
    """Run the session under a live picture of it."""
    from rich.live import Live

    from dialtone_core.cli import console
    from dialtone_teleop.cockpit.view import render

    async def draw(live: Live) -> None:
        while True:
            live.update(render(session.view, console.width), refresh=True)
            await asyncio.sleep(_DRAW_PERIOD_S)

    running = asyncio.create_task(session.run())
    try:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            drawing = asyncio.create_task(draw(live))
            await asyncio.wait({running, drawing}, return_when=asyncio.FIRST_COMPLETED)
            drawing.cancel()
            session.stop.set()
            await running
    except OSError:  # the terminal has gone; the zeros have not
        session.stop.set()
        await running
