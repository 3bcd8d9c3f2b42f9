"""USB and CSI cameras through Video4Linux 2: MJPEG passes untouched, YUYV is compressed here.

``LinuxpyStream`` is all that touches the kernel (through linuxpy); everything else works on the
two-method ``Stream`` and is tested without a camera.
"""

from __future__ import annotations

import select
import time
from typing import Any, NamedTuple, Protocol

import numpy as np
import simplejpeg

from dialtone_sensors.drivers.base import CameraError, Frame
from dialtone_sensors.params import CameraParams

_POLL_S = 0.5
#: A camera that is silent for so long is treated as unplugged: closing it often revives it.
_STALL_NS = 3_000_000_000

MJPEG, YUYV = "MJPG", "YUYV"


class RawFrame(NamedTuple):
    """What the kernel hands out. ``monotonic_ns`` is its capture stamp, or None if it has none."""

    data: bytes
    monotonic_ns: int | None
    damaged: bool = False


class Stream(Protocol):
    """An open camera: its negotiated ``fourcc`` and size, and its frames."""

    fourcc: str
    width: int
    height: int

    def read(self, timeout_s: float) -> RawFrame | None:
        """The next frame or None; raises ``OSError`` once the camera is gone."""

    def close(self) -> None: ...


class V4l2Camera:
    """Turns a stream's frames into JPEG with wall-clock stamps."""

    def __init__(self, params: CameraParams) -> None:
        self._params = params
        self._stream: Stream | None = None
        self._heard_ns = 0
        self.damaged = 0

    def open(self) -> None:
        try:
            self._stream = open_stream(self._params)
        except OSError as error:
            raise CameraError(
                f"cannot open the camera ({error.strerror or error})",
                where=self._params.device,
                fix="plug it in, check the parameter device and the group video; "
                "another program may hold it",
            ) from error
        self._heard_ns = time.monotonic_ns()

    def read(self) -> Frame | None:
        assert self._stream is not None
        try:
            raw = self._stream.read(_POLL_S)
        except OSError as error:
            raise CameraError(
                f"the camera went away ({error.strerror or error})",
                where=self._params.device,
                fix="plug it in again",
            ) from error
        now_ns = time.monotonic_ns()
        if raw is None:
            if now_ns - self._heard_ns > _STALL_NS:
                raise CameraError(
                    f"no frame for {_STALL_NS // 1_000_000_000} s",
                    where=self._params.device,
                    fix="check the cable and the USB bandwidth, or lower rate_hz or the size",
                )
            return None
        self._heard_ns = now_ns
        return self._frame(self._stream, raw, now_ns)

    def _frame(self, stream: Stream, raw: RawFrame, now_ns: int) -> Frame | None:
        jpeg = self._to_jpeg(stream, raw)
        if jpeg is None:
            self.damaged += 1
            return None
        age_ns = 0 if raw.monotonic_ns is None else max(0, now_ns - raw.monotonic_ns)
        note = f"{self.damaged} damaged frames dropped" if self.damaged else ""
        return Frame(jpeg, time.time_ns() - age_ns, stream.width, stream.height, note)

    def _to_jpeg(self, stream: Stream, raw: RawFrame) -> bytes | None:
        if raw.damaged:
            return None
        if stream.fourcc == MJPEG:
            return raw.data if raw.data.startswith(b"\xff\xd8") else None
        if len(raw.data) < stream.width * stream.height * 2:
            return None
        return encode_yuyv(raw.data, stream.width, stream.height, self._params.quality)

    def close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()


def encode_yuyv(data: bytes, width: int, height: int, quality: int) -> bytes:
    """YUYV 4:2:2 (Y0 U Y1 V) to JPEG 4:2:2 without passing through RGB: half the work."""
    pixels = np.frombuffer(data, np.uint8, width * height * 2).reshape(height, width * 2)
    planes = [np.ascontiguousarray(pixels[:, start::step]) for start, step in ((0, 2), (1, 4))]
    planes.append(np.ascontiguousarray(pixels[:, 3::4]))
    return bytes(simplejpeg.encode_jpeg_yuv_planes(*planes, quality=quality))


class LinuxpyStream:
    """A camera opened through linuxpy, streaming into two mapped buffers."""

    def __init__(self, params: CameraParams) -> None:
        from linuxpy.video.device import BufferFlag, Device, V4L2Error, VideoCapture

        self._error_flag = BufferFlag.ERROR
        self._device = Device(params.device)
        self._device.open()
        try:
            self._capture = VideoCapture(self._device, size=3)
            self._negotiate(params)
            self._capture.open()
        except (V4L2Error, ValueError) as error:
            self._device.close()
            raise OSError(str(error)) from error
        except OSError:
            self._device.close()
            raise

    def _negotiate(self, params: CameraParams) -> None:
        """MJPEG if the camera has it, YUYV otherwise; the driver may change the size."""
        for fourcc in (MJPEG, YUYV):
            self._capture.set_format(params.width, params.height, fourcc)
            given: Any = self._capture.get_format()
            code = int(given.pixel_format)
            self.fourcc = code.to_bytes(4, "little").decode("ascii", "replace")
            self.width, self.height = int(given.width), int(given.height)
            if self.fourcc == fourcc:
                break
        else:
            raise OSError(f"it offers neither MJPEG nor YUYV but {self.fourcc}")
        self._capture.set_fps(params.rate_hz)

    def read(self, timeout_s: float) -> RawFrame | None:
        ready, _, _ = select.select([self._device.fileno()], [], [], timeout_s)
        if not ready:
            return None
        frame = self._capture.buffer.raw_read()
        flags = int(frame.flags)
        monotonic = flags & 0xE000 == 0x2000  # V4L2_BUF_FLAG_TIMESTAMP_MASK, …_MONOTONIC
        stamp_ns = round(frame.timestamp * 1e9) if monotonic else None
        return RawFrame(bytes(frame.data), stamp_ns, bool(flags & int(self._error_flag)))

    def close(self) -> None:
        try:
            self._capture.close()
        except OSError:
            pass  # a camera that was pulled out cannot be told to stop
        finally:
            self._device.close()


def open_stream(params: CameraParams) -> Stream:
    """The real thing; raises ``OSError``."""
    return LinuxpyStream(params)


def create(params: CameraParams) -> V4l2Camera:
    """The driver ``v4l2``."""
    return V4l2Camera(params)
