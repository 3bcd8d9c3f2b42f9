"""``dialtone export``: episodes into a dataset that trains a policy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from dialtone_core.cli import console, errors
from dialtone_core.errors import DialtoneError
from dialtone_recorder.verbs.common import find

if TYPE_CHECKING:
    from dialtone_recorder.mapping import Mapping


def export(
    format: Annotated[str, typer.Argument(help="lerobot, hdf5, parquet, or an installed one.")],
    episodes: Annotated[
        list[Path], typer.Argument(help="Folders or names of episodes, or .mcap files.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The dataset's folder; must not exist.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Mapping YAML; none: as --suggest.")
    ] = None,
    suggest: Annotated[
        bool, typer.Option("--suggest", help="Print a mapping made from the first episode.")
    ] = False,
    append: Annotated[bool, typer.Option("--append", help="Add to the dataset in --out.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Take episodes outside of the mapping's tolerance.")
    ] = False,
    directory: Annotated[
        str, typer.Option("--directory", "-d", help="Where named episodes lie.")
    ] = "",
) -> None:
    """Turn episodes into a dataset for imitation learning.

    What becomes what is said by a mapping; see docs/datasets.md.
    """
    from dialtone_recorder.exports.base import find_exporter
    from dialtone_recorder.mapping import dump

    find_exporter(format)
    paths = [find(each, directory) for each in episodes]
    mapping = _mapping(config, out if append else None, paths[0])
    if suggest:
        typer.echo(dump(mapping), nl=False)
        return
    if out is None:
        raise DialtoneError("nowhere to write to", fix="give --out DIR")
    _run(format, paths, out, mapping, append, force)


def _mapping(config: Path | None, dataset: Path | None, episode: Path) -> Mapping:
    """The one that was given, that of the dataset to append to, or one that suits ``episode``."""
    from dialtone_recorder.mapping import from_json, load
    from dialtone_recorder.provenance import read
    from dialtone_recorder.recording import Recording
    from dialtone_recorder.suggest import suggest

    if config is not None:
        return load(config)
    if dataset is not None and dataset.is_dir():
        return from_json(read(dataset)["mapping"], str(dataset))
    with progress_bar() as bar:
        task = bar.add_task("making a mapping", total=1.0)
        return suggest(Recording(episode), lambda part: bar.update(task, completed=part))


def _run(
    format: str, paths: list[Path], out: Path, mapping: Mapping, append: bool, force: bool
) -> None:
    from dialtone_recorder.exporting import export as run

    with progress_bar() as bar:
        tasks: dict[str, TaskID] = {}

        def show(name: str, part: float) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=1.0)
            bar.update(tasks[name], completed=part)

        done = run(format, paths, out, mapping, append=append, force=force, on_progress=show)
    for note in done.notes:
        errors.print(f"note: {note}", style="yellow", soft_wrap=True, highlight=False)
    console.print(
        f"{out}: {done.episodes} episodes, {done.frames} frames at {mapping.fps} fps",
        soft_wrap=True, highlight=False,
    )  # fmt: skip


def progress_bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(), console=errors, transient=True,
    )  # fmt: skip
