"""``/api/v1/episodes``: what was recorded, to look at and to take along.

An episode is a folder with ``episode.json`` (docs/episodes.md). A name in a path is looked up
among the folders that are there, so that no path leads elsewhere.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

from dialtone_core.errors import DialtoneError
from dialtone_core.paths import state_dir
from dialtone_gateway.api.preview import Previews
from dialtone_gateway.api.zipstream import zip_chunks
from dialtone_gateway.audit import Audit
from dialtone_gateway.auth.middleware import IDENTITY, error
from dialtone_gateway.roles import Role
from dialtone_gateway.routes import (
    BOOLEAN,
    INTEGER,
    NUMBER,
    STRING,
    Route,
    Schema,
    array,
    nullable,
    obj,
)
from dialtone_recorder.labels import OUTCOMES, check_labels
from dialtone_recorder.manifest import read_episode, write_episode

_MOST_EPISODES = 10_000
_MOST_MANIFEST_BYTES = 4_000_000
_MOST_DOWNLOADS = 4
_TEXT: Schema = {"type": "string", "maxLength": 1000}
_LABELS: Schema = {
    "type": "object",
    "properties": {
        "task": _TEXT,
        "instruction": _TEXT,
        "operator": _TEXT,
        "outcome": {"type": "string", "enum": list(OUTCOMES)},
        "tags": {"type": "array", "items": STRING},
    },
    "additionalProperties": False,
}


class EpisodesApi:
    """``directory`` empty is ``$DIALTONE_HOME/episodes``."""

    def __init__(self, directory: str, audit: Audit) -> None:
        self._directory = directory
        self._audit = audit
        self._labelling = asyncio.Lock()
        self._known: dict[str, tuple[int, dict[str, Any]]] = {}
        self._previews = Previews()
        self._downloads = 0

    def routes(self) -> list[Route]:
        row = obj(
            {
                "name": STRING,
                "task": STRING,
                "outcome": STRING,
                "duration_s": NUMBER,
                "bytes": INTEGER,
                "messages": INTEGER,
                "started_at_s": NUMBER,
                "recovered": BOOLEAN,
                "gate": nullable(STRING),
            }
        )
        base = "/api/v1/episodes"
        return [
            Route("GET", base, self.index, Role.VIEWER, "All episodes, the newest first.",
                  answer=array(row)),
            Route("GET", f"{base}/{{name}}/download", self.download, Role.OPERATOR,
                  "An episode as a zip.", media="application/zip", statuses=(404, 503)),
            Route("GET", f"{base}/{{name}}/preview.jpg", self.preview, Role.VIEWER,
                  "A picture out of the middle.", media="image/jpeg", statuses=(404,)),
            Route("POST", f"{base}/{{name}}/labels", self.label, Role.OPERATOR,
                  "Change labels of an episode that was recorded.", body=_LABELS,
                  answer=obj({"ok": BOOLEAN}), statuses=(404,)),
        ]  # fmt: skip

    @property
    def folder(self) -> Path:
        chosen = self._directory
        return Path(chosen).expanduser().absolute() if chosen else state_dir() / "episodes"

    async def index(self, request: web.Request) -> web.Response:
        return web.json_response(await asyncio.to_thread(self._rows))

    async def download(self, request: web.Request) -> web.StreamResponse:
        """Streamed, stored without compression: episodes are compressed already."""
        folder = await asyncio.to_thread(self._find, request.match_info["name"])
        if folder is None:
            return error(404, "no episode of that name")
        if self._downloads >= _MOST_DOWNLOADS:
            return error(503, "too many downloads; wait for one to end")
        response = web.StreamResponse()
        response.content_type = "application/zip"
        response.headers["Content-Disposition"] = f'attachment; filename="{folder.name}.zip"'
        if request.method == "HEAD":
            return response
        self._downloads += 1
        try:
            await response.prepare(request)
            chunks = zip_chunks(folder)
            while chunk := await asyncio.to_thread(next, chunks, b""):
                await response.write(chunk)
            await response.write_eof()
        finally:
            self._downloads -= 1
        return response

    async def preview(self, request: web.Request) -> web.Response:
        folder = await asyncio.to_thread(self._find, request.match_info["name"])
        jpeg = await self._previews.get(folder) if folder is not None else None
        if jpeg is None:
            return error(404, "no episode of that name, or none with a picture")
        headers = {"Cache-Control": "private, max-age=3600"}
        return web.Response(body=jpeg, content_type="image/jpeg", headers=headers)

    async def label(self, request: web.Request) -> web.Response:
        """What is not named stays; what was recorded stays in any case."""
        folder = await asyncio.to_thread(self._find, request.match_info["name"])
        if folder is None:
            return error(404, "no episode of that name")
        try:
            labels = check_labels(_object(await request.read()))
        except (DialtoneError, ValueError) as raised:
            return error(400, str(raised))
        async with self._labelling:  # read, change, write: two at once would lose one
            await asyncio.to_thread(_relabel, folder, labels)
        who = request[IDENTITY].operator
        self._audit.note("episode_labelled", episode=folder.name, labels=labels, by=who)
        return web.json_response({"ok": True})

    def _find(self, name: str) -> Path | None:
        """The folder of a closed episode; by comparison with names, never by joining paths."""
        return next((each for each in self._folders() if each.name == name), None)

    def _folders(self) -> list[Path]:
        try:
            found = [
                each
                for each in self.folder.iterdir()
                if _closed(each.name) and not each.is_symlink() and each.is_dir()
            ]
        except OSError:
            return []
        return sorted(found, reverse=True)[:_MOST_EPISODES]

    def _rows(self) -> list[dict[str, Any]]:
        """One row an episode; a manifest is read again only when it changed."""
        rows: list[dict[str, Any]] = []
        known: dict[str, tuple[int, dict[str, Any]]] = {}
        for folder in self._folders():
            manifest = folder / "episode.json"
            try:
                status = manifest.stat()
                stamp = status.st_mtime_ns
                if status.st_size > _MOST_MANIFEST_BYTES:
                    continue
                cached = self._known.get(folder.name)
                if cached is None or cached[0] != stamp:
                    cached = (stamp, row_of(folder, orjson.loads(manifest.read_bytes())))
            except (OSError, ValueError):
                continue
            known[folder.name] = cached
            rows.append(cached[1])
        self._known = known
        return rows


def _object(body: bytes) -> dict[str, Any]:
    """Raises ``ValueError``, as ``orjson`` does."""
    tree = orjson.loads(body)
    if not isinstance(tree, dict):
        raise ValueError("send a JSON object of labels")
    return tree


def _relabel(folder: Path, labels: dict[str, Any]) -> None:
    write_episode(folder, {**read_episode(folder), **labels})


def row_of(folder: Path, facts: Any) -> dict[str, Any]:
    """What the list shows of one episode; whatever is missing or odd becomes an empty value."""
    facts = facts if isinstance(facts, dict) else {}
    gate = facts.get("gate")
    if isinstance(gate, dict):
        gate = gate.get("verdict") or gate.get("level")
    return {
        "name": folder.name,
        "task": _text(facts.get("task")),
        "outcome": _text(facts.get("outcome")),
        "duration_s": _number(facts.get("duration_s")),
        "bytes": sum(each.stat().st_size for each in folder.iterdir() if each.is_file()),
        "messages": int(_number(facts.get("messages"))),
        "started_at_s": _number(facts.get("started_ns")) / 1e9,
        "recovered": bool(facts.get("recovered")),
        "gate": gate if isinstance(gate, str) else None,
    }


def _closed(name: str) -> bool:
    """Whether a folder is an episode that nobody writes any more."""
    return not name.startswith(".") and not name.endswith(".recording")


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
