"""The neck's serial line: found by asking, homed on connect, asked for its health while idle."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from dialtone_core.clock import NS_PER_S, Clock
from dialtone_teleop.actuator_params import NeckParams
from dialtone_teleop.links import Link
from dialtone_teleop.neck_protocol import is_neck, parse_health
from dialtone_teleop.serial_line import SerialLine
from dialtone_teleop.twist_protocol import Splitter

_HOME_WORDS = {"soft": "HOME_SOFT", "brute": "HOME_BRUTE"}
#: The line's end first: half a line of before, or of a boot loader, must not eat the question.
_QUESTION = b"\nHEALTH\n"
_ASK_EVERY_S = 0.5
_POLL_NS = NS_PER_S
_HOMING_POLL_NS = 3 * NS_PER_S
#: Without an answer for so long (ns) the firmware is dead, though the port is open.
_SILENT_NS = 3 * NS_PER_S


class NeckDevice:
    """See the module. ``on_home(word)`` follows a HOME on connect, ``on_text`` a line that is no
    health: the firmware reports errors as text. Both run in the line's thread."""

    def __init__(
        self,
        params: NeckParams,
        clock: Clock,
        on_home: Callable[[str], None],
        on_text: Callable[[str], None],
    ) -> None:
        self._params = params
        self._clock = clock
        self._on_home = on_home
        self._on_text = on_text
        self._splitter = Splitter(b"\n")
        self._lock = threading.Lock()
        self._homing_since_ns: int | None = None
        self._heard_ns = 0
        self._asked_ns = 0
        #: Questions on the way whose answers say nothing about what was written after them.
        self._unanswered = 0
        self._to_ignore = 0
        self._to_tell = 0
        self._health: dict[str, str] = {}
        self._log: Callable[[str, str], None] = lambda *_: None
        self._line = SerialLine(
            "neck",
            params.ports,
            params.baud,
            identify=self._identify,
            on_up=self._on_up,
            on_bytes=self._on_bytes,
            on_tick=self._on_tick,
        )

    @property
    def up(self) -> bool:
        return self._line.up

    def open(self, log: Callable[[str, str], None]) -> None:
        self._log = log
        self._line.open(log)

    def close(self) -> None:
        self._line.close()

    def reason(self, now_ns: int) -> str:
        """Why the head takes no motion now: ``line_down``, ``homing``, ``link_lost``, or ""."""
        if not self._line.up:
            return "line_down"
        if self._homing_since_ns is not None:
            return "homing"
        return "link_lost" if now_ns - self._heard_ns > _SILENT_NS else ""

    def age_s(self, now_ns: int) -> float | None:
        """Since the head said anything (s)."""
        return (now_ns - self._heard_ns) / NS_PER_S if self._line.up else None

    def write(self, line: str) -> bool:
        return self._line.write(line.encode("ascii") + b"\n")

    def ask(self, word: str) -> bool:
        """Write a question; ``on_text`` gets the answer to it."""
        with self._lock:
            self._to_tell += 1
        return self._question(word)

    def home(self, word: str) -> bool:
        """Home the head; it says that it is done by answering the question that follows."""
        with self._lock:
            self._homing_since_ns = self._asked_ns = self._clock.monotonic_ns()
            self._to_ignore, self._unanswered = self._unanswered, self._unanswered + 1
        if self._line.write(word.encode("ascii") + b"\nHEALTH\n"):
            return True
        with self._lock:
            self._homing_since_ns = None
        return False

    def figures(self) -> dict[str, object]:
        known = {f"neck.{key.lower()}": value for key, value in self._health.items()}
        return {"port": self._line.port, "opened": self._line.opened, **known}

    def _question(self, word: str = "HEALTH") -> bool:
        with self._lock:
            self._asked_ns = self._clock.monotonic_ns()
            self._unanswered += 1
        return self.write(word)

    def _identify(self, link: Link, stopping: threading.Event) -> bool:
        """Ask until a neck answers, or ``probe_s`` has passed."""
        end_s = time.monotonic() + self._params.probe_s
        splitter, ask_s, asked = Splitter(b"\n"), 0.0, 0
        while not stopping.is_set() and time.monotonic() < end_s:
            if time.monotonic() >= ask_s:
                link.write(_QUESTION)
                asked += 1
                ask_s = time.monotonic() + _ASK_EVERY_S
            for raw in splitter.feed(link.read()):
                health = parse_health(raw.decode("ascii", "replace"))
                if is_neck(health):
                    self._health = health
                    self._unanswered = asked - 1
                    return True
        return False

    def _on_up(self) -> None:
        self._splitter = Splitter(b"\n")
        with self._lock:
            self._heard_ns = self._clock.monotonic_ns()
            self._homing_since_ns = None
            self._to_tell = 0
        word = _HOME_WORDS.get(self._params.home)
        if word is not None and self.home(word):
            self._on_home(word)

    def _on_bytes(self, data: bytes) -> None:
        for raw in self._splitter.feed(data):
            text = raw.decode("ascii", "replace").strip()
            with self._lock:
                self._heard_ns = self._clock.monotonic_ns()
            health = parse_health(text)
            if health:
                self._on_health(health, text)
            elif text:
                self._on_text(text)

    def _on_health(self, health: dict[str, str], text: str) -> None:
        self._health = health
        with self._lock:
            self._unanswered = max(0, self._unanswered - 1)
            earlier = self._to_ignore > 0
            self._to_ignore = max(0, self._to_ignore - 1)
            homed = self._homing_since_ns is not None and not earlier
            if homed:
                self._homing_since_ns = None
            told = self._to_tell > 0
            self._to_tell = max(0, self._to_tell - 1)
        if told:
            self._on_text(text)
        if homed:
            self._log("info", "the neck is homed")

    def _on_tick(self) -> None:
        """Ask while idle; give a port up whose HOME does not end."""
        now_ns = self._clock.monotonic_ns()
        since_ns = self._homing_since_ns
        if since_ns is not None:
            if now_ns - since_ns > self._params.home_timeout_s * NS_PER_S:
                fix = "check its power and that nothing blocks it; looking for it anew"
                self._log("error", f"the neck did not end its HOME in time. Fix: {fix}")
                self._line.drop()
            elif now_ns - self._asked_ns > _HOMING_POLL_NS:
                self._question()  # noise may have eaten the answer
        elif now_ns - self._asked_ns > _POLL_NS:
            self._question()
