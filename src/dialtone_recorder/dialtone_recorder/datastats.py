"""LeRobot's statistics of a feature: min, max, mean, std, count and five quantiles.

Numbers: exact, over every frame. Pictures: over every n-th pixel of evenly spread frames, from
a histogram of 256 levels, scaled to 0 to 1 and shaped [3][1][1].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
Stats = dict[str, Any]


def of_numbers(values: NDArray[Any]) -> Stats:
    """Statistics of (frames, width) numbers as lists of ``width``."""
    exact = values.astype(np.float64).reshape(len(values), -1)
    low, high = exact.min(axis=0), exact.max(axis=0)
    # The mean of equal numbers may differ from them in the last bit; nothing may leave min..max.
    mean = np.clip(exact.mean(axis=0), low, high)
    told = {
        "min": low.tolist(),
        "max": high.tolist(),
        "mean": mean.tolist(),
        "std": np.where(low == high, 0.0, exact.std(axis=0)).tolist(),
        "count": [len(values)],
    }
    found = np.quantile(exact, list(QUANTILES.values()), axis=0)
    return told | {name: row.tolist() for name, row in zip(QUANTILES, found, strict=True)}


def of_colours(histogram: NDArray[np.int64], frames: int) -> Stats:
    """Statistics of pictures from their (3, 256) histogram of ``frames`` frames."""
    levels = np.arange(256) / 255
    total = histogram.sum(axis=1)
    mean = histogram @ levels / total
    square = histogram @ levels**2 / total
    told = {
        "min": _shaped([levels[np.flatnonzero(row)[0]] for row in histogram]),
        "max": _shaped([levels[np.flatnonzero(row)[-1]] for row in histogram]),
        "mean": _shaped(mean),
        "std": _shaped(np.sqrt(np.maximum(0, square - mean**2))),
        "count": [frames],
    }
    summed = histogram.cumsum(axis=1)
    for name, share in QUANTILES.items():
        ranks = share * (total - 1)
        told[name] = _shaped(
            [
                levels[np.searchsorted(row, rank, "right")]
                for row, rank in zip(summed, ranks, strict=True)
            ]
        )
    return told


def _shaped(values: Any) -> list[list[list[float]]]:
    return [[[float(value)]] for value in values]


def combine(parts: Sequence[Stats]) -> Stats:
    """Statistics of several episodes from theirs; quantiles as their weighted mean.

    That is what LeRobot's own tools do, and all that can be done without the pictures.
    """
    counts = np.array([each["count"][0] for each in parts], dtype=np.float64)
    weights = counts / counts.sum()
    stacked = {k: np.array([each[k] for each in parts]) for k in parts[0] if k != "count"}

    def mixed(values: NDArray[Any]) -> NDArray[Any]:
        return np.tensordot(weights, values, axes=1)

    mean = mixed(stacked["mean"])
    square = mixed(stacked["std"] ** 2 + (stacked["mean"] - mean) ** 2)
    told = {
        "min": stacked["min"].min(axis=0).tolist(),
        "max": stacked["max"].max(axis=0).tolist(),
        "mean": mean.tolist(),
        "std": np.sqrt(square).tolist(),
        "count": [int(counts.sum())],
    }
    return told | {name: mixed(stacked[name]).tolist() for name in QUANTILES}


def sampled_frames(frames: int) -> set[int]:
    """The frames whose pictures count, as many as LeRobot takes: frames^0.75, 100 to 10,000."""
    count = min(frames, max(100, min(int(frames**0.75), 10_000)))
    return {round(number) for number in np.linspace(0, frames - 1, count)}
