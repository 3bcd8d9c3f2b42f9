"""One whole robot for the tests that only look and drive; the others start their own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from dialtone_bringup.rig import CAMERA, Operator, Rig, running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig() -> AsyncIterator[Rig]:
    async with running(robot="e2e") as running_rig:
        await running_rig.ready()
        yield running_rig


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def operator(rig: Rig) -> Operator:
    made = Operator(rig, await rig.nats())
    await made.next(CAMERA)
    return made
