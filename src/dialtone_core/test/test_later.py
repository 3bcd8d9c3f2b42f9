"""A deferred package costs nothing until it is used, and is then the package itself."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from dialtone_core.later import defer
from dialtone_core.ports import free_ports


def _run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_nats_client_does_not_load_it() -> None:
    code = "import sys, dialtone_core.natslink; print('aiohttp.client' in sys.modules)"
    assert _run(code) == "False"


def test_a_nats_client_of_a_websocket_loads_and_uses_it(tmp_path: Path) -> None:
    plain, port = free_ports(2)
    config = tmp_path / "server.conf"
    config.write_text(
        f'listen: "127.0.0.1:{plain}"\nwebsocket {{ listen: "127.0.0.1:{port}", no_tls: true }}\n'
    )
    beside = Path(sys.executable).parent / "nats-server"
    server = subprocess.Popen([beside if beside.exists() else "nats-server", "-c", config])
    code = (
        "import asyncio, sys\n"
        "from dialtone_core.natslink import connect\n"
        "async def main():\n"
        "    up = asyncio.Event()\n"
        f"    client = await connect('ws://127.0.0.1:{port}', 'web',\n"
        "        on_state=lambda connected, why: connected and up.set())\n"
        "    await asyncio.wait_for(up.wait(), 30)\n"
        "    inbox = await client.subscribe('a')\n"
        "    await client.publish('a', b'over the web')\n"
        "    print((await inbox.next_msg(timeout=10)).data.decode())\n"
        "    await client.close()\n"
        "asyncio.run(main())"
    )
    try:
        assert _run(code) == "over the web"
    finally:
        server.kill()
        server.wait()


@pytest.mark.parametrize(
    "use",
    [
        "import aiohttp; aiohttp.ClientSession",
        "import aiohttp.web; aiohttp.web.Application, aiohttp.ClientSession",
        "from aiohttp import web; web.Application",
    ],
)
def test_it_is_imported_by_whatever_uses_it(use: str) -> None:
    code = (
        "import sys, types, dialtone_core\n"
        "before = sys.modules['aiohttp']\n"
        f"{use}\n"
        "import aiohttp\n"
        "print(aiohttp is before, type(aiohttp) is types.ModuleType, hasattr(aiohttp, 'nothing'))"
    )
    assert _run(code) == "True True False"


def test_threads_that_need_it_at_once_all_get_it_whole() -> None:
    code = (
        "import threading, dialtone_core, aiohttp\n"
        "found = []\n"
        "def use(): found.append(aiohttp.WSMsgType.TEXT and aiohttp.ClientSession)\n"
        "all_ = [threading.Thread(target=use) for _ in range(8)]\n"
        "[each.start() for each in all_], [each.join() for each in all_]\n"
        "print(len(found), len(set(found)))"
    )
    assert _run(code) == "8 1"


def test_what_is_not_installed_is_still_missing() -> None:
    defer("no_such_package")
    with pytest.raises(ImportError):
        importlib.import_module("no_such_package")
