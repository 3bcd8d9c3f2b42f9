"""A person at a terminal drives a robot: keys in, commands out, and a stop whatever ends it.

Everything runs on one asyncio loop. A terminal that takes no more output therefore stops the
sending too, and a robot that hears nothing stops by itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from dialtone_teleop.cockpit import recording
from dialtone_teleop.cockpit.gamepad import Gamepad
from dialtone_teleop.cockpit.hands import Hands
from dialtone_teleop.cockpit.hearing import Hearing
from dialtone_teleop.cockpit.keys import RELEASE, Alive, Focus, Key, KeyDecoder, Releases
from dialtone_teleop.cockpit.lease import LeaseKeeper
from dialtone_teleop.cockpit.requests import Requests
from dialtone_teleop.cockpit.robot import RobotLine
from dialtone_teleop.cockpit.terminal import DriveTerminal
from dialtone_teleop.cockpit.view import View

SEND_PERIOD_S = 0.05
STATUS_PERIOD_S = 0.5
#: After the last motion zeros go out so often, each a message that might be lost.
_ZEROS = 6
_PING_PERIOD_S = 0.2
#: A lone escape is a key once nothing followed it for so long.
_ESCAPE_S = 0.05
_SPEED_STEP = 1.25
_FINISH_S = 1.5


@dataclass(frozen=True, slots=True)
class Settings:
    """What the driver chose: top speeds (m/s, rad/s) and role."""

    speed_mps: float = 0.5
    turn_rps: float = 1.0
    role: str = "operator"


class DriveSession:
    """``await run()`` until the driver quits or ``stop`` is set; then zeros, and no lease."""

    def __init__(
        self, line: RobotLine, terminal: DriveTerminal, settings: Settings, pad: Gamepad | None
    ) -> None:
        self._line = line
        self._terminal = terminal
        self._settings = settings
        self._pad = pad
        self._scale = 1.0
        self._decoder = KeyDecoder()
        self._hands = Hands()
        self._lease = LeaseKeeper(line, settings.role)
        self._zeros_left = 0
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._acquiring: asyncio.Task[Any] | None = None
        self._pinged_s = 0.0
        self.stop = asyncio.Event()
        self.view = View(robot=line.where.robot, operator=line.operator, input=self._input_name())
        self._hearing = Hearing(line, self.view, self._on_lease)
        self._requests = Requests(line, self.view, settings.role)
        self._recorder = recording.RecorderKeys(line, self.view)
        self._on_yes: Callable[[], Coroutine[Any, Any, None]] = self._clear

    async def run(self) -> None:
        """Drive. Cancelling it is fine; ``farewell`` runs in any case."""
        loop = asyncio.get_running_loop()
        await self._hearing.subscribe()
        loop.add_reader(self._terminal.input_fd, self._on_typed)
        if self._pad is not None:
            loop.add_reader(self._pad.fileno(), self._on_pad)
        jobs = [self._send_for_ever(), self._ask_for_ever(), self._keep_for_ever()]
        working = [asyncio.create_task(job) for job in jobs]
        try:
            ended = asyncio.create_task(self.stop.wait())
            done, _ = await asyncio.wait({*working, ended}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            loop.remove_reader(self._terminal.input_fd)
            self._drop_pad()
            for task in (*working, ended):
                task.cancel()
            await self.farewell()
            await self._finish()

    async def farewell(self) -> None:
        """Explicit zeros, until the server has them; then let go of the lease."""
        self._hands.focus_lost()
        for _ in range(3):
            await self._line.drive(0.0, 0.0)
        if await self._line.flush(1.0):
            await self._lease.release()

    async def _finish(self) -> None:
        """Let an e-stop or whatever else was asked for at the end get through."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=_FINISH_S)
            for task in late:
                task.cancel()

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[Any]:
        """Run ``work`` beside the loop's tasks, kept so that it ends with the session."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # ---- what comes from the driver

    def _on_typed(self) -> None:
        data = self._terminal.read()
        if not data:
            self.stop.set()
            return
        self._take(self._decoder.feed(data))
        if self._decoder.waiting:
            loop = asyncio.get_running_loop()
            loop.call_later(_ESCAPE_S, lambda: self._take(self._decoder.flush()))

    def _take(self, events: list[Any]) -> None:
        for event in events:
            if isinstance(event, Key):
                self._on_key(event)
            elif isinstance(event, Focus):
                self.view.focused = event.here
                if not event.here:
                    self._halt()
            elif isinstance(event, Releases):
                self._hands.releases = event.reported
                self.view.input = self._input_name()
            elif isinstance(event, Alive):
                self._hands.answered()
        self._wake.set()

    def _on_key(self, key: Key) -> None:
        if self._hands.key(key, time.monotonic()) or key.event == RELEASE:
            return
        if self.view.question:
            self._answer(key.name)
        elif key.name in ("space", "escape"):
            self._fire()
        elif key.name in ("q", "ctrl-c", "ctrl-d", "ctrl-q"):
            self.stop.set()
        elif key.name == "c":
            self._inquire("Clear the e-stop? y clears it, any other key leaves it.", self._clear)
        elif key.name == recording.DISCARD_KEY and self.view.recording:
            self._inquire(recording.DISCARD_QUESTION, self._recorder.discard)
        elif key.name in recording.KEYS:
            self._start(self._recorder.key(key.name))
        elif key.name in ("+", "=", "-", "_"):
            self._faster(key.name in "+=")
        elif key.name in ("l", "f", "g"):
            self._start(getattr(self, f"_key_{key.name}")())

    def _inquire(self, question: str, yes: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.view.question = question
        self._on_yes = yes

    def _answer(self, name: str) -> None:
        self.view.question = ""
        if name == "space":
            self._fire()
        elif name == "y":
            self._start(self._on_yes())

    def _faster(self, faster: bool) -> None:
        scale = self._scale * (_SPEED_STEP if faster else 1 / _SPEED_STEP)
        self._scale = min(max(scale, 0.05), 10.0)

    def _on_pad(self) -> None:
        assert self._pad is not None
        try:
            if self._pad.read():
                self._fire()
        except OSError:
            self.view.notice = f"{self._pad.name} was unplugged"
            self._drop_pad()
        self._wake.set()

    def _drop_pad(self) -> None:
        pad, self._pad = self._pad, None
        if pad is not None:
            asyncio.get_running_loop().remove_reader(pad.fileno())
            pad.close()
        self.view.input = self._input_name()

    def _input_name(self) -> str:
        keys = "keyboard, stops on key release"
        if not self._hands.releases:
            keys = "keyboard, stops 0.25–0.6 s after the last key (no releases here)"
        return f"{self._pad.name} (hold LB) and {keys}" if self._pad is not None else keys

    def _halt(self) -> None:
        """Let go of everything; the next send is a zero."""
        self._hands.let_go(time.monotonic())
        self._zeros_left = _ZEROS
        self._wake.set()

    def _fire(self) -> None:
        self._halt()
        self._start(self._requests.estop())

    # ---- what goes to the robot

    def _wanted(self) -> tuple[float, float]:
        """(m/s, rad/s) that keys and pad ask for now."""
        forward, left = map(float, self._hands.wants(time.monotonic()))
        if self._pad is not None and not (forward or left):
            forward, left = self._pad.state.wants()
        view, settings = self.view, self._settings
        view.top_mps = settings.speed_mps * self._scale
        if view.limit_mps is not None:
            view.top_mps = min(view.top_mps, view.limit_mps)
        view.top_rps = settings.turn_rps * self._scale
        return forward * view.top_mps, left * view.top_rps

    async def _send_for_ever(self) -> None:
        while True:
            await self._send_once()
            self._wake.clear()
            try:
                await asyncio.wait_for(self._wake.wait(), SEND_PERIOD_S)
            except (TimeoutError, asyncio.TimeoutError):
                continue

    async def _send_once(self) -> None:
        wanted = self._wanted()
        moving = any(wanted)
        if moving and self._hands.releases:
            self._ping()
        if moving and not self._lease.may_drive:
            if self._acquiring is None or self._acquiring.done():
                self._acquiring = self._start(self._lease.want(time.monotonic()))
            wanted, moving = (0.0, 0.0), False
        self.view.connected = self._line.connected
        self.view.asked_mps, self.view.asked_rps = wanted
        if moving:
            self._zeros_left = _ZEROS
        elif self._zeros_left == 0:
            return
        else:
            self._zeros_left -= 1
        await self._line.drive(*wanted)

    def _ping(self) -> None:
        now_s = time.monotonic()
        if now_s - self._pinged_s >= _PING_PERIOD_S:
            self._pinged_s = now_s
            self._terminal.ping()
            self._hands.pinged(now_s)

    async def _ask_for_ever(self) -> None:
        while True:
            await self._hearing.ask()
            await asyncio.sleep(STATUS_PERIOD_S)

    def _on_lease(self, event: dict[str, Any]) -> None:
        if self._lease.changed(event):
            self._halt()
        self._show_lease()

    async def _keep_for_ever(self) -> None:
        while True:
            held = self._lease.held
            await self._lease.keep(time.monotonic())
            if held and not self._lease.held:
                self._halt()
            self._show_lease()
            await asyncio.sleep(0.1)

    def _show_lease(self) -> None:
        lease, view = self._lease, self.view
        view.lease = "held" if lease.held else "free" if lease.exists else "none"
        if not view.holder:
            view.holder = lease.holder
        view.notice = lease.notice or view.notice

    async def _clear(self) -> None:
        await self._requests.clear()
        self._zeros_left = _ZEROS

    async def _key_l(self) -> None:
        self._halt()
        await self._lease.release()
        self.view.notice = ""

    async def _key_f(self) -> None:
        await self._lease.force(time.monotonic())
        self.view.notice = self._lease.notice

    async def _key_g(self) -> None:
        await self._requests.arm(not self.view.armed)
