"""What a robot's processes get told by their environment, and what dead ones left behind."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from dialtone_bringup.prefixes import share
from dialtone_core.paths import make_state_dir, state_dir

#: Fast DDS 2 (Jazzy) and Fast DDS 3 (Kilted on) ask for their profile under different names.
_PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
_SEGMENT = re.compile(r"fast(?:rtps|dds)_[0-9a-f]{16}")
_SETTLED_S = 10.0
_RUN = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d_.+")


def child_environment(base: Mapping[str, str], logs: Path, colour: bool) -> dict[str, str]:
    """``base`` with what every node wants; what the caller has set stays as it is."""
    env = dict(base)
    env["DIALTONE_HOME"] = str(state_dir())
    env["PYTHONUNBUFFERED"] = "1"
    env.setdefault("ROS_LOG_DIR", str(logs / "ros"))
    env.setdefault("RCUTILS_COLORIZED_OUTPUT", "1" if colour else "0")
    if not env.get("ROS_DISTRO"):
        # Without a ROS installation of one's own there is nobody on the network to be found by.
        env.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    return env | transport_environment(env)


def transport_environment(base: Mapping[str, str]) -> dict[str, str]:
    """The variables that give Fast DDS our profile; none where ``base`` names one already."""
    if any(base.get(name) for name in _PROFILE_VARIABLES):
        return {}
    profile = str(share("dialtone_bringup", "config", "fastdds.xml"))
    return dict.fromkeys(_PROFILE_VARIABLES, profile)


def log_folder(robot: str) -> Path:
    """``logs/<stamp>_<robot>``, with ``logs/latest`` pointing at it; very old ones go."""
    stamp = time.strftime("%Y-%m-%dT%H-%M-%S")
    folder = make_state_dir("logs") / f"{stamp}_{robot}"
    for number in range(1, 100):
        try:
            folder.mkdir()
            break
        except FileExistsError:
            folder = folder.with_name(f"{stamp}_{robot}_{number}")
    latest = folder.with_name("latest")
    fresh = folder.with_name(f".latest-{os.getpid()}")
    fresh.symlink_to(folder.name)
    fresh.replace(latest)
    prune(folder.parent)
    return folder


def prune(logs: Path, keep: int = 100, untouched_s: float = 7 * 86400.0) -> None:
    """Remove all but the newest runs' folders; one that was written to of late is in use."""
    runs = sorted(each for each in logs.iterdir() if _RUN.fullmatch(each.name))
    for run in runs[:-keep]:
        with suppress(OSError):
            touched_s = max(each.stat().st_mtime for each in (run, *run.iterdir()))
            if time.time() - touched_s > untouched_s:
                shutil.rmtree(run)


def sweep_shared_memory(folder: Path = Path("/dev/shm")) -> int:
    """Remove Fast DDS segments whose owner is dead; returns how many.

    The owner holds an exclusive flock on ``<segment>_el`` for its life (the rule that
    ``fastdds shm clean`` follows): a lock that can be had is a dead one's. Young files are left,
    their owner may be between creating and locking.
    """
    removed = 0
    for lock in folder.glob("fast*_el"):
        segment = lock.with_name(lock.name[: -len("_el")])
        if _SEGMENT.fullmatch(segment.name) and _is_abandoned(lock):
            for path in (segment, lock):
                try:
                    path.unlink()
                except FileNotFoundError:
                    continue
                except OSError:
                    break
            else:
                removed += 1
    return removed


def _is_abandoned(lock: Path) -> bool:
    try:
        if time.time() - lock.stat().st_mtime < _SETTLED_S:
            return False
        handle = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True
