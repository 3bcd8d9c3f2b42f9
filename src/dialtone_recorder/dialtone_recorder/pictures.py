"""Pictures inside of image messages: where they lie, and their pixels.

JPEG is decoded to the planes it is made of (YUV), not to RGB and back: the video encoder wants
planes, and one conversion fewer is half of the time.
"""

from __future__ import annotations

from typing import NamedTuple

import av
import cv2
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from numpy.typing import NDArray

from dialtone_core.cdr import read_compressed_image
from dialtone_core.errors import WireError
from dialtone_recorder.rosmsg import Reader, parse

Pixels = NDArray[np.uint8]
_COMPRESSED = "sensor_msgs/msg/CompressedImage"
_IMAGE = "sensor_msgs/msg/Image"
PICTURE_TYPES = (_COMPRESSED, _IMAGE)
_JPEG, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
#: Raw encodings by their number of bytes a pixel and the conversion to RGB.
_RAW: dict[str, tuple[int, int | None]] = {
    "rgb8": (3, None), "bgr8": (3, cv2.COLOR_BGR2RGB), "mono8": (1, cv2.COLOR_GRAY2RGB),
    "rgba8": (4, cv2.COLOR_RGBA2RGB), "bgra8": (4, cv2.COLOR_BGRA2RGB),
}  # fmt: skip
_IMAGE_READER = Reader(
    parse(
        _IMAGE,
        "std_msgs/Header header\nuint32 height\nuint32 width\nstring encoding\n"
        "uint8 is_bigendian\nuint32 step\nuint8[] data\n"
        f"{'=' * 80}\nMSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id\n"
        f"{'=' * 80}\nMSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec\n",
    ),
    ["height", "width", "encoding", "step", "data"],
)


class Picture(NamedTuple):
    """A picture in a message: ``payload[start:stop]``. ``format`` is jpeg, png or an encoding."""

    payload: bytes
    start: int
    stop: int
    format: str
    height: int
    width: int
    step: int

    def data(self) -> bytes:
        return self.payload[self.start : self.stop]

    def shape(self) -> tuple[int, int]:
        """(height, width) in pixels; decodes where the message does not say."""
        if self.height:
            return self.height, self.width
        frame = Decoder().frame(self)
        return frame.height, frame.width


def locate(type_name: str, payload: bytes) -> Picture:
    """Find the picture in a message of one of ``PICTURE_TYPES``; raises ``WireError``."""
    if type_name == _COMPRESSED:
        view = read_compressed_image(payload)
        jpeg = payload[view.start : view.start + 2] == _JPEG
        told = "jpeg" if jpeg else view.format.split(";")[-1].split()[0] if view.format else "?"
        return Picture(payload, view.start, view.stop, told, 0, 0, 0)
    height, width, encoding, step, data = _IMAGE_READER.read(payload)
    if encoding not in _RAW:
        raise WireError("encoding", f"{encoding!r}; known are {', '.join(_RAW)}")
    if step < width * _RAW[encoding][0] or len(data) < height * step or not height * width:
        raise WireError("truncated", f"{len(data)} bytes for {height} rows of {step}")
    start = len(payload) - len(data)
    return Picture(payload, start, start + height * step, encoding, height, width, step)


class Decoder:
    """Decodes one camera's pictures; one thread, keeps what JPEG decoding needs."""

    def __init__(self) -> None:
        self._jpeg: VideoCodecContext | None = None

    def frame(self, picture: Picture) -> av.VideoFrame:
        """The picture as libav has it: planes for JPEG, RGB for others; raises ``WireError``."""
        if picture.format != "jpeg":
            return av.VideoFrame.from_ndarray(self._pixels(picture), format="rgb24")
        data = picture.data()
        if data.rfind(_JPEG_END) < 0:
            # The decoder would fill what is missing with grey and say nothing.
            raise WireError("truncated", "a JPEG without its end")
        if self._jpeg is None:
            self._jpeg = VideoCodecContext.create("mjpeg", "r")
            self._jpeg.thread_count = 1
        try:
            frames = self._jpeg.decode(av.Packet(data))
        except av.FFmpegError as error:
            self._jpeg = None
            raise WireError("not_jpeg", str(error)) from error
        if len(frames) != 1:
            raise WireError("not_jpeg", "no picture in it")
        return frames[0]

    def rgb(self, picture: Picture) -> Pixels:
        """(height, width, 3) bytes, red first."""
        if picture.format != "jpeg":
            return self._pixels(picture)
        array: Pixels = self.frame(picture).to_ndarray(format="rgb24")
        return array

    def _pixels(self, picture: Picture) -> Pixels:
        data = np.frombuffer(
            picture.payload, np.uint8, picture.stop - picture.start, picture.start
        )
        if picture.format in _RAW:
            depth, conversion = _RAW[picture.format]
            rows = data.reshape(picture.height, picture.step)[:, : picture.width * depth]
            pixels = rows.reshape(picture.height, picture.width, depth)
            made = pixels if conversion is None else cv2.cvtColor(pixels, conversion)
            return np.ascontiguousarray(made, dtype=np.uint8)
        decoded = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)
        if decoded is None:
            raise WireError("not_an_image", f"format {picture.format!r}")
        return np.asarray(decoded, dtype=np.uint8)


class ToVideo:
    """Makes limited-range yuv420p of even size, which every player and loader takes.

    JPEG is full range (JFIF: BT.601, 0 to 255); video is 16 to 235 unless flagged, and few
    readers look at the flag. An odd last row or column is cut off, because 4:2:0 has none. One
    thread; keeps its converters, since making one costs more than using it.
    """

    def __init__(self) -> None:
        self._planes = VideoReformatter()
        self._rgb = VideoReformatter()
        levels = np.arange(256)
        self._luma = np.rint(16 + levels * 219 / 255).astype(np.uint8)
        self._chroma = np.rint(128 + (levels - 128) * 224 / 255).astype(np.uint8)

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        height, width = frame.height, frame.width
        if height % 2 or width % 2:
            cut = self.rgb(frame)[: height // 2 * 2, : width // 2 * 2]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(cut), format="rgb24")
            height, width = frame.height, frame.width
        if frame.format.name != "yuvj420p":
            full = ColorRange.JPEG
            frame = self._planes.reformat(
                frame, format="yuvj420p", src_color_range=full, dst_color_range=full,
                src_colorspace=Colorspace.ITU601, dst_colorspace=Colorspace.ITU601, threads=1,
            )  # fmt: skip
        planes = frame.to_ndarray()
        limited = np.empty_like(planes)
        cv2.LUT(planes[:height], self._luma, limited[:height])
        cv2.LUT(planes[height:], self._chroma, limited[height:])
        return av.VideoFrame.from_ndarray(limited, format="yuv420p")

    def rgb(self, frame: av.VideoFrame) -> Pixels:
        """(height, width, 3) bytes, red first."""
        made = self._rgb.reformat(frame, format="rgb24", threads=1).to_ndarray()
        return np.asarray(made, dtype=np.uint8)
