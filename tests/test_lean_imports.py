"""What a process need not load it does not load: on a small robot each has 50 to 70 MiB anyway."""

from __future__ import annotations

import subprocess
import sys

#: aiohttp is for ws:// addresses, the rest for people at terminals, exports and cameras.
_NEVER = ("aiohttp.client", "rich", "typer", "av", "pyarrow", "cv2", "h5py", "matplotlib")
_NODES = "dialtone_bridge dialtone_teleop dialtone_recorder"


def test_nodes_load_no_library_that_they_do_not_use() -> None:
    imports = "; ".join(f"import {package}.node" for package in _NODES.split())
    code = f"import sys; {imports}; print(*(set({_NEVER!r}) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
