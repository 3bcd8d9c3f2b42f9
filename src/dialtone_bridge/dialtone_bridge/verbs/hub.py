"""``dialtone hub``: run the server that robots join from behind NAT, and say who may."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import typer
from rich.table import Table

from dialtone_core.aio import end_task
from dialtone_core.cli import console
from dialtone_core.errors import DialtoneError

hub = typer.Typer(no_args_is_help=True, add_completion=False, help="A server for a fleet.")

_NAME = typer.Option("hub", "--name", help="Names the hub and its JetStream domain.")
_ORIGINS = typer.Option([], "--origin", help="Origin of web pages that may connect.")


@hub.command("run")
def run(
    name: str = _NAME,
    host: str = typer.Option("127.0.0.1", help="Address to listen on; 0.0.0.0 is everywhere."),
    port: int = typer.Option(4222, help="For clients."),
    leaf_port: int = typer.Option(7422, help="For robots."),
    websocket_port: int = typer.Option(0, help="For browsers; 0 is none."),
    origin: list[str] = _ORIGINS,
    tls_cert: str = typer.Option("", help="PEM file of this server; wanted off loopback."),
    tls_key: str = typer.Option("", help="PEM file of its key."),
    stream_max_bytes: int = typer.Option(
        1 << 30, min=1 << 20, help="Room that is set aside for each robot's durable routes."
    ),
) -> None:
    """Run a hub until Ctrl-C."""
    from dialtone_bridge.hub import HubSettings, Members, write_config
    from dialtone_bridge.hub_manager import HubManager
    from dialtone_bridge.nats_server import find_binary
    from dialtone_core.ports import is_free
    from dialtone_core.process import die_with_parent

    settings = HubSettings(
        name,
        host,
        port,
        leaf_port,
        websocket_port,
        tuple(origin),
        tls_cert,
        tls_key,
        stream_max_bytes,
    )
    if host not in ("127.0.0.1", "localhost", "::1") and not tls_cert:
        console.print("Without --tls-cert and --tls-key others on the way can read and change "
                      "everything.", style="yellow")  # fmt: skip
    for each in filter(None, (port, leaf_port, websocket_port)):
        if not is_free(each, host):
            raise DialtoneError(f"port {each} is in use", where="hub", fix="choose another")
    members = Members.load(name)
    config = write_config(settings, members)
    command = [str(find_binary()), "--config", str(config), "--pid", str(config.with_name("pid"))]
    scheme = "tls" if tls_cert else "nats"
    where = f"clients {scheme}://{host}:{port}, robots {scheme}://{host}:{leaf_port}"
    console.print(
        f"hub {name}: {where}; let one in with: dialtone hub add ROBOT",
        highlight=False,
        soft_wrap=True,
    )
    near = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    manager = HubManager(settings, f"{scheme}://{near}:{port}", lambda line: console.print(line))
    process = subprocess.Popen(command, preexec_fn=die_with_parent(signal.SIGTERM))
    code = asyncio.run(_serve(process, manager.run(config.with_name("manager.nk"))))
    if code:
        raise typer.Exit(code)


async def _serve(process: subprocess.Popen[bytes], managing: Coroutine[Any, Any, None]) -> int:
    """The server and its manager until a signal, or until the server ends."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, stop.set)
    ended = asyncio.create_task(asyncio.to_thread(process.wait))
    tasks: set[asyncio.Task[Any]] = {
        ended,
        asyncio.create_task(stop.wait()),
        asyncio.create_task(managing),
    }
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        asked = stop.is_set()
        process.terminate()
        await ended
        for task in tasks:
            await end_task(task)
    return 0 if asked else process.returncode


@hub.command("add")
def add(
    member: str = typer.Argument(help="A robot's name, or a person's with --role."),
    role: str = typer.Option("robot", help="robot, viewer, operator or admin."),
    out: str = typer.Option("", help="File for the key; MEMBER.nk here by default."),
    name: str = _NAME,
) -> None:
    """Let somebody in: writes a key file to hand over, once."""
    from dialtone_bridge.hub import Members

    path = Path(out or f"{member}.nk").absolute()
    members = Members.load(name).add(member, role, path)
    _reload(members.folder)
    console.print(f"{member} may join as {role} with the key {path}", highlight=False)
    if role == "robot":
        console.print("On the robot: hub_url: nats://HUB:7422, hub_credentials: the key's path",
                      style="dim", highlight=False)  # fmt: skip


@hub.command("remove")
def remove(member: str = typer.Argument(help="Whom to shut out."), name: str = _NAME) -> None:
    """Shut somebody out at once."""
    from dialtone_bridge.hub import Members

    _reload(Members.load(name).remove(member).folder)
    console.print(f"{member} is out", highlight=False)


@hub.command("members")
def members(name: str = _NAME) -> None:
    """List who may join."""
    from dialtone_bridge.hub import Members

    table = Table("member", "role", "key", box=None, header_style="bold", pad_edge=False)
    for member, each in sorted(Members.load(name).found.items()):
        table.add_row(member, each["role"], each["nkey"])
    console.print(table)


def _reload(folder: Path) -> None:
    """Have a hub that runs take the new list; one that doesn't takes it at its start."""
    from dialtone_bridge.hub import Members, replace_users
    from dialtone_core.process import is_running

    config = folder / "server.conf"
    if not config.exists():
        return
    replace_users(config, Members.load(folder.name))
    try:
        pid = int((folder / "pid").read_text(encoding="ascii"))
        if is_running(pid, str(config)):
            os.kill(pid, signal.SIGHUP)
    except (OSError, ValueError):
        return
