"""A progress bar that appears when something takes longer than a second."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from dialtone_core.cli import errors

PATIENCE_S = 1.0
#: The clock is looked at after so many steps: a million messages cost nothing extra.
_STEPS = 256


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Yields ``advance(steps)``; the bar goes to stderr and leaves no trace."""
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn(),
        console=errors, transient=True,
    )  # fmt: skip
    task = bar.add_task(what, total=total)
    began_s = time.monotonic()
    done = told = 0
    shown = False

    def advance(steps: int) -> None:
        nonlocal done, told, shown
        done += steps
        if done - told < _STEPS and steps < _STEPS:
            return
        told = done
        if not shown and time.monotonic() - began_s > PATIENCE_S:
            shown = True
            bar.start()
        if shown:
            bar.update(task, completed=done)

    try:
        yield advance
    finally:
        if shown:
            bar.stop()
