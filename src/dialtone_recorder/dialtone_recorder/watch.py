"""The live gate beside a recording: judged once a second, told when it changes, written down."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from dialtone_core.clock import Clock
from dialtone_recorder.gate import Colour, Gate, Verdict
from dialtone_recorder.session import Session

PERIOD_S = 1.0


class Watch:
    """Judges ``gate`` for the session that ``current`` names; on the loop."""

    def __init__(
        self,
        gate: Gate,
        directory: Path,
        floor_bytes: int,
        clock: Clock,
        current: Callable[[], Session | None],
        on_change: Callable[[Verdict], Awaitable[None]],
    ) -> None:
        self.gate = gate
        self._directory = directory
        self._floor_bytes = floor_bytes
        self._clock = clock
        self._current = current
        self._on_change = on_change
        self._colour = Colour.GREEN
        self._lost = 0

    async def run(self) -> None:
        """Judge for ever."""
        while True:
            await asyncio.sleep(PERIOD_S)
            await self.look()

    async def look(self) -> Verdict:
        """Judge now; tells when the colour is another than before."""
        session = self._current()
        facts = os.statvfs(self._directory)
        lost = session.lost if session else 0
        verdict = self.gate.judge(
            self._clock.wall_ns(), facts.f_bavail * facts.f_frsize, self._floor_bytes,
            max(0, lost - self._lost),
        )  # fmt: skip
        self._lost = lost
        if session is not None:
            _note(session, verdict)
        if verdict.colour != self._colour:
            self._colour = verdict.colour
            await self._on_change(verdict)
        return verdict


def begun(verdict: Verdict, forced: bool) -> dict[str, Any]:
    """The gate's entry of ``episode.json`` at the beginning."""
    return {
        "start": verdict.name, "forced": forced and verdict.colour is Colour.RED,
        "worst": verdict.name, "reasons": list(verdict.reasons), "yellow_s": 0, "red_s": 0,
    }  # fmt: skip


def _note(session: Session, verdict: Verdict) -> None:
    entry = session.facts.gate
    if verdict.colour is Colour.GREEN or not entry:
        return
    entry[f"{verdict.name}_s"] = round(entry[f"{verdict.name}_s"] + PERIOD_S, 1)
    if verdict.colour > Colour[entry["worst"].upper()]:
        entry["worst"], entry["reasons"] = verdict.name, list(verdict.reasons)
        session.changed = True
