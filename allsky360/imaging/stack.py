"""Many exposures of the same thing averaged into one, without what hit only one of them.

A sigma-clipped mean in two passes over the frames, in memory that does not grow with their number:

1. sums of ``d``, ``d²`` and the extremes, where ``d`` is the difference from the median of the
   first three frames (so that single precision suffices). Without its lowest and highest value
   each pixel gives a mean ``m`` and a scatter ``s`` that one cosmic ray cannot spoil.
2. the mean of the values with ``|d - m| <= k max(s, s0)``, where ``s0`` is the scatter of the
   typical pixel. ``s`` is scaled by what trimming takes from it, found from the frames themselves.

With fewer than five frames nothing can be told apart and the plain mean is taken.
Frames whose level is far from that of the others (light leaks, a shutter that stuck) are left out
and named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Frames = Callable[[], Iterator[NDArray[Any]]]
"""Gives the frames anew each time it is called."""

CLIP = 4.0
"""Standard deviations beyond which a value is left out."""

FEWEST = 5
"""Frames from which on clipping works."""

UNSTABLE = 6.0
"""Times the typical scatter from which on a pixel counts as unstable."""

ODD_LEVELS = 8.0
"""Robust standard deviations of the frames' levels beyond which a frame is odd."""


@dataclass(frozen=True, eq=False)
class Stack:
    """The mean of many frames.

    Attributes
    ----------
    mean
        ``(H, W)`` or ``(H, W, 3)`` float32.
    noise
        Standard deviation of a typical pixel in one frame.
    unstable
        Flat positions whose scatter is far above that; empty with fewer than five frames.
    used
        Numbers of the frames that went in.
    odd
        Numbers of those left out for their level.
    clipped
        Share of values left out.
    """

    mean: NDArray[np.float32]
    noise: float
    unstable: NDArray[np.int64]
    used: tuple[int, ...]
    odd: tuple[int, ...]
    clipped: float


def stack(frames: Frames, *, scale: Sequence[float] | None = None) -> Stack:
    """Average frames.

    Parameters
    ----------
    frames
        All of one shape; gone through twice or three times.
    scale
        What each frame is multiplied by, for flats of changing brightness; default 1.

    Raises
    ------
    ValueError
        No frame, or frames of different shape.
    """
    levels = frame_levels(frames)
    factors = [1.0] * len(levels) if scale is None else list(scale)
    if len(factors) != len(levels):
        raise ValueError(f"{len(factors)} factors for {len(levels)} frames")
    odd = odd_levels([lv * f for lv, f in zip(levels, factors, strict=True)])
    used = [k for k in range(len(levels)) if k not in odd]

    def good() -> Iterator[NDArray[np.float32]]:
        for k, frame in enumerate(frames()):
            if k not in odd:
                yield frame.astype(np.float32) * np.float32(factors[k])

    base = _base(good, min(3, len(used)))
    if len(used) < FEWEST:
        mean, noise = _plain(good, base, len(used))
        return Stack(mean, noise, np.zeros(0, np.int64), tuple(used), tuple(odd), 0.0)
    centre, scatter = _trimmed(good, base, len(used))
    return _clipped(good, base, centre, scatter, used, odd)


def frame_levels(frames: Frames) -> list[float]:
    """Return the level of a sample of each frame; refuse frames of different shape."""
    levels: list[float] = []
    shape: tuple[int, ...] | None = None
    for frame in frames():
        if shape is not None and frame.shape != shape:
            raise ValueError(f"frame {len(levels)} is {frame.shape}, those before {shape}")
        shape = frame.shape
        levels.append(middle_mean(frame[1::7, ::5] if min(frame.shape[:2]) > 7 else frame))
    if not levels:
        raise ValueError("there is no frame")
    return levels


def middle_mean(values: NDArray[Any]) -> float:
    """Return the mean of the middle half: robust, and finer than the converter's step."""
    ordered = np.sort(values, axis=None)
    quarter = ordered.size // 4
    return float(np.mean(ordered[quarter : ordered.size - quarter], dtype=float))


def odd_levels(levels: Sequence[float]) -> list[int]:
    """Return the numbers of the frames whose level is far from the median of all.

    Far is eight robust standard deviations and at least 1 % of the level (of bias and dark, that is
    pedestal, which is stable to far less) and 2 ADU. Fewer than four frames cannot outvote one.
    """
    if len(levels) < 4:
        return []
    values = np.asarray(levels)
    middle = float(np.median(values))
    spread = 1.4826 * float(np.median(np.abs(values - middle)))
    far = np.abs(values - middle) > max(ODD_LEVELS * spread, 0.01 * abs(middle), 2.0)
    return [int(k) for k in np.flatnonzero(far)]


def _base(frames: Frames, count: int) -> NDArray[np.float32]:
    """Median of the first three frames (their mean, where there are fewer)."""
    source = frames()
    first = [next(source) for _ in range(count)]
    if count < 3:
        return np.asarray(sum(first) / np.float32(count), np.float32)
    a, b, c = first
    return np.maximum(np.minimum(a, b), np.minimum(np.maximum(a, b), c))


def _plain(
    frames: Frames, base: NDArray[np.float32], count: int
) -> tuple[NDArray[np.float32], float]:
    total, squares = np.zeros_like(base), 0.0
    for frame in frames():
        frame -= base
        total += frame
        squares += _robust_variance(frame)
    # Differences from the mean of n frames have (n - 1) / n of the variance.
    variance = squares / count * count / (count - 1) if count > 1 else 0.0
    return base + total / np.float32(count), float(np.sqrt(variance))


def _robust_variance(difference: NDArray[np.float32]) -> float:
    values = difference[1::5, ::3].reshape(-1)
    for _ in range(3):
        middle, sigma = float(np.mean(values, dtype=float)), float(np.std(values, dtype=float))
        kept = values[np.abs(values - middle) <= max(4.0 * sigma, 1e-6)]
        if kept.size == values.size:
            break
        values = kept
    return float(np.var(values, dtype=float))


def _trimmed(
    frames: Frames, base: NDArray[np.float32], count: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean (less ``base``) and standard deviation of each pixel without its two extremes."""
    total, squares = np.zeros_like(base), np.zeros_like(base)
    low, high = np.full_like(base, np.inf), np.full_like(base, -np.inf)
    for d in frames():
        d -= base
        np.minimum(low, d, out=low)
        np.maximum(high, d, out=high)
        total += d
        d *= d
        squares += d
    total -= low
    total -= high
    low *= low
    high *= high
    squares -= low
    squares -= high
    del low, high
    total /= np.float32(count - 2)
    squares /= np.float32(count - 2)
    squares -= total * total
    np.maximum(squares, 0.0, out=squares)
    np.sqrt(squares, out=squares)
    return total, squares


def _clipped(
    frames: Frames,
    base: NDArray[np.float32],
    centre: NDArray[np.float32],
    scatter: NDArray[np.float32],
    used: list[int],
    odd: list[int],
) -> Stack:
    first = next(frames())
    first -= base
    first -= centre
    noise = float(np.sqrt(_robust_variance(first)))
    # A converter's coarse steps may hide the noise: a step is then what there is of it.
    typical = max(noise, 0.3)
    sample = np.sort(scatter[::5, ::3], axis=None)
    level = float(np.mean(sample[: max(1, sample.size * 9 // 10)], dtype=float))
    scatter *= np.float32(noise / level if level > 0 else 1.0)
    unstable = np.flatnonzero(scatter > UNSTABLE * typical)
    np.maximum(scatter, np.float32(typical), out=scatter)
    scatter *= np.float32(CLIP)
    total = np.zeros_like(base)
    number = np.zeros(base.shape, np.uint16)
    for d in frames():
        d -= base
        good = np.abs(d - centre) <= scatter
        number += good
        d *= good
        total += d
    kept = float(number.sum(dtype=np.int64)) / (number.size * len(used))
    np.divide(total, number, out=centre, where=number > 0)
    centre += base
    return Stack(centre, noise, unstable, tuple(used), tuple(odd), 1.0 - kept)
