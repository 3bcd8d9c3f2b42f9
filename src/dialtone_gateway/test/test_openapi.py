"""The API against its own document: schemathesis asks whatever the schemas allow, and what not."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

_BESIDE = Path(sys.executable).with_name("st")
ST = str(_BESIDE) if _BESIDE.exists() else shutil.which("st") or "st"


@pytest.mark.timeout(180)
@pytest.mark.usefixtures("no_camera")
async def test_the_api_keeps_to_its_document(lab: Any) -> None:
    """Without what needs another server, a WebSocket, or ends the login.

    ``positive_data_acceptance`` is left out: a camera or an episode of a made-up name, or an SDP
    of zeros, is well-formed and yet none.
    """
    gateway = await lab.gateway()
    ada = await lab.person(gateway, "ada")
    process = await asyncio.create_subprocess_exec(
        ST, "run", f"{gateway.url}/api/openapi.json",
        "-H", f"Authorization: Bearer {ada.token}",
        "--exclude-path-regex", "^/(ws|nats|foxglove|logout|stream|api/v1/nats)",
        "--exclude-checks", "positive_data_acceptance",
        "--phases", "examples,coverage,fuzzing", "--max-examples", "5",
        "--request-timeout", "10", "--seed", "1",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "NO_COLOR": "1"}, cwd=lab.home,
    )  # fmt: skip
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()[-6000:]
    assert b"passed" in said
