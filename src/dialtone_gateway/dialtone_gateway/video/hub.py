"""Pictures from NATS: one subscription a camera, however many watch, and only while one does.

A viewer has a slot for the newest picture. Who is slower than the camera misses pictures, which
are counted for them, and holds up nobody: neither the other viewers nor the NATS server, because
the gateway always reads.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from nats.aio.msg import Msg

from dialtone_core.aio import timeout
from dialtone_core.errors import WireError
from dialtone_core.wire import telemetry_subject
from dialtone_gateway.link import End, RobotLink
from dialtone_gateway.video.frames import Frame, read_frame

LOG = logging.getLogger("gateway")

CAMERA = re.compile(r"[a-z0-9_]{1,40}")
#: A picture older than this is not shown to somebody who comes now.
FRESH_S = 2.0
_MOST_CAMERAS = 32


class FullError(Exception):
    """A bound on viewers, cameras or variants is reached."""


class Viewer:
    """A slot for the newest frame. ``put`` and ``take`` belong to the loop's thread."""

    def __init__(self) -> None:
        self.missed = 0
        self.shown = 0
        self._frame: Frame | None = None
        self._event = asyncio.Event()
        self._closed = False

    def put(self, frame: Frame) -> None:
        if self._frame is not None:
            self.missed += 1
        self._frame = frame
        self._event.set()

    async def take(self) -> Frame | None:
        """The newest frame that was not taken yet; ``None`` once closed."""
        await self._event.wait()
        self._event.clear()
        frame, self._frame = self._frame, None
        if self._closed or frame is None:
            self._event.set()
            return None
        self.shown += 1
        return frame

    async def first(self, within_s: float) -> Frame | None:
        """As ``take``, but ``None`` where none comes in time."""
        try:
            async with timeout(within_s):
                return await self.take()
        except asyncio.TimeoutError:
            return None

    def close(self) -> None:
        self._closed = True
        self._event.set()


@dataclass
class CameraStats:
    """Of one camera, over the last seconds."""

    frames: int = 0
    bad: int = 0
    arrivals: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=64))

    def count(self, received_ns: int, size: int) -> None:
        self.frames += 1
        self.arrivals.append((received_ns, size))

    def rates(self, now_ns: int) -> tuple[float, float]:
        """Frames and bytes a second over what arrived in the last 2 s."""
        recent = [each for each in self.arrivals if now_ns - each[0] < 2_000_000_000]
        if len(recent) < 2:
            return 0.0, 0.0
        span_s = (recent[-1][0] - recent[0][0]) / 1e9
        if span_s <= 0:
            return 0.0, 0.0
        return (len(recent) - 1) / span_s, sum(size for _, size in recent[1:]) / span_s


class Camera:
    """One camera's subject and who watches it. Opened by ``Hub``."""

    def __init__(self, name: str, link: RobotLink) -> None:
        self.name = name
        self.stats = CameraStats()
        self.last: Frame | None = None
        self._current: Frame | None = None  # of this subscription
        self._link = link
        self._viewers: set[Viewer] = set()
        self._end: End | None = None
        self._lock = asyncio.Lock()
        self._seq = 0

    @property
    def viewers(self) -> int:
        return len(self._viewers)

    @asynccontextmanager
    async def watch(self, viewer: Viewer) -> AsyncIterator[None]:
        """While inside, ``viewer`` gets frames; the last one at once where others watch already.

        A picture from before a pause would be the past, and the next one a jump.
        """
        self._viewers.add(viewer)
        try:
            await self._follow()
            current = self._current
            if current is not None and _age_s(current) < FRESH_S:
                viewer.put(current)
            yield
        finally:
            self._viewers.discard(viewer)
            await asyncio.shield(self._follow())

    async def newest(self, within_s: float) -> Frame | None:
        """A frame that is fresh now, or the first that comes ``within_s``."""
        viewer = Viewer()
        async with self.watch(viewer):
            return await viewer.first(within_s)

    def close(self) -> None:
        for viewer in self._viewers:
            viewer.close()

    async def _follow(self) -> None:
        """Subscribed if and only if somebody watches."""
        async with self._lock:
            if self._viewers and self._end is None:
                topic = f"camera/{self.name}/image_raw/compressed"
                subject = telemetry_subject(self._link.robot, topic)
                self._end = await self._link.subscribe(subject, self._on_message)
            elif not self._viewers and self._end is not None:
                end, self._end, self._current = self._end, None, None
                await end()

    async def _on_message(self, message: Msg) -> None:
        now_ns = time.monotonic_ns()
        self._seq += 1
        try:
            frame = read_frame(message.data, message.headers or {}, self._seq, now_ns)
        except WireError as error:
            self.stats.bad += 1
            if self.stats.bad == 1:
                LOG.warning("camera %s: %s", self.name, error)
            return
        self.stats.count(now_ns, len(frame.jpeg))
        self.last = self._current = frame
        for viewer in self._viewers:
            viewer.put(frame)
        # After a hiccup several pictures wait: let the viewers have this one before the next.
        await asyncio.sleep(0)


class Hub:
    """All cameras by name. ``camera`` makes one on first use; nothing is subscribed by that."""

    def __init__(self, link: RobotLink, max_viewers: int) -> None:
        self._link = link
        self._max_viewers = max_viewers
        self._cameras: dict[str, Camera] = {}

    @property
    def cameras(self) -> dict[str, Camera]:
        return self._cameras

    @property
    def viewers(self) -> int:
        return sum(camera.viewers for camera in self._cameras.values())

    def camera(self, name: str) -> Camera:
        """Raises ``FullError`` where too many names were asked for, or too many watch."""
        if self.viewers >= self._max_viewers:
            raise FullError(f"{self._max_viewers} watch already; max_viewers bounds it")
        found = self._cameras.get(name)
        if found is None:
            self._forget_unseen()
            if len(self._cameras) >= _MOST_CAMERAS:
                raise FullError("too many cameras")
            found = self._cameras[name] = Camera(name, self._link)
        return found

    def close(self) -> None:
        for camera in self._cameras.values():
            camera.close()

    def _forget_unseen(self) -> None:
        """Names that never showed a picture and that nobody watches."""
        for name, camera in list(self._cameras.items()):
            if camera.last is None and not camera.viewers:
                del self._cameras[name]


def _age_s(frame: Frame) -> float:
    return (time.monotonic_ns() - frame.received_ns) / 1e9
