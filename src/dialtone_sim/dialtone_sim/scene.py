"""The world that the simulated cameras see: paving, posts and cones, hills under a sky.

Everything is drawn once from a fixed seed, so that two runs see the same world. Colours are BGR,
lengths metres in ``odom`` (x east, y north, z up).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Colour = tuple[int, int, int]

#: What everything fades into with distance.
HAZE: Colour = (222, 208, 196)
_SKY_TOP: Colour = (196, 142, 84)

#: The paving repeats after so many metres.
TILE_M = 8.0
_SLABS = 8
_SEED = 7


@dataclass(frozen=True, slots=True)
class Thing:
    """Something that stands at (x, y): a ``post`` or a ``cone`` of ``height`` and ``radius``."""

    shape: str
    x: float
    y: float
    radius: float
    height: float
    colour: Colour


_PALETTE: tuple[Colour, ...] = (
    (60, 60, 214),
    (62, 160, 240),
    (72, 205, 235),
    (96, 168, 64),
    (190, 120, 48),
    (160, 70, 150),
)
_CONE: Colour = (40, 110, 245)


def things() -> list[Thing]:
    """A slalom of cones along x, a ring of posts at 7 m and a wide one at 16 m."""
    found = [Thing("cone", 3.0 + 2.5 * i, 0.9 * (-1) ** i, 0.16, 0.5, _CONE) for i in range(6)]
    for count, distance, height in ((12, 7.0, 1.3), (20, 16.0, 1.9)):
        for i in range(count):
            angle = math.tau * (i + 0.5) / count
            x, y = distance * math.cos(angle), distance * math.sin(angle)
            found.append(Thing("post", x, y, 0.11, height, _PALETTE[i % len(_PALETTE)]))
    return found


def paving(pixels_per_m: float) -> Image:
    """One tile of slabs, ``TILE_M`` square, that joins itself on all sides.

    Row 0 lies at y = 0 and rows grow with y; columns grow with x.
    """
    size = round(TILE_M * pixels_per_m)
    full = _full_paving()
    if size == full.shape[0]:
        return full
    shrunk = cv2.resize(full, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(shrunk, dtype=np.uint8)


@cache
def _full_paving(size: int = 1024) -> Image:
    random = np.random.default_rng(_SEED)
    slab = size // _SLABS
    tint = random.normal(0, 7, (_SLABS, _SLABS, 1)) + random.normal(0, 2.5, (_SLABS, _SLABS, 3))
    for row, column, shade in ((1, 2, (-6, 6, 34)), (5, 6, (30, 4, -12)), (6, 1, (-14, 26, 4))):
        tint[row, column] += shade
    ground = np.array([128, 138, 146]) + np.repeat(np.repeat(tint, slab, 0), slab, 1)
    ground += _noise(random, size, 256) * 4 + _noise(random, size, 48) * 5
    ground += _noise(random, size, 6) * 5 + random.normal(0, 4, (size, size, 1))
    joint = np.minimum(np.arange(size) % slab, slab - 1 - np.arange(size) % slab)
    depth = np.minimum(joint[:, None], joint[None, :])[:, :, None]
    ground *= np.clip(0.55 + 0.45 * depth / 2.5, 0.55, 1)
    return np.asarray(np.clip(ground, 0, 255), dtype=np.uint8)


def _noise(random: np.random.Generator, size: int, cells: int) -> NDArray[np.float64]:
    """Smooth noise of about −1..1 that wraps round, ``cells`` to a side."""
    grid = random.normal(0, 1, (cells, cells)).astype(np.float32)
    wrapped = np.pad(grid, 2, mode="wrap")
    scale = size / cells
    large = cv2.resize(wrapped, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    edge = round(2 * scale)
    return np.asarray(large[edge : edge + size, edge : edge + size, None], dtype=np.float64)


def panorama(pixels_per_rad: float, up: int, down: int) -> Image:
    """Hills against the sky, all round: ``up`` rows above the horizon and ``down`` below it.

    Column 0 looks along +x and columns grow clockwise, as the picture does from left to right.
    """
    width = round(math.tau * pixels_per_rad)
    angle = np.arange(width) / width * math.tau
    strip = np.empty((up + down, width, 3), dtype=np.uint8)
    strip[:] = sky(up + down, up)[:, None, :]
    random = np.random.default_rng(_SEED)
    rows = np.arange(up + down)[:, None]
    for base, height, colour in (
        (0.040, 0.026, (196, 178, 158)),
        (0.022, 0.016, (168, 158, 128)),
        (0.008, 0.010, (132, 146, 110)),
    ):
        ridge = np.zeros(width)
        for order in range(2, 26):
            phase = random.uniform(0, math.tau)
            ridge += np.sin(order * angle + phase) * random.normal() / order**0.8
        top = up - (base + height * ridge / np.abs(ridge).max()) * pixels_per_rad
        strip[(rows >= top[None, :]) & (rows <= up + down)] = colour
    return strip


def sky(rows: int, horizon: int) -> Image:
    """``rows`` colours from the zenith's to the haze, which is reached at row ``horizon``."""
    share = np.clip(np.arange(rows) / max(horizon, 1), 0, 1)[:, None] ** 1.6
    colours = np.array(_SKY_TOP) * (1 - share) + np.array(HAZE) * share
    return np.asarray(colours, dtype=np.uint8)
