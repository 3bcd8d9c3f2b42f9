"""The built dashboard, served from memory: what is not in the folder at the start is not served.

No request's path ever reaches the file system. Files with a hash in their name (Vite's
``assets/``) are for ever; the rest is asked for again each time by its ETag.
"""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from dialtone_gateway.auth.middleware import error
from dialtone_gateway.roles import Role
from dialtone_gateway.routes import Route

_MOST_BYTES = 32_000_000
_COMPRESSED = (".js", ".css", ".html", ".svg", ".json", ".webmanifest", ".map", ".txt", ".wasm")
_TYPES = {".webmanifest": "application/manifest+json", ".js": "text/javascript", ".mjs":
          "text/javascript", ".wasm": "application/wasm", ".woff2": "font/woff2"}  # fmt: skip
_FALLBACK = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Dialtone</title>
<h1>Dialtone</h1>
<p>The gateway runs, but the dashboard is not built. In the source tree:</p>
<pre>cd web &amp;&amp; npm ci &amp;&amp; npm run build</pre>
<p>The rest works: <a href="/healthz">/healthz</a>,
<a href="/api/openapi.json">/api/openapi.json</a>.</p>
</html>
"""


@dataclass(frozen=True, slots=True)
class Asset:
    body: bytes
    packed: bytes | None
    type: str
    etag: str
    immutable: bool


def find_dashboard(chosen: str) -> Path | None:
    """The folder with ``index.html``: ``chosen``, the installed one, or the source tree's."""
    candidates = [Path(chosen).expanduser()] if chosen else []
    if not chosen:
        for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep):
            if prefix:
                candidates.append(Path(prefix) / "share/dialtone_gateway/dashboard")
        root = os.environ.get("DIALTONE_ROOT", "")
        candidates += [Path(root) / "web/dist"] if root else []
        candidates += [parent / "web/dist" for parent in Path(__file__).resolve().parents[3:5]]
    return next((each for each in candidates if (each / "index.html").is_file()), None)


def load(folder: Path) -> dict[str, Asset]:
    """Every regular file below ``folder`` by its URL path; links that lead out are left out."""
    root = folder.resolve()
    assets: dict[str, Asset] = {}
    total = 0
    for file in sorted(root.rglob("*")):
        hidden = any(part.startswith(".") for part in file.relative_to(root).parts)
        if hidden or not file.is_file() or not file.resolve().is_relative_to(root):
            continue
        body = file.read_bytes()
        total += len(body)
        if total > _MOST_BYTES:
            break
        path = file.relative_to(root).as_posix()
        assets[f"/{path}"] = _asset(path, body)
    return assets


def _asset(path: str, body: bytes) -> Asset:
    suffix = Path(path).suffix
    kind = _TYPES.get(suffix) or mimetypes.guess_type(path)[0] or "application/octet-stream"
    packed = gzip.compress(body, 9, mtime=0) if suffix in _COMPRESSED else None
    if packed is not None and len(packed) >= len(body):
        packed = None
    if kind.startswith("text/"):
        kind += "; charset=utf-8"
    etag = f'"{hashlib.sha256(body).hexdigest()[:20]}"'
    return Asset(body, packed, kind, etag, path.startswith("assets/"))


class Dashboard:
    """Serves the folder, or a page that says how to build it. Looks again when it is rebuilt."""

    def __init__(self, chosen: str = "") -> None:
        self._chosen = chosen
        self._folder: Path | None = None
        self._stamp = 0
        self._assets: Mapping[str, Asset] = {}
        self._look()

    @property
    def built(self) -> bool:
        return bool(self._assets)

    def routes(self) -> list[Route]:
        page = "text/html"
        return [
            Route("GET", "/", self.index, Role.PUBLIC, "The dashboard.", media=page),
            Route("GET", "/{path:assets/.+|(?!log(?:in|out)$)[^/]+}", self.file, Role.PUBLIC,
                  "A file of the dashboard.", media="*/*", statuses=(404,)),
        ]  # fmt: skip

    async def index(self, request: web.Request) -> web.Response:
        self._look()
        asset = self._assets.get("/index.html")
        if asset is None:
            return web.Response(text=_FALLBACK, content_type="text/html")
        return _send(request, asset)

    async def file(self, request: web.Request) -> web.Response:
        asset = self._assets.get(f"/{request.match_info['path']}")
        return error(404, "no such file") if asset is None else _send(request, asset)

    def _look(self) -> None:
        """One ``stat``; a folder that was rebuilt is read again (some milliseconds)."""
        folder = self._folder or find_dashboard(self._chosen)
        if folder is None:
            return
        try:
            stamp = (folder / "index.html").stat().st_mtime_ns
            if stamp != self._stamp:
                self._assets, self._folder, self._stamp = load(folder), folder, stamp
        except OSError:
            self._folder, self._stamp = None, 0


def _send(request: web.Request, asset: Asset) -> web.Response:
    age = "public, max-age=31536000, immutable" if asset.immutable else "no-cache"
    headers = {"ETag": asset.etag, "Cache-Control": age, "Vary": "Accept-Encoding"}
    if request.headers.get("If-None-Match") == asset.etag:
        return web.Response(status=304, headers=headers)
    headers["Content-Type"] = asset.type
    if asset.packed is not None and "gzip" in request.headers.get("Accept-Encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return web.Response(body=asset.packed, headers=headers)
    return web.Response(body=asset.body, headers=headers)
