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
from dialtone_recorder.labels import check_labels
from dialtone_recorder.manifest import RECORDING, read_episode, write_episode
from dialtone_recorder.reader import episode_counts, episode_files, resolve
from dialtone_recorder.recover import recover_all
from dialtone_recorder.verify import verify as find_problems

app = typer.Typer(no_args_is_help=True, help="List, inspect, check and label episodes.")

Directory = Annotated[
    str, typer.Option("--directory", "-d", help="Where they lie; default $DIALTONE_HOME/episodes.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Episode = Annotated[Path, typer.Argument(help="An episode's folder or name, or a .mcap file.")]


def _find(episode: Path, directory: str = "") -> Path:
    """``episode`` itself, or the one of that name in the episodes folder."""
    for path in (resolve(episode), resolve(episodes_directory(directory) / episode)):
        if path.exists():
            return path
    raise DialtoneError("no such episode", where=str(episode), fix="see dialtone episodes ls")


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
    table = Table("episode", "task", "outcome", "length", "size", "messages", "topics", "lost", "")
    for row in rows:
        if "error" in row:
            table.add_row(row["name"], *[""] * 7, "[red]unreadable")
            continue
        marks = [key for key in ("recovered",) if row.get(key)]
        marks += ["recording or orphaned"] if row["name"].endswith(RECORDING) else []
        lost = (row.get("lost_recorder") or 0) + (row.get("lost_transport") or 0)
        table.add_row(
            row["name"], row.get("task", ""), row.get("outcome", ""),
            f"{row.get('duration_s', 0):.1f} s", f"{row['bytes'] / 1e6:.1f} MB",
            str(row.get("messages", 0)), str(len(row.get("topics", []))), str(lost),
            ", ".join(marks),
        )  # fmt: skip
    console.print(table)


@app.command()
def show(episode: Episode, directory: Directory = "", json: Json = False) -> None:
    """Show what an episode holds, topic by topic."""
    path = _find(episode, directory)
    try:
        facts = read_episode(path)
    except DialtoneError:
        facts = {"topics": [
            {"name": name, "messages": count} for name, count in episode_counts(path).items()
        ]}  # fmt: skip
    if json:
        console.print_json(orjson.dumps(facts).decode())
        return
    for key in ("task", "operator", "outcome", "tags", "duration_s", "closed_by", "recovered"):
        if facts.get(key):
            console.print(f"{key}: {facts[key]}", markup=False, highlight=False)
    table = Table("topic", "type", "messages", "Hz", "longest gap", "lost", "lost on the way")
    for each in facts["topics"]:
        table.add_row(
            each["name"], each.get("type", ""), str(each["messages"]),
            f"{each.get('rate_hz', 0):.1f}", f"{each.get('max_gap_s', 0):.3f} s",
            str(each.get("lost_recorder", "")),
            "?" if each.get("lost_transport") is None else str(each["lost_transport"]),
        )  # fmt: skip
    console.print(table)


@app.command()
def verify(episodes: list[Path], directory: Directory = "") -> None:
    """Read every byte: structure, checksums, counts. Exits with 2 when something is wrong."""
    bad = 0
    for episode in episodes:
        problems = find_problems(_find(episode, directory))
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
    path = _find(episode, directory)
    if path.name.endswith(RECORDING):
        raise DialtoneError("still being recorded", where=str(path), fix="stop it first")
    write_episode(path, {**read_episode(path), **labels})


@app.command()
def recover(directory: Directory = "") -> None:
    """Recover what a killed recorder, a full disk or a power cut left behind."""
    failed = False
    for told in recover_all(episodes_directory(directory)):
        if "error" in told:
            failed = True
            console.print(f"[red]not recovered[/red] {told['error']}", soft_wrap=True)
        else:
            console.print(f"recovered {told['path']}: {told['messages']} messages", soft_wrap=True)
    if failed:
        raise typer.Exit(2)


@app.command()
def rm(
    episodes: list[Path],
    directory: Directory = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
) -> None:
    """Remove episodes for good."""
    import shutil

    for episode in episodes:
        path = _find(episode, directory)
        if path.is_dir() and not (episode_files(path) and (path / "episode.json").exists()):
            raise DialtoneError(
                "no episode of Dialtone's", where=str(path), fix="remove it by hand"
            )
        if path.name.endswith(RECORDING):
            raise DialtoneError("still being recorded", where=str(path), fix="stop it first")
        if yes or typer.confirm(f"remove {path}?"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
