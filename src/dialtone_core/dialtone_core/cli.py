"""The ``dialtone`` command: verbs found by the entry point group ``dialtone.verbs``.

A verb is ``name = "module:attribute"`` where the attribute is a function with typer annotations
or a ``typer.Typer`` of sub-verbs. A verb's module is imported only when it is called (or for
``--help``), so it may import what it needs, but the heavy things inside the function.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import typer
from rich.console import Console
from typer.core import TyperGroup
from typer.main import get_command

from dialtone_core import __version__
from dialtone_core.dotenv import load_secrets
from dialtone_core.errors import DialtoneError

GROUP = "dialtone.verbs"

console = Console()
errors = Console(stderr=True)


@cache
def _verbs() -> dict[str, EntryPoint]:
    return {point.name: point for point in sorted(entry_points(group=GROUP))}


@cache
def _load(name: str) -> Any:
    target = _verbs()[name].load()
    if isinstance(target, typer.Typer):
        command = get_command(target)
    else:
        wrapper = typer.Typer(add_completion=False)
        wrapper.command(name)(target)
        command = get_command(wrapper)
    command.name = name
    return command


class VerbGroup(TyperGroup):
    """Looks verbs up lazily, so that one verb's imports never slow another's start."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(_verbs())

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return _load(cmd_name) if cmd_name in _verbs() else None


app = typer.Typer(
    cls=VerbGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Put a robot on the line: stream it, drive it, record it.",
    epilog="Start with [bold]dialtone up[/bold]; [bold]VERB --help[/bold] explains a verb.",
)


def _version(value: bool) -> None:
    if value:
        console.print(f"dialtone {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", help="Print the version and leave.", callback=_version, is_eager=True
    ),
) -> None:
    """Options before the verb."""


def fail(error: DialtoneError) -> None:
    """Print the one line of ``error`` to stderr, in red where the terminal has colours."""
    errors.print(
        f"dialtone: {error}", style="bold red", highlight=False, markup=False, soft_wrap=True
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line; a ``DialtoneError`` is one line and its exit code, no traceback."""
    try:
        load_secrets()
        app(args=list(argv) if argv is not None else None, prog_name="dialtone")
    except DialtoneError as error:
        fail(error)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
