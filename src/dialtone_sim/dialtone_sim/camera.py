"""A pinhole camera on the simulated rover: a pose goes in, a picture comes out.

Cheap enough for 30 pictures a second on a fraction of a core: rows of the ground lie at one depth
each, so the ground is a few bands, each a perspective warp of paving drawn at the right
resolution (which also keeps far paving from flickering). The rover is planar: no roll.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dialtone_sim import scene
from dialtone_sim.pose import Pose
from dialtone_sim.scene import Colour, Image, Thing

_FAR_M = 90.0
_HAZE_M = 38.0
#: cv2 draws with so many bits behind the binary point: posts glide instead of jumping.
_SHIFT = 4
_NEAR_M = 0.25
_TEXT_ROWS = 22


@dataclass(frozen=True, slots=True)
class Mount:
    """The camera on ``base_link``: x forward, y left, z up (m); yaw left, pitch down (rad)."""

    x: float = 0.2
    y: float = 0.0
    z: float = 0.45
    yaw: float = 0.0
    pitch: float = 0.08


@dataclass(frozen=True, slots=True)
class Intrinsics:
    """A pinhole without distortion, in pixels; the optical axis meets the picture's middle."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float

    @classmethod
    def from_fov(cls, width: int, height: int, horizontal_fov_rad: float) -> Intrinsics:
        focal = width / 2 / math.tan(horizontal_fov_rad / 2)
        return cls(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2)


@dataclass(frozen=True, slots=True)
class _Band:
    """Rows ``start``..``stop`` of the ground, its paving and how hazy each row is."""

    start: int
    stop: int
    texture: Image
    pixels_per_m: float
    clear: NDArray[np.float32]
    haze: NDArray[np.float32]


class Renderer:
    """Draws into one buffer that it owns: a picture is good until the next ``render``."""

    def __init__(self, intrinsics: Intrinsics, mount: Mount) -> None:
        self.intrinsics = intrinsics
        self.mount = mount
        self._frame: Image = np.empty((intrinsics.height, intrinsics.width, 3), dtype=np.uint8)
        tilt = intrinsics.fy * math.tan(mount.pitch)
        #: The row (with fraction) where the ground's far end lies.
        self.horizon = intrinsics.cy - tilt
        self._things = scene.things()
        self._to_ground = _pixel_to_ground(intrinsics, mount)
        self._bands = self._make_bands()
        self._background = self._make_background()

    def render(self, pose: Pose, caption: str = "", note: str = "") -> Image:
        """The picture (BGR) from ``pose``; ``caption`` in its topmost rows, then ``note``."""
        self._draw_sky(pose)
        for band in self._bands:
            self._draw_band(band, pose)
        for depth, left, thing in self._visible(pose):
            self._draw_thing(thing, depth, left)
        if caption:
            self._draw_text(caption, 0, (245, 245, 245))
        if note:
            self._draw_text(note, _TEXT_ROWS, (90, 90, 255))
        return self._frame

    # Sky and hills

    def _make_background(self) -> Image:
        size = self.intrinsics
        rows = max(0, min(size.height, math.ceil(self.horizon) + 1))
        up = max(1, math.ceil(self.horizon))
        self._rows_of_sky = rows
        self._panorama = scene.panorama(size.fx, up, 2)
        across = np.arange(size.width, dtype=np.float32)
        self._angles = np.arctan((across - size.cx) / size.fx) * size.fx
        # A strip wide enough that any view is one slice of it.
        margin = math.ceil(float(np.ptp(self._angles))) + 2
        self._turn_px = self._panorama.shape[1]
        return np.concatenate([self._panorama, self._panorama[:, :margin]], axis=1)

    def _draw_sky(self, pose: Pose) -> None:
        if self._rows_of_sky == 0:
            return
        yaw = pose.yaw + self.mount.yaw
        start = float(-yaw * self.intrinsics.fx + self._angles[0]) % self._turn_px
        columns = (self._angles - self._angles[0] + np.float32(start)).astype(np.intp)
        strip = self._background[: self._rows_of_sky, columns[0] : columns[-1] + 1]
        np.take(
            strip, columns - columns[0], axis=1, out=self._frame[: self._rows_of_sky], mode="clip"
        )

    # Ground

    def _make_bands(self) -> list[_Band]:
        size, height = self.intrinsics, self.mount.z
        first = max(0, math.floor(self.horizon) + 1)
        rows = np.arange(first, size.height)
        flat = np.abs(
            self._to_ground @ np.stack([np.full(len(rows), size.cx), rows, rows * 0 + 1])
        )
        depth = np.where(rows > self.horizon, flat[0] / np.maximum(flat[2], 1e-9), 1e9)
        along = depth**2 / (height * size.fy)
        across = depth / size.fx
        wanted = np.clip(np.sqrt(1 / (along * across)), 1.0, 128.0)
        level = np.floor(np.log2(wanted)).astype(int)
        bands = []
        for each in sorted(set(level.tolist())):
            chosen = rows[level == each]
            start, stop = int(chosen[0]), int(chosen[-1]) + 1
            reach = min(float(depth[start - first]) * 1.8 + 1, _FAR_M)
            share = np.exp(-depth[start - first : stop - first] / _HAZE_M).astype(np.float32)
            bands.append(self._band(start, stop, 2.0**each, reach, share))
        return bands

    def _band(
        self, start: int, stop: int, pixels_per_m: float, reach: float, share: NDArray[np.float32]
    ) -> _Band:
        tile = scene.paving(pixels_per_m)
        copies = math.ceil((2 * reach + scene.TILE_M) / scene.TILE_M)
        texture = np.ascontiguousarray(np.tile(tile, (copies, copies, 1)))
        clear = np.repeat(share[:, None, None], 1, axis=2)
        haze = (1 - clear) * np.array(scene.HAZE, dtype=np.float32)
        return _Band(start, stop, texture, tile.shape[0] / scene.TILE_M, clear, haze)

    def _draw_band(self, band: _Band, pose: Pose) -> None:
        """Warp the paving into the band's rows, then let it fade into the haze."""
        c, s = math.cos(pose.yaw), math.sin(pose.yaw)
        tile = scene.TILE_M
        middle = band.texture.shape[0] / band.pixels_per_m / 2
        origin = math.floor((middle - tile / 2) / tile) * tile
        x, y = pose.x % tile + origin, pose.y % tile + origin
        scale = band.pixels_per_m
        to_texture = np.array(
            [[scale * c, -scale * s, scale * x], [scale * s, scale * c, scale * y], [0, 0, 1]]
        )
        to_row = np.array([[1, 0, 0], [0, 1, band.start], [0, 0, 1.0]])
        rows = self._frame[band.start : band.stop]
        cv2.warpPerspective(
            band.texture,
            to_texture @ self._to_ground @ to_row,
            (rows.shape[1], rows.shape[0]),
            dst=rows,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=scene.HAZE,
        )
        if band.clear[0, 0, 0] < 0.97:
            np.copyto(rows, rows * band.clear + band.haze, casting="unsafe")

    # Posts and cones

    def _visible(self, pose: Pose) -> list[tuple[float, float, Thing]]:
        """(forward, left) of what stands before the camera, the farthest first."""
        c, s = math.cos(pose.yaw), math.sin(pose.yaw)
        mc, ms = math.cos(self.mount.yaw), math.sin(self.mount.yaw)
        half = self.intrinsics.cx / self.intrinsics.fx
        found = []
        for thing in self._things:
            dx, dy = thing.x - pose.x, thing.y - pose.y
            bx = dx * c + dy * s - self.mount.x
            by = dy * c - dx * s - self.mount.y
            forward, left = bx * mc + by * ms, by * mc - bx * ms
            if forward > _NEAR_M and abs(left) - 1 < forward * half * 1.1:
                found.append((forward, left, thing))
        return sorted(found, key=lambda each: -each[0])

    def _project(self, forward: float, left: float, up: float) -> tuple[float, float]:
        """Pixel of a point given from the camera's foot, level axes (m)."""
        cp, sp = math.cos(self.mount.pitch), math.sin(self.mount.pitch)
        below = self.mount.z - up
        depth = max(forward * cp + below * sp, 0.05)
        size = self.intrinsics
        return (
            size.cx - size.fx * left / depth,
            size.cy + size.fy * (below * cp - forward * sp) / depth,
        )

    def _draw_thing(self, thing: Thing, forward: float, left: float) -> None:
        share = math.exp(-forward / _HAZE_M)
        base, top = self._project(forward, left, 0), self._project(forward, left, thing.height)
        half = self.intrinsics.fx * thing.radius / forward
        self._shadow(base, half, share)
        taper = 0.12 if thing.shape == "cone" else 1.0
        sides = ((-1.0, -0.35, 0.72), (-0.35, 0.4, 1.0), (0.4, 1.0, 0.84))
        for start, stop, light in sides:
            self._strip(base, top, half, taper, (start, stop, 0, 1), thing.colour, light, share)
            bands = ((0.45, 0.68),) if thing.shape == "cone" else ((0.8, 0.92),)
            for low, high in bands:
                white = (240, 240, 240)
                self._strip(base, top, half, taper, (start, stop, low, high), white, light, share)

    def _shadow(self, base: tuple[float, float], half: float, share: float) -> None:
        centre = (round((base[0] + half * 0.5) * 16), round(base[1] * 16))
        axes = (max(1, round(half * 1.7 * 16)), max(1, round(half * 0.35 * 16)))
        colour = _hazed((78, 84, 90), 1.0, share)
        cv2.ellipse(self._frame, centre, axes, 0, 0, 360, colour, -1, cv2.LINE_AA, _SHIFT)

    def _strip(
        self,
        base: tuple[float, float],
        top: tuple[float, float],
        half: float,
        taper: float,
        part: tuple[float, float, float, float],
        colour: Colour,
        light: float,
        share: float,
    ) -> None:
        """Part (from, to across; from, to upwards) of an upright shape that tapers to its top."""
        start, stop, low, high = part
        corners = []
        for side, rise in ((start, low), (stop, low), (stop, high), (start, high)):
            width = half * (1 - (1 - taper) * rise)
            corners.append(
                (
                    base[0] + (top[0] - base[0]) * rise + side * width,
                    base[1] + (top[1] - base[1]) * rise,
                )
            )
        points = np.clip(np.array(corners) * 16, -60_000, 60_000).round().astype(np.int32)
        tone = _hazed(colour, light, share)
        cv2.fillConvexPoly(self._frame, points, tone, cv2.LINE_AA, _SHIFT)

    def _draw_text(self, text: str, top: int, colour: Colour) -> None:
        rows = self._frame[top : top + _TEXT_ROWS]
        cv2.addWeighted(rows, 0.4, rows, 0, 0, dst=rows)
        scale = 0.45 * min(1.0, self.intrinsics.width / 560)
        font = cv2.FONT_HERSHEY_SIMPLEX
        cv2.putText(self._frame, text, (8, top + 15), font, scale, colour, 1, cv2.LINE_AA)


def _hazed(colour: Colour, light: float, share: float) -> Colour:
    b, g, r = (
        round(channel * light * share + haze * (1 - share))
        for channel, haze in zip(colour, scene.HAZE, strict=True)
    )
    return (b, g, r)


def _pixel_to_ground(size: Intrinsics, mount: Mount) -> NDArray[np.float64]:
    """Homography: pixel (column, row, 1) → (x, y, 1) on the ground in ``base_link``, m."""
    cp, sp = math.cos(mount.pitch), math.sin(mount.pitch)
    # Ray of a pixel in level camera axes: forward, left, down.
    ray = np.array(
        [
            [0, -sp / size.fy, cp + sp * size.cy / size.fy],
            [-1 / size.fx, 0, size.cx / size.fx],
            [0, cp / size.fy, sp - cp * size.cy / size.fy],
        ]
    )
    c, s = math.cos(mount.yaw), math.sin(mount.yaw)
    placed = np.array(
        [
            [mount.z * c, -mount.z * s, mount.x],
            [mount.z * s, mount.z * c, mount.y],
            [0, 0, 1],
        ]
    )
    return np.asarray(placed @ ray)
