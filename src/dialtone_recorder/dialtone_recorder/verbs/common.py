"""What the verbs about episodes share: options, and how an episode is found."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dialtone_core.errors import DialtoneError
from dialtone_recorder.folder import episodes_directory
from dialtone_recorder.reader import resolve

Directory = Annotated[
    str, typer.Option("--directory", "-d", help="Where they lie; default $DIALTONE_HOME/episodes.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Episode = Annotated[Path, typer.Argument(help="An episode's folder or name, or a .mcap file.")]


def find(episode: Path, directory: str = "") -> Path:
    """``episode`` itself, or the one of that name in the episodes folder."""
    for path in (resolve(episode), resolve(episodes_directory(directory) / episode)):
        if path.exists():
            return path
    raise DialtoneError("no such episode", where=str(episode), fix="see dialtone episodes ls")
