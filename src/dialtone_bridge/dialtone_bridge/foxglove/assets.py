"""Files that a 3D panel asks for by URI: meshes and textures of a robot's description."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import unquote

from dialtone_core.errors import DialtoneError

_PACKAGE = re.compile(r"[A-Za-z][\w-]*")
MAX_BYTES = 64 * 1024 * 1024


class Assets:
    """Reads ``package://<package>/<path>`` where one of ``allow`` matches the whole URI.

    ``allow`` is matched whatever the case. ``share`` gives a package's share folder and raises
    ``LookupError``. A path with ``..`` in any encoding is refused; links inside of the folder are
    followed. A file of more than ``max_bytes`` is refused.
    """

    def __init__(
        self, allow: Sequence[str], share: Callable[[str], Path], max_bytes: int = MAX_BYTES
    ) -> None:
        self._allow = [re.compile(each, re.IGNORECASE) for each in allow]
        self._share = share
        self._max_bytes = max_bytes

    def read(self, uri: str) -> bytes:
        """The file's bytes; raises ``DialtoneError`` with why not, or ``OSError``."""
        if not any(each.fullmatch(uri) for each in self._allow):
            raise DialtoneError(f"{uri[:200]} is not on the list of assets")
        if not uri.startswith("package://"):
            raise DialtoneError(f"{uri[:200]} is no package:// URI")
        package, _, path = unquote(uri[len("package://") :]).partition("/")
        if ".." in path.split("/") or "\\" in path or "\0" in path or path.startswith("/"):
            raise DialtoneError(f"{uri[:200]} leaves its package")
        if not _PACKAGE.fullmatch(package):
            raise DialtoneError(f"{uri[:200]} names no package")
        try:
            folder = self._share(package).resolve()
        except (LookupError, ValueError) as error:
            raise DialtoneError(f"no package {package[:80]} is installed") from error
        return self._read(folder, path, uri)

    def _read(self, folder: Path, path: str, uri: str) -> bytes:
        # Only ``..`` can leave the folder that was given; links inside are the installer's own
        # (a symlink install of colcon is nothing but links).
        found = folder / path
        if not found.is_file():
            raise DialtoneError(f"{uri[:200]} does not exist")
        size = found.stat().st_size
        if size > self._max_bytes:
            raise DialtoneError(
                f"{uri[:200]} has {size} bytes and foxglove_asset_bytes is {self._max_bytes}"
            )
        return found.read_bytes()
