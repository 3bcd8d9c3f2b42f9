"""The source tree that this package is linked from; ``test`` and ``check`` need it."""

from __future__ import annotations

import os
from pathlib import Path

from dialtone_core.errors import DialtoneError


def source_tree() -> Path:
    """The repository's root; raises ``DialtoneError`` where only the built packages are here."""
    trees = [Path(os.environ["DIALTONE_ROOT"])] if os.environ.get("DIALTONE_ROOT") else []
    for tree in [*trees, *Path(__file__).resolve().parents, Path.cwd()]:
        if (tree / "src" / "dialtone_bringup" / "package.xml").is_file():
            return tree
    raise DialtoneError(
        "this verb needs Dialtone's source tree", fix="run ./dialtone in a clone of it"
    )
