"""``dialtone collect``: many episodes of one task, one after the other, with a person in mind."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from collections.abc import Sequence
from typing import Annotated, Any

import orjson
import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from dialtone_core.cli import console
from dialtone_core.errors import DialtoneError
from dialtone_core.naming import DEFAULT_ROBOT
from dialtone_core.paths import RobotFile
from dialtone_recorder.keys import Keys, open_keys

_TICK_S = 0.05
#: What ends a wait, whatever is waited for: Enter, and quitting.
_GO_ON = ("\n", "\r", "q")
HELP = "Enter: end now   f: failed   r: record again   q: stop collecting"


def collect(
    task: Annotated[str, typer.Option(help="What is done in every episode.")],
    episodes: Annotated[int, typer.Option(help="How many.", min=1)] = 10,
    length: Annotated[float, typer.Option(help="Seconds of each at most.", min=0.1)] = 60.0,
    reset: Annotated[float, typer.Option(help="Seconds to put things back.", min=0)] = 20.0,
    operator: Annotated[str, typer.Option(help="Who does it.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Also while the gate is red.")] = False,
    robot: Annotated[str, typer.Option(help="Robot's name; empty for the one here.")] = "",
    nats_url: Annotated[str, typer.Option(help="Default: the robot that runs here.")] = "",
) -> None:
    """Record episodes of one task: countdown, recording, reset, and again.

    Keys while it records: Enter ends early (success), f ends it as failed, r throws it away and
    records it again, q ends the collection. Each change is told by the terminal's bell, and by
    voice where spd-say is installed.
    """
    known = RobotFile.read(robot) if nats_url else RobotFile.find(robot)
    url = nats_url or (known.nats_url if known else "")
    robot = robot or (known.robot if known else DEFAULT_ROBOT)
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
        try:
            console.print(HELP, highlight=False, markup=False)
            while made < episodes:
                what = f"episode {made + 1} of {episodes}"
                if await self._wait(f"{what}: get ready", 3.0 if reset_s else 0.0, _GO_ON) == "q":
                    break
                name, key = await self._record(what, labels, length_s)
                made += bool(name)
                if key == "q" or made == episodes:
                    break
                if await self._put_back(name, reset_s) == "q":
                    break
        finally:
            await self._client.close()
        return made

    async def _record(self, what: str, labels: dict[str, Any], length_s: float) -> tuple[str, str]:
        """One episode: its name, "" where it was thrown away, and the key that ended it."""
        started = await self._ask("start", labels)
        recording = True
        try:
            self._cue("go")
            key = await self._wait(f"{what}: recording", length_s, (*_GO_ON, "f", "r"))
            recording = False
            if key == "r":
                await self._ask("discard", {})
                self._cue("again")
                return "", key
            outcome = "fail" if key == "f" else "success"
            stopped = await self._ask("stop", {"outcome": outcome})
        finally:
            if recording:
                await self._ask("stop", {})
        console.print(
            f"{started['episode']}: {stopped['messages']} messages, "
            f"{stopped['lost']} lost, {outcome}", highlight=False, markup=False,
        )  # fmt: skip
        self._cue("stop")
        return str(started["episode"]), key

    async def _put_back(self, name: str, reset_s: float) -> str:
        """The time between two episodes; a judgement that comes too late is not swallowed."""
        ends_s = time.monotonic() + reset_s
        while True:
            left_s = max(0.0, ends_s - time.monotonic())
            key = await self._wait("put things back", left_s, (*_GO_ON, "f", "r"))
            if key not in ("f", "r"):
                return key
            mend = f"label {name} --outcome fail" if key == "f" else f"rm {name}"
            if name:
                console.print(
                    f"too late for {key}: {name} had ended; dialtone episodes {mend}",
                    highlight=False, markup=False, soft_wrap=True,
                )  # fmt: skip

    async def _wait(self, what: str, length_s: float, wanted: Sequence[str]) -> str:
        """Show ``what`` and a bar for so long; returns the key of ``wanted`` that ended it, or "".

        The last look at the keys comes after the time is over: one that was pressed before on a
        machine too busy to notice counts.
        """
        columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
        began_s = time.monotonic()
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task(what, total=length_s)
            while True:
                left_s = length_s - (time.monotonic() - began_s)
                bar.update(task, completed=length_s - left_s)
                key = await asyncio.to_thread(self._keys.get, min(_TICK_S, max(0.0, left_s)))
                if key in wanted:
                    return key
                if left_s <= 0 and not key:
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
