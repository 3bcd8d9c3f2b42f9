"""What an operator asks of the recorder: start, stop, pause, label, discard, status.

Runs on the asyncio loop. A ``Source`` delivers the messages; closing goes on in the background,
in a process of its own, while the next episode is already being recorded.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import shutil
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import orjson

from dialtone_core.clock import Clock, SystemClock
from dialtone_core.errors import DialtoneError
from dialtone_core.process import die_with_parent
from dialtone_recorder.closing import free_name, publish
from dialtone_recorder.manifest import episode_name
from dialtone_recorder.session import Facts, Limits, Session

log = logging.getLogger("dialtone.recorder")

#: How long the reply to a stop waits for the index; a long episode's is finished later.
REPLY_WAIT_S = 1.8
OUTCOMES = ("", "success", "fail")


class Source(Protocol):
    """Where messages come from: ROS, or a test."""

    async def open(self, session: Session) -> None:
        """Deliver everything that is recorded to ``session`` from now on."""

    async def close(self) -> None:
        """Deliver nothing more; on return no ``put`` is under way."""


class Recorder:
    """At most one session at a time. Every method runs on the loop; ``aclose`` is idempotent."""

    def __init__(
        self,
        directory: Path,
        robot: str,
        source: Source,
        limits: Limits,
        *,
        task: str = "",
        software: Mapping[str, Any] | None = None,
        config: Mapping[str, Any] | None = None,
        on_event: Callable[[str, str], Awaitable[None]] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.directory = directory
        self.session: Session | None = None
        self.failures: list[str] = []
        self._robot = robot
        self._source = source
        self._limits = limits
        self._task = task
        self._software = dict(software or {})
        self._config = dict(config or {})
        digest = hashlib.sha256(orjson.dumps(self._config, option=orjson.OPT_SORT_KEYS))
        self._software["config_sha256"] = digest.hexdigest()
        self._on_event = on_event
        self._clock = clock or SystemClock()
        self._lock = asyncio.Lock()
        self._closing: set[asyncio.Task[Path]] = set()
        self._watch: asyncio.Task[None] | None = None
        self._ending = asyncio.Event()

    def handlers(self) -> dict[str, Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]]:
        """The NATS verbs by name."""
        return {
            "start": self.start,
            "stop": self.stop,
            "pause": self.pause,
            "resume": self.resume,
            "discard": self.discard,
            "label": self.label,
            "status": self.status,
        }

    async def start(self, request: dict[str, Any]) -> dict[str, Any]:
        """Begin an episode; refused while one is being recorded."""
        labels = check_labels(request)
        async with self._lock:
            if self.session is not None:
                raise DialtoneError(
                    f"already recording {self.session.facts.name}", fix="stop it first"
                )
            task = labels.pop("task", "") or self._task
            name = episode_name(self._clock.wall_ns(), self._robot, task)
            name = free_name(self.directory / name).name
            facts = Facts(
                name, self._robot, task, software=self._software, config=self._config, **labels
            )
            session = Session(self.directory, facts, self._limits, self._clock)
            try:
                await self._source.open(session)
            except BaseException:
                await self._abandon(session)
                raise
            self.session = session
            self._watch = asyncio.create_task(self._until_ended(session))
        await self._tell("started", session)
        return {"episode": name, "path": str(session.final)}

    async def stop(self, request: dict[str, Any]) -> dict[str, Any]:
        """End the episode. The reply waits a moment for the index; ``closing`` says it goes on."""
        labels = check_labels(request)
        session, closing = await self._end("stop", labels)
        done, _ = await asyncio.wait({closing}, timeout=REPLY_WAIT_S)
        return {
            "episode": session.facts.name,
            "path": str(session.final),
            "messages": session.messages,
            "lost": session.lost,
            "closing": not done,
        }

    async def pause(self, _: dict[str, Any]) -> dict[str, Any]:
        """Take no messages until ``resume``; the episode stays open."""
        self._current().paused = True
        return await self.status({})

    async def resume(self, _: dict[str, Any]) -> dict[str, Any]:
        """Go on after ``pause``."""
        self._current().paused = False
        return await self.status({})

    async def label(self, request: dict[str, Any]) -> dict[str, Any]:
        """Set task, instruction, operator, outcome or tags of the episode being recorded."""
        facts = self._current().facts
        for key, value in check_labels(request).items():
            setattr(facts, key, value)
        self._current().changed = True
        return {"episode": facts.name}

    async def discard(self, _: dict[str, Any]) -> dict[str, Any]:
        """End the episode and remove it."""
        async with self._lock:
            session = self._current()
            await self._source.close()
            self.session = None
            await self._abandon(session)
        await self._tell("discarded", session)
        return {"episode": session.facts.name, "messages": session.messages}

    async def status(self, _: dict[str, Any]) -> dict[str, Any]:
        """What is going on."""
        session = self.session
        if session is None:
            return {
                "recording": False, "episode": "", "messages": 0, "lost": 0, "paused": False,
                "closing": len(self._closing), "directory": str(self.directory),
            }  # fmt: skip
        return {
            "recording": True,
            "episode": session.facts.name,
            "path": str(session.final),
            "messages": session.messages,
            "lost": session.lost,
            "bytes": session.bytes,
            "duration_s": round(session.duration_s, 1),
            "paused": session.paused,
            "closing": len(self._closing),
            "directory": str(self.directory),
        }

    async def aclose(self, budget_s: float) -> None:
        """End the episode and give its index ``budget_s`` seconds.

        What is not indexed by then stays as it was written, complete and closed, and is indexed
        at the next start.
        """
        if self.session is not None:
            with contextlib.suppress(DialtoneError):
                await self._end("shutdown", {})
        if self._closing:
            await asyncio.wait(self._closing, timeout=budget_s)
        self._ending.set()
        if self._closing:
            await asyncio.wait(self._closing)

    def _current(self) -> Session:
        if self.session is None:
            raise DialtoneError("nothing is being recorded", fix="start an episode first")
        return self.session

    async def _end(
        self, why: str, labels: Mapping[str, Any]
    ) -> tuple[Session, asyncio.Task[Path]]:
        async with self._lock:
            session = self._current()
            for key, value in labels.items():
                setattr(session.facts, key, value)
            await self._source.close()
            self.session = None
            if self._watch is not None and self._watch is not asyncio.current_task():
                self._watch.cancel()
            await asyncio.to_thread(session.finish, why)
        closing = asyncio.create_task(self._close(session))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        return session, closing

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

    async def _close(self, session: Session) -> Path:
        try:
            await self._index(session.folder)
            path = publish(session.folder)
        except (OSError, DialtoneError) as error:
            self.failures.append(str(error))
            log.error("%s stays to be recovered at the next start: %s", session.folder, error)
            path = session.folder
        finally:
            session.release()
        await self._tell("stopped", session)
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

    async def _abandon(self, session: Session) -> None:
        await asyncio.to_thread(session.finish, "discard")
        await asyncio.to_thread(shutil.rmtree, session.folder, ignore_errors=True)
        session.release()

    async def _tell(self, event: str, session: Session) -> None:
        if self._on_event is not None:
            await self._on_event(event, session.facts.name)


def call_soon(loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
    """Run ``callback`` on ``loop`` from another thread; nothing where the loop has ended."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(callback)


def check_labels(request: Mapping[str, Any]) -> dict[str, Any]:
    """The labels in a request; raises ``DialtoneError`` for a wrong name, type or outcome."""
    texts = ("task", "instruction", "operator", "outcome")
    labels: dict[str, Any] = {}
    for key, value in request.items():
        if key in texts:
            good = isinstance(value, str) and len(value) <= 1000
        elif key == "tags":
            good = isinstance(value, list) and all(isinstance(each, str) for each in value)
        else:
            known = ", ".join((*texts, "tags"))
            raise DialtoneError(f"no label {key!r:.60}", fix=f"known are {known}")
        if not good:
            raise DialtoneError(
                f"{key} is {str(value)!r:.60}", fix="give a text, or a list of texts for tags"
            )
        labels[key] = value
    if labels.get("outcome", "") not in OUTCOMES:
        raise DialtoneError(f"outcome is {labels['outcome']!r}", fix="give success or fail")
    return labels
