"""Re-encoded pictures: smaller or coarser, made once for all viewers of one variant.

Work happens in one worker thread; while it is busy the newest picture waits and older ones are
forgotten. OpenCV is imported in that thread on first use: it is 60 MB that a gateway without
variants does not need. A JPEG is decoded at a half, a quarter or an eighth where that is enough
(libjpeg does it almost for nothing).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from dialtone_gateway.video.frames import Frame
from dialtone_gateway.video.hub import Camera, FullError, Viewer

LOG = logging.getLogger("gateway")

_QUALITY_STEP, _WIDTH_STEP = 5, 16
_DEFAULT_QUALITY = 75


class Variant(NamedTuple):
    """``width`` 0 keeps the camera's; ``quality`` 1..100."""

    width: int
    quality: int


def variant_of(width: int | None, quality: int | None) -> Variant | None:
    """The variant that a viewer asks for, in steps so that viewers share; ``None``: untouched."""
    if not width and not quality:
        return None
    coarse = _DEFAULT_QUALITY if quality is None else -(-quality // _QUALITY_STEP) * _QUALITY_STEP
    return Variant(-(-(width or 0) // _WIDTH_STEP) * _WIDTH_STEP, max(_QUALITY_STEP, coarse))


class _Encoder:
    """One variant of one camera: watches it as one viewer and serves many."""

    def __init__(self, camera: Camera, variant: Variant, pool: ThreadPoolExecutor) -> None:
        self.viewers: set[Viewer] = set()
        self.encoded = 0
        self.failed = 0
        self._camera = camera
        self._variant = variant
        self._pool = pool
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        source = Viewer()
        loop = asyncio.get_running_loop()
        async with self._camera.watch(source):
            while (frame := await source.take()) is not None:
                jpeg = await loop.run_in_executor(self._pool, reencode, frame.jpeg, self._variant)
                if jpeg is None:
                    self.failed += 1
                    continue
                self.encoded += 1
                made = Frame(frame.seq, frame.capture_ns, time.monotonic_ns(), jpeg)
                for viewer in self.viewers:
                    viewer.put(made)
        for viewer in self.viewers:
            viewer.close()


class Variants:
    """Every variant that is being watched, at most ``most`` of them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._encoders: dict[tuple[str, Variant], _Encoder] = {}
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="variant")

    def __len__(self) -> int:
        return len(self._encoders)

    @asynccontextmanager
    async def watch(
        self, camera: Camera, variant: Variant | None, viewer: Viewer
    ) -> AsyncIterator[None]:
        """While inside, ``viewer`` gets ``camera``'s pictures as ``variant``."""
        if variant is None:
            async with camera.watch(viewer):
                yield
            return
        key = (camera.name, variant)
        encoder = self._encoders.get(key)
        if encoder is None:
            if len(self._encoders) >= self._most:
                raise FullError(f"{self._most} variants are watched; max_variants bounds it")
            encoder = self._encoders[key] = _Encoder(camera, variant, self._pool)
        encoder.viewers.add(viewer)
        try:
            yield
        finally:
            encoder.viewers.discard(viewer)
            if not encoder.viewers and self._encoders.get(key) is encoder:
                del self._encoders[key]
                encoder.task.cancel()
                await asyncio.wait({encoder.task})

    async def once(self, jpeg: bytes, variant: Variant) -> bytes | None:
        """One picture re-encoded."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, reencode, jpeg, variant)

    async def aclose(self) -> None:
        tasks = {encoder.task for encoder in self._encoders.values()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._pool.shutdown(wait=False, cancel_futures=True)


def reencode(jpeg: bytes, variant: Variant) -> bytes | None:
    """``jpeg`` at the variant's width and quality, never enlarged; ``None`` where it is broken."""
    import cv2
    import numpy as np

    cv2.setNumThreads(1)
    data = np.frombuffer(jpeg, np.uint8)
    size = jpeg_size(jpeg)
    if size is None:
        return None
    width = min(variant.width or size[0], size[0])
    flag: Any = cv2.IMREAD_COLOR
    for divisor, reduced in (
        (8, cv2.IMREAD_REDUCED_COLOR_8),
        (4, cv2.IMREAD_REDUCED_COLOR_4),
        (2, cv2.IMREAD_REDUCED_COLOR_2),
    ):
        if size[0] // divisor >= width:
            flag = reduced
            break
    picture = cv2.imdecode(data, flag)
    if picture is None:
        return None
    if picture.shape[1] > width:
        height = max(1, round(picture.shape[0] * width / picture.shape[1]))
        picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    done, made = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, variant.quality])
    return made.tobytes() if done else None


def jpeg_size(jpeg: bytes) -> tuple[int, int] | None:
    """(width, height) from the frame header (ITU T.81 §B.2.2); ``None`` where there is none."""
    at = 2
    while at + 9 <= len(jpeg) and jpeg[at] == 0xFF:
        marker = jpeg[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = (jpeg[at + 5] << 8) + jpeg[at + 6], (jpeg[at + 7] << 8) + jpeg[at + 8]
            return (width, height) if width and height else None
        at += 2 + (jpeg[at + 2] << 8) + jpeg[at + 3]
    return None
