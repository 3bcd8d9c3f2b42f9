"""Keeps a camera running: opens it, reads it, and tries again when it goes away."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from dialtone_core.clock import NS_PER_S, Clock
from dialtone_sensors.drivers.base import Camera, CameraError, Frame

_FIRST_PAUSE_S = 0.1


@dataclass(frozen=True, slots=True)
class CaptureState:
    """What diagnostics say: ``error`` is empty while the camera works; counts are since start."""

    error: str
    note: str
    frames: int
    rate_hz: float
    losses: int
    age_s: float


class Capture:
    """One thread that owns ``camera`` and calls ``on_frame`` with each picture.

    ``on_change(text, ok)`` is called once when the camera goes and once when it is back, from the
    same thread. A failing ``on_frame`` is the node's failure and ends the thread through
    ``on_crash``.
    """

    def __init__(
        self,
        camera: Camera,
        on_frame: Callable[[Frame], None],
        on_change: Callable[[str, bool], None],
        clock: Clock,
        retry_max_s: float,
        on_crash: Callable[[BaseException], None],
    ) -> None:
        self._camera = camera
        self._on_frame = on_frame
        self._on_change = on_change
        self._clock = clock
        self._retry_max_s = retry_max_s
        self._on_crash = on_crash
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._guard, name="capture", daemon=True)
        self._error = ""
        self._note = ""
        self._frames = 0
        self._losses = 0
        self._pause_s = _FIRST_PAUSE_S
        self._recent: deque[int] = deque(maxlen=256)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """End the thread and close the camera; idempotent, at most two seconds."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(2.0)

    def state(self) -> CaptureState:
        """Callable from any thread."""
        now_ns = self._clock.monotonic_ns()
        recent = list(self._recent)
        in_window = [each for each in recent if now_ns - each <= 2 * NS_PER_S]
        span_ns = in_window[-1] - in_window[0] if len(in_window) > 1 else 0
        rate_hz = (len(in_window) - 1) * NS_PER_S / span_ns if span_ns else 0.0
        age_s = (now_ns - recent[-1]) / NS_PER_S if recent else float("inf")
        return CaptureState(self._error, self._note, self._frames, rate_hz, self._losses, age_s)

    def _guard(self) -> None:
        try:
            self._run()
        except Exception as error:
            self._on_crash(error)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._camera.open()
                self._stream()
            except CameraError as error:
                self._lost(error)
            finally:
                self._camera.close()
            self._stop.wait(self._pause_s if self._error else 0)
            self._pause_s = min(self._pause_s * 2, self._retry_max_s)

    def _stream(self) -> None:
        while not self._stop.is_set():
            frame = self._camera.read()
            if frame is None:
                continue
            self._recent.append(self._clock.monotonic_ns())
            self._frames += 1
            self._note = frame.note
            if self._error:
                self._error = ""
                self._on_change("delivers pictures again", True)
            self._pause_s = _FIRST_PAUSE_S
            self._on_frame(frame)

    def _lost(self, error: CameraError) -> None:
        """One line a change: a camera that stays away for an hour fills no log."""
        text = str(error)
        if not self._error:
            self._losses += 1
        if text != self._error:
            self._error = text
            self._on_change(text, False)
