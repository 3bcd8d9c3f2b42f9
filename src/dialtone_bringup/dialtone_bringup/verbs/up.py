"""``dialtone up``: a robot on the line until Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from dialtone_bringup.cameras import CAMERAS
from dialtone_bringup.graph import resolve
from dialtone_bringup.spec import Graph, Options
from dialtone_bringup.supervisor import Supervisor
from dialtone_bringup.terminal import Terminal
from dialtone_core.errors import DialtoneError
from dialtone_core.paths import RobotFile, state_dir

_LISTENS_WITHIN_S = 10.0
_LOOK_EVERY_S = 0.05


def up(
    robot: Annotated[str, typer.Option(help="Name on NATS: a-z, 0-9 and _.")] = "rover",
    profile: Annotated[
        str, typer.Option(help="Params file of the robot: sim, rover, … (see config/).")
    ] = "sim",
    namespace: Annotated[str, typer.Option(help="Prefix of every ROS name.")] = "",
    camera: Annotated[
        str, typer.Option(help=f"{', '.join(CAMERAS)} or /dev/videoN, instead of the profile's.")
    ] = "",
    nats_url: Annotated[
        str, typer.Option(help="Use this NATS server instead of starting one.")
    ] = "",
    record: Annotated[bool, typer.Option(help="Record an episode from the start.")] = False,
    nats_port: Annotated[
        int | None, typer.Option(help="Port of the started server; 0 is any free one.")
    ] = None,
    foxglove_port: Annotated[
        int | None, typer.Option(help="Port for Foxglove; 0 is any free one.")
    ] = None,
    web_port: Annotated[
        int | None, typer.Option(help="Port of the dashboard; 0 is any free one.")
    ] = None,
    params_file: Annotated[
        str, typer.Option(help="ROS parameter YAML laid over the profile.")
    ] = "",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print where to look as one JSON line, nothing else.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Show no output of the nodes; the logs have it.")
    ] = False,
) -> None:
    """Bring a robot up and keep it up.

    Starts every process of the profile, prints where to look (Foxglove, NATS, episodes, logs) and
    restarts what dies. [bold]Ctrl-C[/bold] stops everything within 3 s, a second one at once.

    Exit codes: 0 stopped by you, 1 a process could not be kept running, 2 a setting is wrong.
    """
    options = Options(
        robot=robot,
        profile=profile,
        namespace=namespace,
        camera=camera,
        nats_url=nats_url,
        record=record,
        nats_port=nats_port,
        foxglove_port=foxglove_port,
        web_port=web_port,
        params_file=params_file,
    )
    _refuse_twice(robot)
    graph = resolve(options)
    code = asyncio.run(_run(graph, as_json, quiet or as_json))
    raise typer.Exit(code)


def _refuse_twice(robot: str) -> None:
    """Two robots of one name would share subjects, runtime file and JetStream store."""
    running = RobotFile.read(robot)
    if running is None:
        return
    with suppress(OSError):
        words = Path(f"/proc/{running.pid}/cmdline").read_bytes()
        if b"bridge" in words:
            raise DialtoneError(
                f"a robot named {robot} is already up (bridge is process {running.pid})",
                fix="stop it, or take another --robot",
            )


async def _run(graph: Graph, as_json: bool, quiet: bool) -> int:
    # stdout belongs to the machine that reads the JSON line; people read stderr then.
    terminal = Terminal(sys.stderr if as_json else sys.stdout, muted=quiet)
    supervisor = Supervisor(graph, terminal)
    loop = asyncio.get_running_loop()
    signalled = 0

    def on_signal() -> None:
        nonlocal signalled
        signalled += 1
        if signalled == 1:
            stopping.set()
        else:
            supervisor.kill()

    stopping = asyncio.Event()
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(signum, on_signal)
    try:
        await supervisor.start()
        tasks = [
            asyncio.create_task(stopping.wait()),
            asyncio.create_task(supervisor.wait()),
        ]
        telling = asyncio.create_task(_tell(supervisor, terminal, as_json))
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        telling.cancel()
        tasks[0].cancel()
        terminal.say("dialtone: stopping …")
        return await supervisor.stop()
    finally:
        terminal.close()


async def _tell(supervisor: Supervisor, terminal: Terminal, as_json: bool) -> None:
    """Print where to look as soon as the bridge listens; say so where it takes too long."""
    robot = supervisor.graph.robot
    began = time.monotonic()
    warned = False
    while True:
        file = RobotFile.read(robot)
        if file is not None and file.pid == supervisor.processes["bridge"].pid:
            break
        if not warned and time.monotonic() - began > _LISTENS_WITHIN_S:
            warned = True
            log = supervisor.logs / "bridge.log"
            terminal.say(f"dialtone: the bridge does not listen yet; see {log}", bad=True)
        await asyncio.sleep(_LOOK_EVERY_S if not warned else 0.5)
    facts = _facts(supervisor, file, time.monotonic() - began)
    if as_json:
        typer.echo(json.dumps(facts))
    else:
        terminal.put(_table(facts, terminal.colour))
        await _tell_first_password(supervisor, terminal)


async def _tell_first_password(supervisor: Supervisor, terminal: Terminal) -> None:
    """Show what the gateway made up at its first start, to a person and to no log.

    Its file (docs/gateway.md) is there before the gateway listens and until ``admin`` logs in.
    """
    if "gateway" not in supervisor.processes:
        return
    folder = state_dir() / "gateway"
    while True:
        if (folder / supervisor.graph.robot / "listening.json").exists():
            break
        await asyncio.sleep(0.2)
    note = folder / "first_password"
    with suppress(OSError):
        password = note.read_text(encoding="utf-8").strip()
        shown = password if terminal.colour else f"in {note}"
        terminal.say(f"dialtone: first login to the dashboard: user admin, password {shown}")


def _facts(supervisor: Supervisor, file: RobotFile, after_s: float) -> dict[str, Any]:
    graph = supervisor.graph
    return {
        "robot": graph.robot,
        "profile": graph.profile,
        "namespace": graph.namespace,
        "web_url": graph.web_url,
        "foxglove_url": file.foxglove_url,
        "nats_url": file.nats_url,
        "episodes": str(graph.episodes),
        "logs": str(supervisor.logs),
        "ros_domain_id": int(os.environ.get("ROS_DOMAIN_ID") or 0),
        "listening_after_s": round(after_s, 3),
    }


def _table(facts: dict[str, Any], colour: bool) -> str:
    """The small table, drawn by rich; imported here, so that bad input answers sooner."""
    from io import StringIO

    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{facts['robot']} is on the line", show_header=False, title_style="bold")
    table.add_column(style="bold cyan")
    table.add_column(overflow="fold")
    table.add_row("Dashboard", facts["web_url"])
    url = facts["foxglove_url"]
    if url:
        link = f"https://app.foxglove.dev/~/view?ds=foxglove-websocket&ds.url={quote(url, '')}"
        table.add_row("Foxglove", f"{url}\n[dim]{link}[/dim]")
    table.add_row("NATS", facts["nats_url"])
    table.add_row("Episodes", facts["episodes"])
    table.add_row("Logs", facts["logs"])
    table.add_row("ROS domain", f"{facts['ros_domain_id']}, namespace {facts['namespace']}")
    table.add_row("Stop", "Ctrl-C")
    output = StringIO()
    console = Console(file=output, force_terminal=colour, width=110, highlight=False)
    console.print(table)
    return output.getvalue().rstrip("\n")
