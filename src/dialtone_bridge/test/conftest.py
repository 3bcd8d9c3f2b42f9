"""Fixtures of the bridge's tests; the parts are in ``bridge_rig``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import nats
import pytest
import pytest_asyncio

from dialtone_core.aio import end_task, timeout
from dialtone_core.natslink import connect

sys.path.insert(0, str(Path(__file__).parent))

from bridge_rig import Peer, Rig
from hub_rig import Hub


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.stop()


@pytest.fixture
def peer() -> Iterator[Peer]:
    made = Peer()
    yield made
    made.close()


@pytest_asyncio.fixture
async def client(rig: Rig) -> AsyncIterator[nats.NATS]:
    """A NATS client of the rig's server, which it starts."""
    rig.start_server()
    up = asyncio.Event()

    def on_state(connected: bool, _: str) -> None:
        if connected:
            up.set()

    made = await connect(rig.nats_url, "test", on_state=on_state)
    async with timeout(10):
        await up.wait()
    yield made
    await made.close()


@pytest_asyncio.fixture
async def hub(rig: Rig) -> AsyncIterator[Hub]:
    """A hub that lets the rig's robot in, with its manager."""
    made = Hub(rig)
    managing = asyncio.create_task(made.manage())
    yield made
    await end_task(managing)
