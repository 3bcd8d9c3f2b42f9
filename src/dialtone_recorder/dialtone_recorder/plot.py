"""A picture of an episode: when each topic spoke, and a contact sheet of what cameras saw."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from dialtone_core.cdr import read_compressed_image
from dialtone_core.clock import NS_PER_S
from dialtone_core.errors import WireError
from dialtone_recorder.analyse import TopicReport
from dialtone_recorder.intake import Intake

WIDTH = 1600
_LEFT, _RIGHT, _ROW, _TOP = 420, 110, 26, 64
_FRAMES, _THUMB = 8, (190, 143)
_INK, _FAINT, _GRID, _PAPER = (40, 40, 40), (130, 130, 130), (232, 232, 232), (255, 255, 255)
_BAR, _GAP = (176, 114, 40), (60, 60, 220)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
#: Pictures larger than this many bytes are not decoded for a thumbnail.
_MAX_PICTURE = 64 << 20
COMPRESSED = "sensor_msgs/msg/CompressedImage"


def draw(intake: Intake, reports: Mapping[tuple[str, str], TopicReport]) -> Any:
    """The whole picture: BGR, uint8, (height, 1600, 3)."""
    used = sorted(
        (each for each in reports.values() if each.stamps_ns),
        key=lambda each: each.stats.topic.name,
    )
    cameras = [each for each in used if each.stats.topic.type == COMPRESSED]
    height = _TOP + _ROW * len(used) + 50 + len(cameras) * (_THUMB[1] + 34) + 10
    image = np.full((height, WIDTH, 3), 255, np.uint8)
    title = f"{intake.name}   {intake.duration_s:.1f} s   {intake.messages_total} messages"
    _text(image, title, (12, 30), 0.62, _INK)
    _axis(image, intake, _TOP + _ROW * len(used))
    for number, report in enumerate(used):
        _row(image, intake, report, _TOP + number * _ROW)
    top = _TOP + _ROW * len(used) + 50
    for report in cameras:
        _sheet(image, intake, report, top)
        top += _THUMB[1] + 34
    return image


def to_png(image: Any) -> bytes:
    """The picture as a PNG file's bytes."""
    return bytes(cv2.imencode(".png", image)[1])


def _text(image: Any, text: str, at: tuple[int, int], scale: float, colour: Any) -> None:
    ascii_only = text.encode("ascii", "replace").decode()
    cv2.putText(image, ascii_only, at, _FONT, scale, colour, 1, cv2.LINE_AA)


def _x(intake: Intake, stamp_ns: int) -> int:
    span_ns = max(1, intake.end_ns - intake.start_ns)
    return _LEFT + round((WIDTH - _LEFT - _RIGHT) * (stamp_ns - intake.start_ns) / span_ns)


def _axis(image: Any, intake: Intake, bottom: int) -> None:
    """Vertical lines at round seconds, about ten of them."""
    length_s = max(intake.duration_s, 1e-3)
    steps = [each * 10.0**power for power in range(-3, 6) for each in (1, 2, 5)]
    step_s = next((each for each in steps if length_s / each <= 10), steps[-1])
    for number in range(int(length_s / step_s) + 1):
        x = _x(intake, intake.start_ns + round(number * step_s * NS_PER_S))
        cv2.line(image, (x, _TOP - 8), (x, bottom), _GRID, 1)
        _text(image, f"{number * step_s:g} s", (x - 10, _TOP - 14), 0.4, _FAINT)


def _row(image: Any, intake: Intake, report: TopicReport, top: int) -> None:
    """Name, a bar as dark as the topic was busy, red where it was silent for too long, rate."""
    name = report.stats.topic.name
    shown = name if len(name) <= 46 else "..." + name[-43:]
    _text(image, shown, (12, top + 17), 0.45, _INK)
    stamps = np.array(report.stamps_ns, dtype=np.int64)
    width = WIDTH - _LEFT - _RIGHT
    span_ns = max(1, intake.end_ns - intake.start_ns)
    at = np.minimum((stamps - intake.start_ns) * width // span_ns, width - 1)
    counts = np.bincount(np.clip(at, 0, width - 1), minlength=width)
    shade = np.minimum(1.0, counts / max(1, np.percentile(counts[counts > 0], 90)))[:, None]
    strength = np.where(shade > 0, 0.35 + 0.65 * shade, 0.0)
    colours = (1 - strength) * 255 + strength * np.array(_BAR)
    image[top + 5 : top + 21, _LEFT : _LEFT + width] = colours.astype(np.uint8)[None]
    gaps = report.gaps_s()
    if len(gaps) > 2:
        limit_s = max(5 * float(np.median(gaps)), 3 * intake.duration_s / width)
        for index in np.flatnonzero(gaps > limit_s):
            left, right = _x(intake, stamps[index]), _x(intake, stamps[index + 1])
            cv2.rectangle(image, (left, top + 11), (max(left + 2, right), top + 14), _GAP, -1)
    told = f"{report.stats.rate_hz():.1f} Hz" if len(stamps) > 1 else "1 message"
    _text(image, told, (WIDTH - _RIGHT + 8, top + 17), 0.42, _INK)


def _sheet(image: Any, intake: Intake, report: TopicReport, top: int) -> None:
    """Frames at equal distances, each under its time."""
    topic = report.stats.topic.name
    _text(image, topic, (12, top + 4), 0.45, _INK)
    span_ns = intake.end_ns - intake.start_ns
    for number in range(_FRAMES):
        wanted_ns = intake.start_ns + round((number + 0.5) * span_ns / _FRAMES)
        index = min(bisect_left(report.stamps_ns, wanted_ns), len(report.stamps_ns) - 1)
        stamp_ns = report.stamps_ns[index]
        left = 12 + number * (_THUMB[0] + 7)
        label = f"{(stamp_ns - intake.start_ns) / NS_PER_S:.1f} s"
        picture = _thumbnail(intake, topic, stamp_ns)
        box = image[top + 12 : top + 12 + _THUMB[1], left : left + _THUMB[0]]
        if picture is None:
            box[:] = _GRID
            _text(image, "unreadable", (left + 50, top + 12 + _THUMB[1] // 2), 0.4, _FAINT)
        else:
            box[:] = picture
        _text(image, label, (left + 4, top + 6 + _THUMB[1]), 0.4, _PAPER)


def _thumbnail(intake: Intake, topic: str, stamp_ns: int) -> Any:
    for message in intake.messages(stamp_ns, stamp_ns + 1, [topic]):
        try:
            view = read_compressed_image(message.data)
        except WireError:
            return None
        if view.stop - view.start > _MAX_PICTURE or view.stop == view.start:
            return None
        data = np.frombuffer(message.data, np.uint8, view.stop - view.start, view.start)
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR)
        return None if picture is None else _fit(picture)
    return None


def _fit(picture: Any) -> Any:
    """Into the thumbnail's size, with its proportions, on grey."""
    height, width = picture.shape[:2]
    scale = min(_THUMB[0] / width, _THUMB[1] / height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    box = np.full((_THUMB[1], _THUMB[0], 3), 90, np.uint8)
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    top, left = (_THUMB[1] - size[1]) // 2, (_THUMB[0] - size[0]) // 2
    box[top : top + size[1], left : left + size[0]] = small
    return box
