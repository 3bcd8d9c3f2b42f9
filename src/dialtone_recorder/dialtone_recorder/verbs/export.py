"""``dialtone export``: episodes into a dataset that trains a policy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from dialtone_core.cli import console, errors
from dialtone_core.errors import DialtoneError


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
    from dialtone_recorder import mapping as mappings
    from dialtone_recorder.exporting import export as run
    from dialtone_recorder.exports.base import find_exporter
    from dialtone_recorder.provenance import read
    from dialtone_recorder.recording import Recording
    from dialtone_recorder.suggest import suggest as derive

    find_exporter(format)
    paths = [_find(each, directory) for each in episodes]
    if config is not None:
        mapping = mappings.load(config)
    elif append and out is not None and out.is_dir():
        mapping = mappings.from_json(read(out)["mapping"], str(out))
    else:
        mapping = derive(Recording(paths[0]))
    if suggest:
        typer.echo(mappings.dump(mapping), nl=False)
        return
    if out is None:
        raise DialtoneError("nowhere to write to", fix="give --out DIR")
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


def _find(episode: Path, directory: str) -> Path:
    """``episode`` itself, or the one of that name in the episodes folder."""
    from dialtone_recorder.folder import episodes_directory
    from dialtone_recorder.reader import resolve

    for path in (resolve(episode), resolve(episodes_directory(directory) / episode)):
        if path.exists():
            return path
    raise DialtoneError("no such episode", where=str(episode), fix="see dialtone episodes ls")


def progress_bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(), console=errors, transient=True,
    )  # fmt: skip
