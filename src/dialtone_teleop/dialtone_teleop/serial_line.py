"""A serial device that is looked for among candidate ports, kept, and looked for again when lost.

One thread (named after the device) opens, identifies, reads and heals; writes happen in the
caller's thread, so that a command is on the wire when ``write`` returns.
"""

from __future__ import annotations

import glob
import threading
from collections.abc import Callable, Sequence

from dialtone_teleop.link_url import LinkUrl
from dialtone_teleop.links import Link, Serial

#: The reader wakes so often at least, for ``on_tick``.
READ_TIMEOUT_S = 0.05
_FIRST_RETRY_S = 0.2
_LONGEST_RETRY_S = 2.0


class SerialLine:
    """See the module. Callbacks run in the line's thread, without its lock.

    ``identify(link)`` may talk on a fresh port and says whether it is the right device; a port
    that is not, or that breaks meanwhile, is closed and the next candidate tried. ``on_up``
    follows. ``on_bytes`` gets what arrives, ``on_tick`` is called after each read.
    """

    def __init__(
        self,
        name: str,
        ports: Sequence[str],
        baud: int,
        *,
        identify: Callable[[Link, threading.Event], bool] = lambda *_: True,
        on_up: Callable[[], None] = lambda: None,
        on_bytes: Callable[[bytes], None] = lambda _: None,
        on_tick: Callable[[], None] = lambda: None,
    ) -> None:
        self._name = name
        self._patterns = tuple(ports)
        self._baud = baud
        self._identify = identify
        self._on_up = on_up
        self._on_bytes = on_bytes
        self._on_tick = on_tick
        self._lock = threading.Lock()
        self._link: Link | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._log: Callable[[str, str], None] = lambda *_: None
        self._told = ""
        self.port = ""
        self.opened = 0
        self.broken_writes = 0

    @property
    def up(self) -> bool:
        return self._link is not None

    def open(self, log: Callable[[str, str], None]) -> None:
        """Start looking; idempotent."""
        if self._thread is None:
            self._log = log
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()

    def close(self) -> None:
        """End; idempotent."""
        self._stopping.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(2.0)
        self._drop()

    def write(self, data: bytes) -> bool:
        """Write all of ``data``, or nothing that counts: a port that fails is given up."""
        with self._lock:
            if self._link is None:
                return False
            try:
                return self._link.write(data)
            except OSError as error:
                self.broken_writes += 1
                self._say("error", f"{self.port} broke ({error}). Fix: plug it in; trying on")
        self._drop()
        return False

    def drop(self) -> None:
        """Give the port up, as if it had broken; it is looked for again."""
        self._drop()

    def _run(self) -> None:
        retry_s = _FIRST_RETRY_S
        while not self._stopping.is_set():
            link = self._find()
            if link is None:
                self._stopping.wait(retry_s)
                retry_s = min(2 * retry_s, _LONGEST_RETRY_S)
                continue
            retry_s = _FIRST_RETRY_S
            with self._lock:
                self._link = link
            self.opened += 1
            self._say("info", f"{self._name} is on {self.port}")
            self._on_up()
            self._read(link)
            self._drop()
            self._stopping.wait(retry_s)

    def _find(self) -> Link | None:
        """The first candidate that opens and is the right device."""
        problems = []
        for port in self._candidates():
            if self._stopping.is_set():
                return None
            link: Link | None = None
            try:
                link = Serial(LinkUrl("serial", port, self._baud), READ_TIMEOUT_S)
                if self._identify(link, self._stopping):
                    self.port = port
                    return link
                problems.append(f"{port}: no answer of a {self._name}")
            except OSError as error:
                problems.append(f"{port}: {error.strerror or error}")
            if link is not None:
                link.close()
        if not self._stopping.is_set():
            found = "; ".join(problems) or f"no device matches {', '.join(self._patterns)}"
            self._say("error", f"no {self._name} ({found}). Fix: plug it in or set the ports")
        return None

    def _candidates(self) -> list[str]:
        """Wildcards resolved, in order; a plain name stays even where nothing has it."""
        found: list[str] = []
        for pattern in self._patterns:
            found += sorted(glob.glob(pattern)) if glob.has_magic(pattern) else [pattern]
        return list(dict.fromkeys(found))

    def _read(self, link: Link) -> None:
        while not self._stopping.is_set() and self._link is link:
            try:
                data = link.read()
            except OSError as error:
                if not self._stopping.is_set() and self._link is link:
                    self._say("error", f"{self.port} broke ({error}). Fix: plug it in; trying on")
                return
            if data:
                self._on_bytes(data)
            self._on_tick()

    def _drop(self) -> None:
        with self._lock:
            link, self._link = self._link, None
        if link is not None:
            link.close()

    def _say(self, level: str, line: str) -> None:
        """A line of the log, unless it says what the last one said."""
        if line != self._told:
            self._told = line
            self._log(level, line)
