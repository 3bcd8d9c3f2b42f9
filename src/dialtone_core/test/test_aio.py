"""A cancellation that a library swallowed is not lost."""

from __future__ import annotations

import asyncio
import sys

import pytest

from dialtone_core.aio import end_if_cancelled, end_task, timeout


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Task.cancelling is new in 3.11")
async def test_a_swallowed_cancellation_is_raised_at_the_next_look() -> None:
    looks = 0

    async def deaf() -> None:
        nonlocal looks
        while True:
            looks += 1
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                end_if_cancelled()

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 5)
    assert looks == 1


async def test_a_timeout_of_ones_own_is_no_cancellation() -> None:
    with pytest.raises(asyncio.TimeoutError):
        async with timeout(0.01):
            await asyncio.Event().wait()
    end_if_cancelled()


async def test_a_task_that_swallows_its_cancellation_is_ended_nevertheless() -> None:
    cancelled = 0

    async def deaf() -> None:
        nonlocal cancelled
        while cancelled < 2:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                cancelled += 1

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    await asyncio.wait_for(end_task(task), 10)
    assert task.done()
    assert cancelled == 2
