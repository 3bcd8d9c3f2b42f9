"""What an operator asks of the recorder: start, stop, pause, label, discard, snapshot, status.

Runs on the asyncio loop. A ``Source`` delivers the messages; closing goes on in the background
while the next episode is already being recorded.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import shutil
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

from dialtone_core.clock import Clock, SystemClock
from dialtone_core.errors import DialtoneError
from dialtone_recorder.background import Closer
from dialtone_recorder.closing import free_name
from dialtone_recorder.gate import Colour, Gate, Verdict
from dialtone_recorder.labels import check_labels
from dialtone_recorder.manifest import episode_name
from dialtone_recorder.preroll import Preroll
from dialtone_recorder.session import Facts, Limits, Session
from dialtone_recorder.source import Nowhere, Source
from dialtone_recorder.watch import Watch, begun

log = logging.getLogger("dialtone.recorder")

#: How long the reply to a stop waits for the index; a long episode's is finished later.
REPLY_WAIT_S = 1.8
Event = Callable[[str, Mapping[str, Any]], Awaitable[None]]
Reply = dict[str, Any]


class Recorder:
    """At most one session at a time. Every method runs on the loop; ``aclose`` is idempotent."""

    def __init__(
        self,
        directory: Path,
        robot: str,
        source: Source,
        limits: Limits,
        *,
        labels: Mapping[str, Any] | None = None,
        force: bool = False,
        software: Mapping[str, Any] | None = None,
        config: Mapping[str, Any] | None = None,
        gate: Gate | None = None,
        preroll: Preroll | None = None,
        on_event: Event | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.directory = directory
        self.session: Session | None = None
        self.labels: dict[str, Any] = check_labels(labels or {})
        self._robot = robot
        self._source = source
        self._limits = limits
        self._force = force
        self._software = dict(software or {})
        self._config = dict(config or {})
        digest = hashlib.sha256(orjson.dumps(self._config, option=orjson.OPT_SORT_KEYS))
        self._software["config_sha256"] = digest.hexdigest()
        self._preroll = preroll
        self._on_event = on_event
        self._clock = clock or SystemClock()
        self._lock = asyncio.Lock()
        self._closer = Closer(self._closed)
        self.failures = self._closer.failures
        self._until_end: asyncio.Task[None] | None = None
        self.watch = Watch(
            gate or Gate({}), directory, limits.min_free_bytes, self._clock,
            lambda: self.session, self._gate_changed,
        )  # fmt: skip

    def handlers(self) -> dict[str, Callable[[dict[str, Any]], Awaitable[Reply]]]:
        """The NATS verbs by name."""
        verbs = ("start", "stop", "pause", "resume", "discard", "label", "snapshot", "status")
        return {verb: getattr(self, verb) for verb in verbs}

    async def run(self) -> None:
        """Keep the pre-roll and judge the gate until cancelled."""
        async with self._lock:
            if self.session is None:
                await self._idle()
        await self.watch.run()

    async def start(self, request: dict[str, Any]) -> Reply:
        """Begin an episode; refused while one is recorded, and while the gate is red, unless
        ``force`` is true."""
        request = dict(request)
        force = bool(request.pop("force", False)) or self._force
        labels = check_labels(request)
        async with self._lock:
            if self.session is not None:
                raise DialtoneError(
                    f"already recording {self.session.facts.name}", fix="stop it first"
                )
            verdict = await self.watch.look()
            if verdict.colour is Colour.RED and not force:
                raise DialtoneError(
                    f"the gate is red: {'; '.join(verdict.reasons)}",
                    fix='mend it, or start with "force": true',
                )
            session = self._new_session(labels, verdict, force)
            try:
                await self._deliver(session)
            except BaseException:
                await self._abandon(session)
                raise
            self.session = session
            self._until_end = asyncio.create_task(self._until_ended(session))
        await self._tell("started", session)
        return {
            "episode": session.facts.name, "path": str(session.final),
            "preroll_s": session.facts.preroll_s, "gate": verdict.name,
        }  # fmt: skip

    def _new_session(self, labels: Mapping[str, Any], verdict: Verdict, force: bool) -> Session:
        labels = {**self.labels, **{key: value for key, value in labels.items() if value}}
        name = episode_name(self._clock.wall_ns(), self._robot, labels.get("task", ""))
        name = free_name(self.directory / name).name
        facts = Facts(
            name, self._robot, **labels, software=self._software, config=self._config,
            gate=begun(verdict, force),
        )  # fmt: skip
        return Session(self.directory, facts, self._limits, self._clock)

    async def _deliver(self, session: Session) -> None:
        if self._preroll is None:
            await self._source.open(session)
        else:
            await self._source.hand_over(session)

    async def _idle(self) -> None:
        """Between episodes: the pre-roll listens, or the gate, or nobody."""
        if self._preroll is not None:
            self._preroll.clear()
            await self._source.open(self._preroll)
        elif self.watch.gate.topics:
            await self._source.open(Nowhere(), self.watch.gate.topics)
        else:
            await self._source.close()

    async def stop(self, request: dict[str, Any]) -> Reply:
        """End the episode. The reply waits a moment for the index; ``closing`` says it goes on."""
        labels = check_labels(request)
        session, closing = await self._end("stop", labels)
        return await self._summary(session, closing)

    async def snapshot(self, request: dict[str, Any]) -> Reply:
        """Make an episode of what the pre-roll holds, without recording on."""
        labels = check_labels(request)
        async with self._lock:
            if self._preroll is None:
                raise DialtoneError("no pre-roll is kept", fix="set the parameter preroll_s")
            if self.session is not None:
                raise DialtoneError("an episode is being recorded", fix="it holds all of it")
            session = self._new_session(labels, self.watch.gate.verdict, force=True)
            await self._source.hand_over(session)
            await self._finish(session, "snapshot")
        return await self._summary(session, self._closer.begin(session))

    async def _summary(self, session: Session, closing: asyncio.Task[Path]) -> Reply:
        done, _ = await asyncio.wait({closing}, timeout=REPLY_WAIT_S)
        return {
            "episode": session.facts.name,
            "path": str(session.final),
            "messages": session.messages,
            "lost": session.lost,
            "closing": not done,
        }

    async def pause(self, _: dict[str, Any]) -> Reply:
        """Take no messages until ``resume``; the episode stays open."""
        self._current().paused = True
        return await self.status({})

    async def resume(self, _: dict[str, Any]) -> Reply:
        """Go on after ``pause``."""
        self._current().paused = False
        return await self.status({})

    async def label(self, request: dict[str, Any]) -> Reply:
        """Set task, instruction, operator, outcome or tags of the episode being recorded."""
        session = self._current()
        session.relabel(check_labels(request))
        return {"episode": session.facts.name}

    async def discard(self, _: dict[str, Any]) -> Reply:
        """End the episode and remove it."""
        async with self._lock:
            session = self._current()
            await self._source.close()
            self.session = None
            await self._abandon(session)
            await self._idle()
        await self._tell("discarded", session)
        return {"episode": session.facts.name, "messages": session.messages}

    async def status(self, _: dict[str, Any]) -> Reply:
        """What is going on."""
        session, verdict = self.session, self.watch.gate.verdict
        reply: Reply = {
            "recording": session is not None, "episode": "", "messages": 0, "lost": 0,
            "paused": False, "closing": len(self._closer), "directory": str(self.directory),
            "gate": verdict.name, "gate_reasons": list(verdict.reasons),
            "preroll_bytes": self._preroll.bytes if self._preroll else 0,
        }  # fmt: skip
        if session is not None:
            reply |= {
                "episode": session.facts.name,
                "path": str(session.final),
                "messages": session.messages,
                "lost": session.lost,
                "bytes": session.bytes,
                "duration_s": round(session.duration_s, 1),
                "paused": session.paused,
                "outcome": session.facts.outcome,
            }
        return reply

    async def aclose(self, budget_s: float) -> None:
        """End the episode and give its index ``budget_s`` seconds.

        What is not indexed by then stays as it was written, complete and closed, and is indexed
        at the next start.
        """
        if self.session is not None:
            with contextlib.suppress(DialtoneError):
                await self._end("shutdown", {})
        else:
            await self._source.close()
        await self._closer.aclose(budget_s)

    def _current(self) -> Session:
        if self.session is None:
            raise DialtoneError("nothing is being recorded", fix="start an episode first")
        return self.session

    async def _end(
        self, why: str, labels: Mapping[str, Any]
    ) -> tuple[Session, asyncio.Task[Path]]:
        async with self._lock:
            session = self._current()
            session.relabel(labels)
            self.session = None
            if self._until_end is not None and self._until_end is not asyncio.current_task():
                self._until_end.cancel()
            await self._finish(session, why)
        return session, self._closer.begin(session)

    async def _finish(self, session: Session, why: str) -> None:
        await self._source.close()
        await asyncio.to_thread(session.finish, why)
        if why != "shutdown":
            await self._idle()

    async def _until_ended(self, session: Session) -> None:
        """A session that ends by itself (disk) is closed like a stopped one."""
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        session.on_ended(lambda: call_soon(loop, ended.set))
        await ended.wait()
        if self.session is session:
            self.failures.append(session.error)
            log.error("%s", session.error)
            with contextlib.suppress(DialtoneError):  # somebody stopped it meanwhile
                await self._end("disk", {})

    async def _closed(self, session: Session) -> None:
        await self._tell("stopped", session)

    async def _gate_changed(self, verdict: Verdict) -> None:
        if self._on_event is not None:
            episode = self.session.facts.name if self.session else ""
            said = {"episode": episode, "gate": verdict.name, "reasons": list(verdict.reasons)}
            await self._on_event("gate", said)

    async def _abandon(self, session: Session) -> None:
        await asyncio.to_thread(session.finish, "discard")
        await asyncio.to_thread(shutil.rmtree, session.folder, ignore_errors=True)
        session.release()

    async def _tell(self, event: str, session: Session) -> None:
        if self._on_event is not None:
            await self._on_event(event, {"episode": session.facts.name})


def call_soon(loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
    """Run ``callback`` on ``loop`` from another thread; nothing where the loop has ended."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(callback)
