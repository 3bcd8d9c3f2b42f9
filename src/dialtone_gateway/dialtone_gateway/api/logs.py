"""``/api/v1/logs``: the end of a process's log."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

from aiohttp import web

from dialtone_core.paths import state_dir
from dialtone_gateway.auth.middleware import error
from dialtone_gateway.roles import Role
from dialtone_gateway.routes import STRING, Route, array, obj
from dialtone_gateway.video.asked import BadQueryError, read_number

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_MOST_LINES = 2000
#: At most so much of the file's end is read.
_MOST_BYTES = 512 * 1024


class LogsApi:
    """Reads ``$DIALTONE_HOME/logs/latest``, or the newest run of this robot."""

    def __init__(self, robot: str) -> None:
        self._robot = robot

    def routes(self) -> list[Route]:
        lines = {"type": "integer", "minimum": 1, "maximum": _MOST_LINES}
        return [
            Route("GET", "/api/v1/logs", self.logs, Role.OPERATOR, "The end of a process's log.",
                  query={"name": STRING, "lines": lines},
                  answer=obj({"names": array(STRING), "lines": array(STRING)}),
                  statuses=(404,)),
        ]  # fmt: skip

    async def logs(self, request: web.Request) -> web.Response:
        try:
            count = int(read_number(request, "lines", 1, _MOST_LINES, 200, whole=True))
        except BadQueryError as raised:
            return error(400, str(raised))
        name = request.query.get("name", "")
        files = await asyncio.to_thread(log_files, self._robot)
        if not name:
            return web.json_response({"names": sorted(files), "lines": []})
        if name not in files:
            return error(404, "no log of that name; ask without a name for the names")
        lines = await asyncio.to_thread(tail, files[name], count)
        return web.json_response({"names": sorted(files), "lines": lines})


def log_files(robot: str) -> dict[str, Path]:
    """The logs of the robot's newest run by process name; no link is followed."""
    folder = state_dir() / "logs"
    runs = sorted(folder.glob(f"*_{robot}")) if folder.is_dir() else []
    if not runs:
        return {}
    return {
        file.stem: file
        for file in runs[-1].glob("*.log")
        if _NAME.fullmatch(file.stem) and file.is_file() and not file.is_symlink()
    }


def tail(path: Path, count: int) -> list[str]:
    """The last ``count`` lines, of the last 512 KiB; empty where the file went."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            start = max(0, size - _MOST_BYTES)
            file.seek(start)
            data = file.read(_MOST_BYTES)
    except OSError:
        return []
    lines = data.decode("utf-8", "replace").splitlines()
    return (lines[1:] if start else lines)[-count:]
