"""Which recorded sample belongs to which frame. Pure: stamps in, indices and ages out.

Every stamp is int64 Unix epoch ns. An age is frame time minus sample time in seconds; negative
means that the sample is from the frame's future, which only ``nearest`` and ``interpolate`` allow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dialtone_core.clock import NS_PER_S

Stamps = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Match:
    """For each frame the sample ``index`` (the earlier one of two), its age and the verdict.

    ``weight`` is the later sample's share where two are mixed, else 0. ``bad`` marks frames that
    lie outside of tolerance. ``distance_s`` is the age that the verdict is about.
    """

    index: NDArray[np.intp]
    age_s: Floats
    weight: Floats
    distance_s: Floats
    bad: NDArray[np.bool_]


def match(stamps: Stamps, times: Stamps, align: str, max_age_s: float) -> Match:
    """``stamps`` (rising, at least one) against frame ``times``.

    hold, drop: the newest sample that is not younger than the frame. nearest: the closer one.
    interpolate: both neighbours, linear; each must lie within ``max_age_s``.
    """
    before = np.searchsorted(stamps, times, side="right") - 1
    early = before < 0
    before = np.maximum(before, 0)
    after = np.minimum(before + 1, len(stamps) - 1)
    past_s = (times - stamps[before]) / NS_PER_S
    ahead_s = (stamps[after] - times) / NS_PER_S
    none = np.zeros(len(times))
    if align == "nearest":
        later = (ahead_s >= 0) & (ahead_s < np.abs(past_s))
        index = np.where(later, after, before)
        age_s = (times - stamps[index]) / NS_PER_S
        distance_s = np.abs(age_s)
        return Match(index, age_s, none, distance_s, distance_s > max_age_s)
    if align == "interpolate":
        span = stamps[after] - stamps[before]
        share = np.divide(times - stamps[before], span, out=none.copy(), where=span > 0)
        # At the last sample there is no later one: a frame on it is exact, one behind it is not.
        distance_s = np.where(past_s == 0, 0.0, np.maximum(past_s, np.abs(ahead_s)))
        bad = early | (distance_s > max_age_s) | ((span == 0) & (past_s != 0))
        return Match(before, past_s, np.clip(share, 0, 1), distance_s, bad)
    return Match(before, past_s, none, np.abs(past_s), early | (past_s > max_age_s))


def sample(values: Floats, found: Match) -> Floats:
    """The (frames, width) values that ``found`` picks from (samples, width)."""
    picked = values[found.index]
    if not found.weight.any():
        return picked
    after = values[np.minimum(found.index + 1, len(values) - 1)]
    share = found.weight[:, None]
    return picked * (1 - share) + after * share


def grid(start_ns: int, end_ns: int, fps: int) -> Stamps:
    """Frame times from ``start_ns`` to at most ``end_ns``; no error adds up over an hour."""
    if end_ns < start_ns:
        return np.empty(0, np.int64)
    count = (end_ns - start_ns) * fps // NS_PER_S + 1
    return start_ns + (np.arange(count, dtype=np.int64) * NS_PER_S + fps // 2) // fps


def window(series: dict[str, Stamps], max_age_s: dict[str, float]) -> tuple[int, int]:
    """The time that every series covers: from the latest first sample on, until the first one
    has been silent for longer than its ``max_age_s``, and never beyond the last sample of all."""
    start = max(int(each[0]) for each in series.values())
    last = max(int(each[-1]) for each in series.values())
    end = min(int(each[-1]) + round(max_age_s[name] * NS_PER_S) for name, each in series.items())
    return start, min(end, last)


def rate_hz(stamps: Stamps) -> float:
    """Mean rate between the first and the last; 0 for fewer than two."""
    span = int(stamps[-1] - stamps[0]) if len(stamps) > 1 else 0
    return (len(stamps) - 1) * NS_PER_S / span if span > 0 else 0.0
