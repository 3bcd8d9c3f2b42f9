"""``dialtone episodes``: list, inspect, check, label, recover and remove episodes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.table import Table

from dialtone_core.cli import console
from dialtone_core.errors import DialtoneError
from dialtone_recorder.folder import episodes_directory
from dialtone_recorder.intake import Intake
from dialtone_recorder.labels import check_labels
from dialtone_recorder.manifest import RECORDING, read_episode, write_episode
from dialtone_recorder.progress import progress
from dialtone_recorder.reader import episode_files
from dialtone_recorder.recover import recover_all, work
from dialtone_recorder.verbs.common import Directory, Episode, Json, find
from dialtone_recorder.verbs.edit import merge, split, trim
from dialtone_recorder.verbs.replay import replay
from dialtone_recorder.verbs.show import show
from dialtone_recorder.verify import verify as find_problems

app = typer.Typer(no_args_is_help=True, help="List, inspect, check and label episodes.")
for verb in (show, trim, split, merge, replay):
    app.command()(verb)


#: What a narrow terminal may fold is the name and the task; numbers stay whole.
_COLUMNS = {
    "episode": False, "task": False, "outcome": True, "length": True, "size": True,
    "messages": True, "topics": True, "lost": True, "gate": True, "": True,
}  # fmt: skip


def _rows(directory: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for folder in sorted(path for path in directory.glob("*") if path.is_dir()):
        try:
            facts = read_episode(folder)
        except DialtoneError as error:
            rows.append({"name": folder.name, "error": str(error)})
            continue
        size = sum(path.stat().st_size for path in folder.glob("*.mcap"))
        rows.append({**facts, "name": folder.name, "path": str(folder), "bytes": size})
    return rows


@app.command()
def ls(directory: Directory = "", json: Json = False) -> None:
    """List the episodes."""
    rows = _rows(episodes_directory(directory))
    if json:
        console.print_json(orjson.dumps(rows).decode())
        return
    table = Table(box=None, pad_edge=False)
    for name, fixed in _COLUMNS.items():
        table.add_column(name, no_wrap=fixed, overflow="fold")
    for row in rows:
        if "path" not in row:
            table.add_row(row["name"], *[""] * 8, "[red]unreadable")
            continue
        marks = [key for key in ("recovered",) if row.get(key)]
        marks += ["recording or orphaned"] if row["name"].endswith(RECORDING) else []
        lost = (row.get("lost_recorder") or 0) + (row.get("lost_transport") or 0)
        table.add_row(
            row["name"], row.get("task", ""), row.get("outcome", ""),
            f"{row.get('duration_s', 0):.1f} s", f"{row['bytes'] / 1e6:.1f} MB",
            str(row.get("messages", 0)), str(len(row.get("topics", []))), str(lost),
            _gate(row.get("gate")), ", ".join(marks),
        )  # fmt: skip
    console.print(table)


def _gate(told: object) -> str:
    """The worst verdict while it was recorded; nothing where no rule was given."""
    if not isinstance(told, dict) or not told.get("worst"):
        return ""
    worst = str(told["worst"])
    colour = worst if worst in ("green", "yellow", "red") else "default"
    return f"[{colour}]{worst}{', forced' if told.get('forced') else ''}"


@app.command()
def verify(episodes: list[Path], directory: Directory = "") -> None:
    """Read every byte: structure, checksums, counts, every message, what rosbag2 wants.

    Exits with 2 when something is wrong."""
    bad = 0
    for episode in episodes:
        path = find(episode, directory)
        files = [path] if path.is_file() else list(path.glob("*.mcap"))
        total = sum(each.stat().st_size for each in files)
        with progress(f"verifying {path.name}", total) as advance:
            problems = find_problems(path, advance)
        for problem in problems:
            console.print(f"[red]bad[/red]  {problem}", soft_wrap=True, highlight=False)
        if not problems:
            console.print(f"[green]good[/green] {episode}", soft_wrap=True, highlight=False)
        bad += bool(problems)
    if bad:
        raise typer.Exit(2)


@app.command()
def label(
    episode: Episode,
    task: Annotated[str | None, typer.Option(help="What was done.")] = None,
    instruction: Annotated[str | None, typer.Option(help="In the words of a policy.")] = None,
    operator: Annotated[str | None, typer.Option(help="Who did it.")] = None,
    outcome: Annotated[str | None, typer.Option(help="success or fail")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Replaces the tags; repeat it.")] = None,
    directory: Directory = "",
) -> None:
    """Change an episode's labels; what was recorded stays."""
    given = {"task": task, "instruction": instruction, "operator": operator,
             "outcome": outcome, "tags": tag}  # fmt: skip
    labels = check_labels({key: value for key, value in given.items() if value is not None})
    path = find(episode, directory)
    if path.name.endswith(RECORDING):
        raise DialtoneError("still being recorded", where=str(path), fix="stop it first")
    if path.is_file():
        raise DialtoneError(
            "a bare file has no labels", where=f"{path}: offset 0", fix="label an episode's folder"
        )
    write_episode(path, {**Intake(path).facts, **read_episode(path), **labels})


@app.command()
def recover(directory: Directory = "") -> None:
    """Recover what a killed recorder, a full disk or a power cut left behind."""
    failed = False
    place = episodes_directory(directory)
    with progress("recovering", work(place)) as advance:
        for told in recover_all(place, advance):
            if "error" in told:
                failed = True
                console.print(f"[red]not recovered[/red] {told['error']}", soft_wrap=True)
            else:
                said = f"recovered {told['path']}: {told['messages']} messages"
                console.print(said, soft_wrap=True, markup=False)
    if failed:
        raise typer.Exit(2)


@app.command()
def rm(
    episodes: list[Path],
    directory: Directory = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Also what is damaged.")] = False,
) -> None:
    """Remove episodes for good; what is damaged only with --force, for it may be rescued."""
    import shutil

    paths = [find(episode, directory) for episode in episodes]
    for path in paths:
        if path.is_dir() and not (episode_files(path) and (path / "episode.json").exists()):
            raise DialtoneError(
                "no episode of Dialtone's", where=str(path), fix="remove it by hand"
            )
        if path.name.endswith(RECORDING):
            raise DialtoneError("still being recorded", where=str(path), fix="stop it first")
        if path.is_file() and path.suffix != ".mcap":
            raise DialtoneError("no .mcap file", where=str(path), fix="remove it by hand")
        if not force:
            Intake(path)
    for path in paths:
        if yes or typer.confirm(f"remove {path}?"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
