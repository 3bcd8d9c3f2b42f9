"""``dialtone test``: the whole suite, in the built environment."""

from __future__ import annotations

import subprocess
import sys
from typing import Annotated

import typer

from dialtone_bringup.tree import source_tree
from dialtone_core.cli import errors

test = typer.Typer(add_completion=False)


@test.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def run(
    arguments: Annotated[
        list[str] | None, typer.Argument(help="Handed to pytest as they are.")
    ] = None,
) -> None:
    """Run the test suite; what follows goes to pytest.

    [bold]dialtone test -k recorder -x[/bold] runs the tests of that name until the first failure.
    Real servers, real DDS, on ports and a ROS domain of the run's own. Exit code: pytest's.
    """
    tree = source_tree()
    if subprocess.run([sys.executable, "-c", "import pytest"], capture_output=True).returncode:
        errors.print("dialtone: pytest is missing. Fix: pip install -r requirements-dev.txt")
        raise typer.Exit(1)
    command = [sys.executable, "-m", "pytest", *(arguments or [])]
    raise typer.Exit(subprocess.run(command, cwd=tree).returncode)
