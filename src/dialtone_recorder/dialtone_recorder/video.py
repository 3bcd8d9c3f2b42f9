"""Pictures into mp4, and mp4 files into longer ones, the same bytes each time.

One encoder thread a video (more would change the bytes with the machine), no B-frames, so that
packets lie in the order of presentation and files join without re-encoding.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import Any

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

from dialtone_core.errors import DialtoneError, WireError
from dialtone_recorder.mapping import Video
from dialtone_recorder.pictures import Decoder, Picture, Pixels, ToVideo

_ENCODERS = {"h264": "libx264", "av1": "libsvtav1"}
#: ISO 23001-8: BT.601 (625 and 525 lines share the matrix), limited range.
_SMPTE170M, _LIMITED = 6, 1
#: Pictures that may wait for one encoder; a decoded second is 14 MB, a compressed one is not.
_QUEUE = 16
_STATS_WIDTH = 160


class Encoder:
    """One camera's frames of one episode as an mp4 without sound; for one thread."""

    def __init__(self, path: Path, size: tuple[int, int], fps: int, video: Video) -> None:
        """``size`` is (height, width), both even."""
        self._container = av.open(str(path), "w", format="mp4")
        options = {"crf": str(video.crf), "preset": video.preset}
        if video.codec == "h264":
            # No deblocking, no CABAC: half of the decoding time of a training run.
            options["tune"] = "fastdecode"
        else:
            # The library writes dozens of lines to stderr otherwise.
            os.environ.setdefault("SVT_LOG", "1")
            preset = video.preset if video.preset.isdigit() else "8"
            options |= {"preset": preset, "svtav1-params": "lp=1"}
        try:
            self._stream = self._container.add_stream(
                _ENCODERS[video.codec], rate=fps, options=options
            )
            self._stream.height, self._stream.width = size
            self._stream.pix_fmt = "yuv420p"
            context = self._stream.codec_context
            context.thread_count = 1
            context.gop_size = video.gop
            context.max_b_frames = 0
            context.color_range = _LIMITED
            context.colorspace = _SMPTE170M
            context.open()
        except (av.FFmpegError, ValueError) as error:
            self._container.close()
            raise DialtoneError(
                f"the encoder {_ENCODERS[video.codec]} refuses its settings ({error})",
                where="mapping: video", fix="take codec h264 and a preset such as superfast",
            ) from error  # fmt: skip
        self._frames = 0
        self._tick = Fraction(1, fps)

    def write(self, frame: av.VideoFrame, times: int) -> None:
        """Show ``frame`` (yuv420p) for ``times`` frames."""
        for _ in range(times):
            frame.pts, frame.time_base = self._frames, self._tick
            frame.pict_type = 0
            self._container.mux(self._stream.encode(frame))
            self._frames += 1

    def close(self) -> None:
        """Write the end; idempotent."""
        if self._container is not None:
            self._container.mux(self._stream.encode())
            self._container.close()
            self._container = None


class Worker:
    """Decodes, counts colours and encodes one camera in a thread of its own.

    ``put`` blocks while the queue is full and raises what ended the thread. ``sampled`` are the
    frames whose colours are counted into ``histogram`` (3, 256).
    """

    def __init__(
        self, path: Path, size: tuple[int, int], fps: int, video: Video, sampled: set[int]
    ) -> None:
        self.histogram: NDArray[np.int64] = np.zeros((3, 256), np.int64)
        self._sampled = sampled
        self._size = size
        self._queue: Queue[tuple[int, int, Picture] | None] = Queue(_QUEUE)
        self._error: BaseException | None = None
        self._stop = Event()
        self._encoder = Encoder(path, (size[0] // 2 * 2, size[1] // 2 * 2), fps, video)
        self._thread = Thread(target=self._run, name=f"encode-{path.stem}", daemon=True)
        self._thread.start()

    def put(self, first: int, frames: int, picture: Picture) -> None:
        """Show ``picture`` in ``frames`` frames from ``first`` on."""
        self._offer((first, frames, picture))

    def finish(self) -> None:
        """Wait for the last frame to be written; raises what went wrong."""
        self._offer(None)
        self._thread.join()
        if self._error is not None:
            raise self._error

    def abandon(self) -> None:
        """End without finishing the file; idempotent."""
        self._stop.set()
        self._thread.join()

    def _offer(self, item: tuple[int, int, Picture] | None) -> None:
        while self._error is None:
            try:
                self._queue.put(item, timeout=0.2)
                return
            except Full:
                continue
        if item is not None:
            raise self._error

    def _run(self) -> None:
        decoder, convert = Decoder(), ToVideo()
        try:
            while (item := self._take()) is not None:
                first, frames, picture = item
                self._encode(decoder.frame(picture), convert, first, frames)
        except BaseException as error:
            self._error = error
        finally:
            try:
                self._encoder.close()
            except (av.FFmpegError, OSError) as error:
                self._error = self._error or error

    def _take(self) -> tuple[int, int, Picture] | None:
        while not self._stop.is_set():
            try:
                return self._queue.get(timeout=0.2)
            except Empty:
                continue
        return None

    def _encode(self, frame: av.VideoFrame, convert: ToVideo, first: int, frames: int) -> None:
        height, width = self._size
        if (frame.height, frame.width) != (height, width):
            raise WireError("size", f"{frame.width}x{frame.height}, before {width}x{height}")
        wanted = sum(number in self._sampled for number in range(first, first + frames))
        if wanted:
            self.histogram += wanted * _colours(convert.rgb(frame))
        self._encoder.write(convert(frame), frames)


def _colours(pixels: Pixels) -> NDArray[np.int64]:
    """How often each of 256 levels occurs in red, green and blue; every n-th pixel."""
    step = max(1, pixels.shape[1] // _STATS_WIDTH)
    small = pixels[::step, ::step]
    return np.stack([np.bincount(small[..., c].ravel(), minlength=256) for c in range(3)])


def join(parts: Sequence[Path], target: Path, fps: int) -> None:
    """Put videos of the same settings one behind the other, without decoding them.

    Frame n of the whole lies at exactly n / fps: nothing adds up over many episodes.
    """
    number = 0
    with av.open(str(target), "w", format="mp4") as out:
        stream: Any = None
        for part in parts:
            with av.open(str(part)) as source:
                if stream is None:
                    stream = out.add_stream_from_template(source.streams.video[0], opaque=True)
                    stream.time_base = Fraction(1, fps)
                for packet in source.demux(source.streams.video[0]):
                    if packet.size == 0:
                        continue
                    packet.stream = stream
                    packet.time_base = Fraction(1, fps)
                    packet.pts = packet.dts = number
                    packet.duration = 1
                    out.mux(packet)
                    number += 1


def probe(path: Path) -> dict[str, Any]:
    """What LeRobot's info.json says of a video."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return {
            "video.height": stream.height,
            "video.width": stream.width,
            "video.codec": stream.codec.canonical_name,
            "video.pix_fmt": stream.pix_fmt,
            "video.fps": int(stream.average_rate or 0),
            "video.channels": 3,
            "has_audio": bool(container.streams.audio),
            "is_depth_map": False,
        }


def decode_all(path: Path, on_frame: Callable[[], None] | None = None) -> tuple[int, float]:
    """Decode every frame; returns their number and the worst distance (s) from the grid.

    Raises ``av.FFmpegError``.
    """
    count, worst = 0, 0.0
    with av.open(str(path)) as container:
        stream: VideoStream = container.streams.video[0]
        fps = float(stream.average_rate or 1)
        for frame in container.decode(stream):
            worst = max(worst, abs(float(frame.time or 0.0) - count / fps))
            count += 1
            if on_frame is not None:
                on_frame()
    return count, worst
