"""How long until there is a picture: from ``dialtone up`` to the first frame at a NATS client."""

from __future__ import annotations

import time

from dialtone_bringup.rig import CAMERA, Operator, running
from harness import Progress, Row, main, row

DEFAULT_RUNS = 5


async def run(runs: int, progress: Progress) -> list[Row]:
    """``runs`` starts of a whole robot, one after the other."""
    listening: list[float] = []
    first_frame: list[float] = []
    stop: list[float] = []
    for number in range(runs):
        progress(f"start {number + 1} of {runs}")
        async with running(robot="startup") as rig:
            await rig.ready()
            listening.append(time.monotonic() - rig.started_s)
            await Operator(rig, await rig.nats()).next(CAMERA)
            first_frame.append(time.monotonic() - rig.started_s)
            stop.append(await rig.stop())
    return [
        row("first_frame_s", first_frame, "s"),
        row("listening_s", listening, "s"),
        row("stop_s", stop, "s"),
    ]


if __name__ == "__main__":
    main("startup", run, DEFAULT_RUNS)
