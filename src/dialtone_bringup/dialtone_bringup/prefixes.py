"""Finds installed packages along ``AMENT_PREFIX_PATH``, without importing anything of ROS."""

from __future__ import annotations

import os
from pathlib import Path

from dialtone_core.errors import DialtoneError


def prefixes() -> list[Path]:
    """The install prefixes in order; earlier ones overlay later ones."""
    return [Path(p) for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]


def find_prefix(package: str) -> Path | None:
    """The first prefix that holds ``package``; the ament index's own rule."""
    for prefix in prefixes():
        if (prefix / "share/ament_index/resource_index/packages" / package).exists():
            return prefix
    return None


def find_executable(package: str, name: str) -> Path | None:
    """``lib/<package>/<name>`` of an installed package, as ``ros2 run`` finds it."""
    prefix = find_prefix(package)
    path = prefix / "lib" / package / name if prefix else None
    return path if path and os.access(path, os.X_OK) else None


def share(package: str, *parts: str) -> Path:
    """A path in the share folder of ``package``; of the source tree where it is not built."""
    prefix = find_prefix(package)
    if prefix is not None:
        return Path(prefix, "share", package, *parts)
    source = Path(__file__).resolve().parents[1]
    if source.name == package:
        return source.joinpath(*parts)
    raise DialtoneError(
        f"package {package} is not installed", fix="start with ./dialtone, or source the workspace"
    )
