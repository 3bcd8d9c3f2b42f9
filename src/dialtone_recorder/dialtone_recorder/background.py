"""Closing of episodes that goes on while the next one is being recorded."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from dialtone_core.errors import DialtoneError
from dialtone_core.process import die_with_parent
from dialtone_recorder.closing import publish
from dialtone_recorder.session import Session

log = logging.getLogger("dialtone.recorder")


class Closer:
    """Indexes finished sessions, each in a process of its own, and gives them their names.

    On the loop. ``failures`` collects what went wrong, one line each.
    """

    def __init__(self, on_closed: Callable[[Session], Awaitable[None]]) -> None:
        self.failures: list[str] = []
        self._on_closed = on_closed
        self._tasks: set[asyncio.Task[Path]] = set()
        self._ending = asyncio.Event()

    def __len__(self) -> int:
        return len(self._tasks)

    def begin(self, session: Session) -> asyncio.Task[Path]:
        """Close ``session``, which is finished; the task's result is its folder."""
        task = asyncio.create_task(self._close(session))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def aclose(self, budget_s: float) -> None:
        """Wait ``budget_s`` for indexes; the rest are closed without and indexed next time."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=budget_s)
        self._ending.set()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _close(self, session: Session) -> Path:
        try:
            if not session.whole:
                raise DialtoneError(session.error)
            await self._index(session.folder)
            path = publish(session.folder)
        except (OSError, DialtoneError) as error:
            self.failures.append(str(error))
            log.error("%s stays to be recovered at the next start: %s", session.folder, error)
            path = session.folder
        finally:
            session.release()
        await self._on_closed(session)
        return path

    async def _index(self, folder: Path) -> None:
        """Run the indexing process; an episode without an index is still an episode."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "dialtone_recorder.closing", str(folder),
            stdin=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
            start_new_session=True, preexec_fn=die_with_parent(),
        )  # fmt: skip
        said = asyncio.create_task(process.communicate())
        ending = asyncio.create_task(self._ending.wait())
        await asyncio.wait({said, ending}, return_when=asyncio.FIRST_COMPLETED)
        ending.cancel()
        if not said.done():
            process.kill()
        _, complaint = await said
        if process.returncode and not self._ending.is_set():
            why = complaint.decode(errors="replace").strip()[-300:]
            self.failures.append(why)
            log.error("%s is not indexed: %s", folder, why)
