"""``dialtone bench``"""

from __future__ import annotations

import ast
import asyncio
import importlib
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.table import Table

from dialtone_core.cli import console, errors
from dialtone_core.errors import DialtoneError


def bench(
    name: Annotated[str, typer.Argument(help="Which benchmark; none lists them.")] = "",
    runs: Annotated[int, typer.Option(help="How many runs; 0 is the benchmark's own.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure this machine: latency, CPU, memory, each beside a baseline where there is one.

    Values are medians of several runs with their extremes. Machines are noisy: trust ratios.
    """
    folder = _folder()
    if not name:
        _list(folder)
        return
    module = _load(folder, name)
    count = runs or module.DEFAULT_RUNS
    with errors.status(f"{name} …") as status:
        rows = asyncio.run(module.run(count, lambda what: status.update(f"{name}: {what}")))
    if json:
        harness: Any = importlib.import_module("harness")
        typer.echo(orjson.dumps(harness.report(name, rows)).decode())
    else:
        _print(name, rows)


def _folder() -> Path:
    """``bench/`` of the source tree that this package is linked from, or that we stand in."""
    here = Path(__file__).resolve()
    trees = [*here.parents, Path(os.environ.get("DIALTONE_ROOT", os.getcwd()))]
    for tree in trees:
        if (tree / "bench" / "harness.py").is_file():
            return tree / "bench"
    raise DialtoneError("no bench/ folder found", fix="run it from the Dialtone source tree")


def _benchmarks(folder: Path) -> dict[str, str]:
    """Name → first line of docstring, for every module with a ``run``; none is imported."""
    found = {}
    for path in sorted(folder.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if any(
            isinstance(each, ast.AsyncFunctionDef) and each.name == "run" for each in tree.body
        ):
            found[path.stem] = " ".join((ast.get_docstring(tree) or "").split("\n\n")[0].split())
    return found


def _load(folder: Path, name: str) -> Any:
    known = _benchmarks(folder)
    if name not in known:
        raise DialtoneError(f"no benchmark {name!r}", fix=f"choose of {', '.join(known)}")
    sys.path.insert(0, str(folder))
    return importlib.import_module(name)


def _list(folder: Path) -> None:
    table = Table(title="Benchmarks", title_style="bold")
    table.add_column("name", style="bold")
    table.add_column("measures")
    for name, about in _benchmarks(folder).items():
        table.add_row(name, about)
    console.print(table)


def _print(name: str, rows: list[Any]) -> None:
    table = Table(title=name, title_style="bold")
    for column in ("row", "median", "unit", "min", "max", "runs", "baseline", "ratio"):
        table.add_column(column, justify="left" if column in ("row", "unit") else "right")
    for each in rows:
        values = (each.value, each.unit, each.min, each.max, each.runs, each.baseline, each.ratio)
        table.add_row(each.name, *("" if value is None else str(value) for value in values))
    console.print(table)
