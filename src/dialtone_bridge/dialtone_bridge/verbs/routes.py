"""``dialtone routes``: what the bridge of a robot carries, out and in, with live figures."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table

from dialtone_core.cli import console
from dialtone_core.errors import DialtoneError

_TIMEOUT_S = 3.0
_EVERY_S = 1.0
Answer = dict[str, Any]


def routes(
    pattern: Annotated[
        str, typer.Argument(help="Only topics that contain this regular expression.")
    ] = "",
    robot: Annotated[str, typer.Option(help="Name of the robot.")] = "rover",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on, once a second.")] = False,
    url: Annotated[
        str, typer.Option(help="Its server, or its hub's; empty finds a robot of this machine.")
    ] = "",
    credentials: Annotated[str, typer.Option(help="File with our key or login there.")] = "",
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
    try:
        asyncio.run(_show(robot, url, credentials, only, watch, as_json))
    except KeyboardInterrupt:
        return


async def _show(
    robot: str, url: str, credentials: str, only: re.Pattern[str], watch: bool, as_json: bool
) -> None:
    async with _asker(robot, url, credentials) as ask:
        answer = _only(await ask(), only)
        if as_json:
            while True:
                body = {"robot": robot, **answer}
                typer.echo(json.dumps(body, indent=None if watch else 2))
                if not watch:
                    return
                await asyncio.sleep(_EVERY_S)
                answer = _only(await ask(), only)
        if not watch:
            console.print(_tables(answer))
            return
        with Live(_tables(answer), console=console, screen=console.is_terminal) as live:
            while True:
                await asyncio.sleep(_EVERY_S)
                live.update(_tables(_only(await ask(), only)), refresh=True)


@asynccontextmanager
async def _asker(robot: str, url: str, credentials: str) -> AsyncIterator[Any]:
    """Gives what asks the bridge once."""
    import nats.errors

    from dialtone_core.natslink import connect
    from dialtone_core.wire import service_subject

    if not url:
        url, credentials = _find(robot, credentials)
    client = await connect(url, "routes", credentials=credentials)

    async def ask() -> Answer:
        try:
            reply = await client.request(
                service_subject(robot, "bridge", "routes"), b"{}", timeout=_TIMEOUT_S
            )
        except nats.errors.Error as error:
            raise DialtoneError(
                f"the bridge of {robot} does not answer ({type(error).__name__})",
                where=url,
                fix="see its log, or start it again",
            ) from error
        answer: Answer = json.loads(reply.data)
        if not answer.pop("ok"):
            raise DialtoneError(answer["error"], where=url)
        return answer

    try:
        yield ask
    finally:
        await client.close()


def _find(robot: str, credentials: str) -> tuple[str, str]:
    """Server and credentials of a robot that runs on this machine."""
    from dialtone_core.paths import RobotFile

    found = RobotFile.read(robot)
    if found is None or not found.nats_url:
        raise DialtoneError(
            f"no robot {robot} with NATS runs on this machine",
            where="routes",
            fix="start one with: dialtone up, or name a server with --url",
        )
    return found.nats_url, credentials or found.nats_credentials


def _only(answer: Answer, only: re.Pattern[str]) -> Answer:
    return {
        kind: [row for row in answer.get(kind, ()) if only.search(row["topic"])]
        for kind in ("routes", "commands")
    }


def _tables(answer: Answer) -> Group:
    return Group(_out(answer["routes"]), "", _in(answer["commands"]))


def _table(*left: str, right: tuple[str, ...]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in left:
        table.add_column(name, overflow="fold")
    for name in right:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _out(rows: list[dict[str, Any]]) -> Table:
    table = _table("OUT", "type", "as", "priority", "keeps",
                   right=("Hz", "kB/s", "age", "dropped"))  # fmt: skip
    table.add_column("to")
    for each in rows:
        live = each["subscribed"]
        table.add_row(
            each["topic"],
            _short(each["type"]),
            each["encoding"],
            each["priority"],
            _keeps(each),
            f"{each['rate_hz']:.1f}" if live else "-",
            f"{each['bytes_per_s'] / 1000:.1f}" if live else "-",
            _age(each["age_s"]),
            str(sum(sink["dropped"] for sink in each["transports"].values())),
            _whom(each["transports"]) if live else "nobody wants it",
            style="" if live else "dim",
        )
    return table


def _in(rows: list[dict[str, Any]]) -> Table:
    table = _table("IN", "type", right=("Hz", "age", "messages"))
    for each in rows:
        table.add_row(
            each["topic"],
            _short(each["type"]),
            f"{each['rate_hz']:.1f}",
            _age(each["age_s"]),
            str(each["messages"]),
        )
    if not rows:
        table.add_row("nothing came yet", style="dim")
    return table


def _short(type_name: str) -> str:
    return type_name.replace("/msg/", "/")


def _age(age_s: float | None) -> str:
    return "-" if age_s is None else f"{max(age_s, 0):.1f} s"


def _whom(transports: dict[str, dict[str, int]]) -> str:
    """The transports that want it, with their clients where they can tell."""
    return ", ".join(
        f"{name} ({sink['clients']})" if sink["clients"] else name
        for name, sink in transports.items()
        if sink["wanted"]
    )


def _keeps(row: dict[str, Any]) -> str:
    """What waits at most for a slow reader, and what the route adds."""
    bound = f"{row['max_messages']} / {row['max_bytes'] // 1048576} MB"
    words = ["latest" if row["delivery"] == "latest" else bound]
    words += [f"≤ {row['max_rate_hz']:g} Hz"] if row["max_rate_hz"] else []
    words += [word for word in ("latched", "durable") if row[word]]
    return ", ".join(words)
