"""``dialtone check``: everything about the source that a machine can judge without running it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from dialtone_bringup.astrule import check_tree
from dialtone_bringup.tree import source_tree
from dialtone_core.cli import console


def check(
    fix: Annotated[
        bool, typer.Option("--fix", help="Let ruff mend and format what it can, first.")
    ] = False,
) -> None:
    """Check the source: ruff, its format, mypy, the house rules on the syntax tree, TypeScript.

    Runs all of them, shows what each found, and exits with 1 if any found something.
    """
    tree = source_tree()
    ruff = [sys.executable, "-m", "ruff"]
    if fix:
        subprocess.run([*ruff, "check", "--fix", "--quiet", "."], cwd=tree)
        subprocess.run([*ruff, "format", "--quiet", "."], cwd=tree)
    tools = {
        "ruff check": [*ruff, "check", "--quiet", "."],
        "ruff format": [*ruff, "format", "--check", "--quiet", "."],
        "mypy": [sys.executable, "-m", "mypy", "--no-error-summary", *_packages(tree)],
    }
    typescript = _typescript(tree)
    if typescript is not None:
        tools["tsc"] = typescript
    bad = [name for name, command in tools.items() if not _run(name, command, tree)]
    began = time.monotonic()
    findings = check_tree(tree)
    _verdict("house rules", not findings, began, "\n".join(map(str, findings)))
    raise typer.Exit(1 if bad or findings else 0)


def _typescript(tree: Path) -> list[str] | None:
    """The dashboard's types, where Node and the dashboard's parts are; says so where not."""
    compiler = tree / "web" / "node_modules" / ".bin" / "tsc"
    if shutil.which("node") is None or not compiler.exists():
        console.print("[yellow]-[/yellow] tsc left out: no Node, or no npm ci in web/")
        return None
    return [str(compiler), "--noEmit", "--project", str(tree / "web")]


def _packages(tree: Path) -> list[str]:
    """Every package's module folder; tests are judged by ruff and by running."""
    return [str(path.parent) for path in sorted(tree.glob("src/*/*/__init__.py"))]


def _run(name: str, command: list[str], tree: Path) -> bool:
    began = time.monotonic()
    done = subprocess.run(
        command, cwd=tree, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    _verdict(name, done.returncode == 0, began, done.stdout)
    return done.returncode == 0


def _verdict(name: str, good: bool, began: float, output: str) -> None:
    mark = "[green]✓[/green]" if good else "[bold red]✗[/bold red]"
    console.print(f"{mark} {name} ({time.monotonic() - began:.1f} s)", highlight=False)
    if not good:
        console.print(output.rstrip(), markup=False, highlight=False, soft_wrap=True)
