"""Row and column pattern noise: a level of its own for every line the sensor read.

Many CMOS sensors add to each row (or column) a small random level; the eye sees it as streaks long
before it matters to a single pixel. A line's level is measured where there is nothing but it:

border
    The mean of the line's pixels in a dark border or overscan, where one is given and wide enough.
residual
    Else from the picture: each line is cut into segments; the median of a segment's like-coloured
    pixels ignores stars; the running median of these over :data:`WINDOW` like-coloured lines is
    sky, and is subtracted; the median over the segments is the level. Only what changes from line
    to line is taken: gradients, the Milky Way and clouds stay.

Levels are centred on 0 and nothing else of the picture changes. Off by default: a sensor without
the defect gains nothing. Run it on calibrated exposures, before they are merged.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from allsky360.arrays import Array, to_host
from allsky360.arrays.generic import on_device_of

VERSION = 1

SEGMENTS = 24
SAMPLES = 40
"""Pixels of each segment and colour that are looked at."""

WINDOW = 15
"""Like-coloured lines whose running median is sky."""

BORDER_PIXELS = 32
"""A line with fewer dark pixels is measured by its residual."""


def line_levels(
    frame: Array,
    *,
    axis: Literal["rows", "columns"] = "rows",
    mosaic: bool,
    dark: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """Measure the level of each line, relative to the others.

    Parameters
    ----------
    frame
        ``(H, W)`` float32 on any device.
    axis
        Which lines.
    mosaic
        Whether like-coloured pixels are two apart.
    dark
        ``(H, W)`` bool on the host, True = border without light; None: there is none.

    Returns
    -------
    NDArray
        ``(H,)`` or ``(W,)`` float32, the frame's unit.
    """
    if axis not in ("rows", "columns"):
        raise ValueError(f"axis must be rows or columns, not {axis!r}")
    phases = 2 if mosaic else 1
    across = frame.shape[1 if axis == "rows" else 0]
    stride = max(1, across // (SEGMENTS * SAMPLES * phases)) * phases
    parts = []
    for phase in range(phases):
        view = frame[:, phase::stride] if axis == "rows" else frame[phase::stride, :]
        host = to_host(view)
        parts.append(_residual(host if axis == "rows" else host.T, phases))
    levels = np.asarray(np.median(np.concatenate(parts, axis=1), axis=1), np.float32)
    if dark is not None:
        host, known = to_host(frame), dark
        if axis == "columns":
            host, known = host.T, known.T
        levels = _from_border(host, known, levels)
    return levels - np.float32(np.median(levels))


def remove_levels(
    frame: Array, levels: NDArray[np.float32], *, axis: Literal["rows", "columns"] = "rows"
) -> Array:
    """Subtract the level of each line from ``(H, W)``; a new array."""
    there = on_device_of(frame, levels)
    return frame - (there[:, None] if axis == "rows" else there[None, :])


def remove_pattern(
    frame: Array,
    *,
    rows: bool = True,
    columns: bool = False,
    mosaic: bool,
    dark: NDArray[np.bool_] | None = None,
) -> Array:
    """Measure and subtract the levels of rows and columns of one calibrated exposure."""
    if rows:
        frame = remove_levels(frame, line_levels(frame, axis="rows", mosaic=mosaic, dark=dark))
    if columns:
        levels = line_levels(frame, axis="columns", mosaic=mosaic, dark=dark)
        frame = remove_levels(frame, levels, axis="columns")
    return frame


def _residual(lines: NDArray[np.float32], phases: int) -> NDArray[np.float32]:
    """Median of each segment less its running median over like lines: ``(lines, segments)``."""
    count, width = lines.shape
    segments = max(1, min(SEGMENTS, width // 8))
    size = width // segments
    cut = lines[:, : segments * size].reshape(count, segments, size)
    medians = np.median(cut, axis=2)
    out = np.empty_like(medians)
    for phase in range(phases):
        part = medians[phase::phases]
        out[phase::phases] = part - _running_median(part)
    return out


def _running_median(values: NDArray[np.float32]) -> NDArray[np.float32]:
    half = min(WINDOW // 2, max(0, (len(values) - 1) // 2))
    padded = np.pad(values, ((half, half), (0, 0)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1, axis=0)
    return np.asarray(np.median(windows, axis=-1), values.dtype)


def _from_border(
    lines: NDArray[np.float32], dark: NDArray[np.bool_], levels: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Replace the levels of lines that cross enough of the border."""
    count = dark.sum(axis=1)
    if not (count >= BORDER_PIXELS).any():
        return levels
    values = lines[dark]
    middle = float(np.median(values))
    spread = 1.4826 * float(np.median(np.abs(values - middle)))
    # Far outliers are hot pixels; the level of a line is a fraction of the spread.
    near = dark & (np.abs(lines - middle) < 6.0 * max(spread, 1e-6))
    number = near.sum(axis=1)
    means = np.where(near, lines - middle, 0.0).sum(axis=1, dtype=float) / np.maximum(number, 1)
    return np.where(number >= BORDER_PIXELS, means, levels).astype(np.float32)
