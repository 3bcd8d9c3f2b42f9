"""``dialtone routes``: what the bridge of a robot carries, out and in, with live figures."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.live import Live

from dialtone_bridge.route_view import UNBOUNDED, RouteView
from dialtone_core.cli import console
from dialtone_core.errors import DialtoneError
from dialtone_core.naming import DEFAULT_ROBOT
from dialtone_core.paths import RobotFile

_TIMEOUT_S = 3.0
#: For a bridge of which nothing is left but its file.
_GONE_S = 0.5
_EVERY_S = 1.0
Answer = dict[str, Any]


def routes(
    pattern: Annotated[
        str, typer.Argument(help="Only topics that contain this regular expression.")
    ] = "",
    robot: Annotated[
        str, typer.Option(help="Name of the robot; empty for the one that runs here.")
    ] = "",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on, once a second.")] = False,
    url: Annotated[
        str, typer.Option(help="Its server, or its hub's; empty finds a robot of this machine.")
    ] = "",
    credentials: Annotated[str, typer.Option(help="File with our key or login there.")] = "",
    everything: Annotated[
        bool, typer.Option("--all", "-a", help="Also the topics that may not leave, and why.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, with --watch one a line.")
    ] = False,
) -> None:
    """Show the resolved table of routes with live rates, sizes, drops and ages.

    OUT is what leaves the robot: a topic is subscribed only while somebody wants it. IN is what
    clients sent to it.
    """
    try:
        only = re.compile(pattern)
    except re.error as error:
        raise DialtoneError(
            f"{pattern!r} is no regular expression ({error})", fix="correct the pattern"
        ) from error
    show = _as_json if as_json else partial(_as_tables, everything=everything)
    try:
        asyncio.run(_run(robot, url, credentials, only, show, watch))
    except KeyboardInterrupt:
        return


async def _run(
    robot: str,
    url: str,
    credentials: str,
    only: re.Pattern[str],
    show: Callable[[AsyncIterator[Answer], bool], Awaitable[None]],
    watch: bool,
) -> None:
    file = None if url else RobotFile.find(robot)
    robot = robot or (file.robot if file else DEFAULT_ROBOT)
    async with _asker(robot, url, credentials, file) as ask:

        async def answers() -> AsyncIterator[Answer]:
            yield {"robot": robot, **_only(await ask(), only)}
            while watch:
                await asyncio.sleep(_EVERY_S)
                yield {"robot": robot, **_only(await ask(), only)}

        await show(answers(), watch)


async def _as_json(answers: AsyncIterator[Answer], watch: bool) -> None:
    async for answer in answers:
        typer.echo(json.dumps(answer, indent=None if watch else 2))


async def _as_tables(answers: AsyncIterator[Answer], watch: bool, everything: bool) -> None:
    """On the screen as wide as it is; into a pipe or a file with whole names."""
    if not (watch and console.is_terminal):
        screen = console if console.is_terminal else Console(width=UNBOUNDED)
        async for answer in answers:
            screen.print(RouteView(answer, everything))
        return
    with Live(console=console, screen=True, auto_refresh=False) as live:
        async for answer in answers:
            live.update(RouteView(answer, everything), refresh=True)


@asynccontextmanager
async def _asker(
    robot: str, url: str, credentials: str, file: RobotFile | None
) -> AsyncIterator[Any]:
    """Gives what asks the bridge once."""
    import nats.errors

    from dialtone_core.natslink import connect
    from dialtone_core.wire import service_subject

    if file is not None:
        url, credentials = file.nats_url, credentials or file.nats_credentials
    # The file of a bridge in a container names a process that is not one of ours: ask first.
    patience_s = _TIMEOUT_S if file is None or file.is_running() else _GONE_S
    client = await connect(url, "routes", credentials=credentials)

    async def ask() -> Answer:
        try:
            reply = await client.request(
                service_subject(robot, "bridge", "routes"), b"{}", timeout=patience_s
            )
        except nats.errors.Error as error:
            server = "" if client.is_connected else ", nor does the NATS server"
            raise _silent(robot, url, file, f"{type(error).__name__}{server}") from error
        answer: Answer = json.loads(reply.data)
        if not answer.pop("ok"):
            raise DialtoneError(answer["error"], where=url)
        return answer

    try:
        yield ask
    finally:
        await client.close()


def _silent(robot: str, url: str, file: RobotFile | None, why: str) -> DialtoneError:
    if file is not None and not file.is_running():
        return DialtoneError(
            f"the bridge of {robot} is gone (pid {file.pid})",
            where=str(RobotFile.path(robot)),
            fix="start it again, with: dialtone up, or name a server with --url",
        )
    return DialtoneError(
        f"the bridge of {robot} does not answer ({why})",
        where=url,
        fix="see its log, or start it again",
    )


def _only(answer: Answer, only: re.Pattern[str]) -> Answer:
    return {
        kind: [row for row in answer.get(kind, ()) if only.search(row["topic"])]
        for kind in ("routes", "commands", "denied")
    }
