"""``provenance.json``: from which bytes, by which mapping and software a dataset was made.

No time and no absolute path: the same input makes the same file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import av
import orjson

from dialtone_core import __version__
from dialtone_core.clock import NS_PER_S
from dialtone_core.errors import DialtoneError
from dialtone_recorder.manifest import write_file
from dialtone_recorder.mapping import Mapping
from dialtone_recorder.table import Table

FORMAT = "dialtone.dataset/1"
NAME = "provenance.json"
_PACKAGES = ("numpy", "pyarrow", "h5py", "av", "opencv-python-headless")
_LABELS = ("robot", "task", "instruction", "operator", "outcome", "tags", "recovered", "gate")


def begin(kind: str, mapping: Mapping) -> dict[str, Any]:
    """The provenance of a dataset without episodes."""
    return {
        "format": FORMAT,
        "kind": kind,
        "mapping": mapping.to_json(),
        "mapping_sha256": mapping.digest(),
        "software": _software(),
        "episodes": [],
        "files": {},
    }


def read(folder: Path) -> dict[str, Any]:
    """The provenance of the dataset in ``folder``; raises ``DialtoneError``."""
    path = folder / NAME
    try:
        told = orjson.loads(path.read_bytes())
    except OSError as error:
        raise DialtoneError(
            f"cannot read it ({error.strerror})", where=str(path),
            fix="give the folder of a dataset that dialtone export made",
        ) from error  # fmt: skip
    except orjson.JSONDecodeError as error:
        raise DialtoneError(f"not JSON: {error}", where=str(path), fix="export again") from error
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        raise DialtoneError(f"not of format {FORMAT}", where=str(path), fix="export again")
    return told


def episode(table: Table) -> dict[str, Any]:
    """What one recorded episode gave, and how good it was."""
    facts = table.recording.facts
    cameras = {name: round(camera.rate_hz, 3) for name, camera in table.cameras.items()}
    ages = table.columns["timing.age_s"]
    return {
        "name": table.recording.name,
        "sha256": table.recording.digests(),
        "task": table.task,
        "frames": len(table),
        "dropped": table.dropped,
        "start_ns": int(table.times_ns[0]),
        "duration_s": round(float(table.times_ns[-1] - table.times_ns[0]) / NS_PER_S, 6),
        "camera_rates_hz": cameras,
        "mean_age_s": {
            name: round(float(ages.values[:, n].mean()), 6) for n, name in enumerate(ages.names)
        },
        "labels": {key: facts[key] for key in _LABELS if facts.get(key)},
        **table.report,
    }


def write(folder: Path, told: dict[str, Any]) -> None:
    """Hash the dataset's files and write the paper last."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != NAME]
    told["files"] = {str(path.relative_to(folder)): file_digest(path) for path in sorted(files)}
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    write_file(folder / NAME, orjson.dumps(told, option=options))


def changed_files(folder: Path, on_progress: Callable[[float], None]) -> list[str]:
    """Files that are missing, new, or not what was exported, in words."""
    told = read(folder)["files"]
    here = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {NAME}
    problems = [f"{folder / name}: missing" for name in sorted(told.keys() - here)]
    problems += [f"{folder / name}: not of this export" for name in sorted(here - told.keys())]
    for number, name in enumerate(sorted(here & told.keys())):
        if file_digest(folder / name) != told[name]:
            problems.append(f"{folder / name}: changed since it was exported")
        on_progress(number / len(told))
    return problems


def file_digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _software() -> dict[str, str]:
    found = {"dialtone": __version__}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    codecs = av.library_versions
    return found | {
        name: ".".join(map(str, codecs[name])) for name in ("libavcodec", "libavformat")
    }
