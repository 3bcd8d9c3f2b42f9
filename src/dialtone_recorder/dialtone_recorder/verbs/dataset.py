"""``dialtone dataset``: is an exported dataset what it says?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dialtone_core.cli import console

app = typer.Typer(no_args_is_help=True, help="Check exported datasets.")


@app.callback()
def _verbs() -> None:
    """Check exported datasets."""


@app.command()
def check(
    directory: Annotated[Path, typer.Argument(help="A folder that dialtone export made.")],
) -> None:
    """Compare hashes, count, recompute every statistic, decode every picture.

    Exits with 2 when something is wrong.
    """
    from dialtone_recorder.exporting import check as find_problems
    from dialtone_recorder.verbs.export import progress_bar

    with progress_bar() as bar:
        task = bar.add_task(str(directory), total=1.0)
        problems = find_problems(directory, lambda part: bar.update(task, completed=part))
    for problem in problems:
        console.print(f"bad  {problem}", style="red", soft_wrap=True, highlight=False)
    if problems:
        raise typer.Exit(2)
    console.print(f"good {directory}", style="green", soft_wrap=True, highlight=False)
