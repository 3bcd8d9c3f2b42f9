"""``dialtone collect``: many episodes of one task, one after the other, with a person in mind."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from typing import Annotated, Any

import orjson
import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from dialtone_core.cli import console
from dialtone_core.errors import DialtoneError
from dialtone_core.paths import RobotFile
from dialtone_recorder.keys import Keys, open_keys

_TICK_S = 0.05
HELP = "Enter: end now   f: failed   r: record again   q: stop collecting"


def collect(
    task: Annotated[str, typer.Option(help="What is done in every episode.")],
    episodes: Annotated[int, typer.Option(help="How many.", min=1)] = 10,
    length: Annotated[float, typer.Option(help="Seconds of each at most.", min=0.1)] = 60.0,
    reset: Annotated[float, typer.Option(help="Seconds to put things back.", min=0)] = 20.0,
    operator: Annotated[str, typer.Option(help="Who does it.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Also while the gate is red.")] = False,
    robot: Annotated[str, typer.Option(help="Robot's name.")] = "rover",
    nats_url: Annotated[str, typer.Option(help="Default: the robot that runs here.")] = "",
) -> None:
    """Record episodes of one task: countdown, recording, reset, and again.

    Keys while it records: Enter ends early (success), f ends it as failed, r throws it away and
    records it again, q ends the collection. Each change is told by the terminal's bell, and by
    voice where spd-say is installed.
    """
    known = RobotFile.read(robot)
    url = nats_url or (known.nats_url if known else "")
    if not url:
        raise DialtoneError(f"no robot {robot} runs here", fix="start it, or give --nats-url")
    credentials = known.nats_credentials if known else ""
    labels = {"task": task, "operator": operator, **({"force": True} if force else {})}
    with open_keys() as keys:
        made = asyncio.run(
            Collection(robot, url, credentials, keys).run(labels, episodes, length, reset)
        )
    console.print(f"{made} episodes of {task!r}", highlight=False, markup=False)


class Collection:
    """The conversation with the recorder. One at a time; ``run`` returns the episodes made."""

    def __init__(self, robot: str, url: str, credentials: str, keys: Keys) -> None:
        self._robot = robot
        self._url = url
        self._credentials = credentials
        self._keys = keys
        self._client: Any = None

    async def run(
        self, labels: dict[str, Any], episodes: int, length_s: float, reset_s: float
    ) -> int:
        """Record until ``episodes`` are kept or somebody quits; never leaves one running."""
        from dialtone_core.natslink import connect

        self._client = await connect(self._url, "collect", credentials=self._credentials)
        made = 0
        recording = False
        try:
            console.print(HELP, highlight=False, markup=False)
            while made < episodes:
                what = f"episode {made + 1} of {episodes}"
                if await self._wait(f"{what}: get ready", 3.0 if reset_s else 0.0) == "q":
                    break
                started = await self._ask("start", labels)
                recording = True
                self._cue("go")
                key = await self._wait(f"{what}: recording", length_s)
                recording = False
                if key == "r":
                    await self._ask("discard", {})
                    self._cue("again")
                else:
                    outcome = "fail" if key == "f" else "success"
                    stopped = await self._ask("stop", {"outcome": outcome})
                    console.print(
                        f"{started['episode']}: {stopped['messages']} messages, "
                        f"{stopped['lost']} lost, {outcome}", highlight=False, markup=False,
                    )  # fmt: skip
                    self._cue("stop")
                    made += 1
                if key == "q" or made == episodes:
                    break
                if await self._wait("put things back", reset_s) == "q":
                    break
        finally:
            if recording:
                await self._ask("stop", {})
            await self._client.close()
        return made

    async def _wait(self, what: str, length_s: float) -> str:
        """Show ``what`` and a bar for so long; returns the key that ended it, or ""."""
        columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
        began_s = time.monotonic()
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task(what, total=length_s)
            while (passed_s := time.monotonic() - began_s) < length_s:
                bar.update(task, completed=passed_s)
                key = await asyncio.to_thread(self._keys.get, min(_TICK_S, length_s - passed_s))
                if key in ("\n", "\r", "f", "r", "q"):
                    return key
        return ""

    async def _ask(self, verb: str, request: dict[str, Any]) -> dict[str, Any]:
        from nats.errors import NoRespondersError, TimeoutError

        from dialtone_core.wire import service_subject

        subject = service_subject(self._robot, "recorder", verb)
        try:
            reply = await self._client.request(subject, orjson.dumps(request), timeout=5)
        except (NoRespondersError, TimeoutError) as error:
            raise DialtoneError(
                f"the recorder does not answer {verb}", where=self._url,
                fix="see that the robot runs and its recorder is up",
            ) from error  # fmt: skip
        told: dict[str, Any] = orjson.loads(reply.data)
        if not told["ok"]:
            raise DialtoneError(f"the recorder refuses to {verb}: {told['error']}")
        return told

    def _cue(self, word: str) -> None:
        console.bell()
        if shutil.which("spd-say"):
            subprocess.Popen(
                ["spd-say", word], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
