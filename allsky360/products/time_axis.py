"""From frames at uneven times to a picture whose columns are even in time, with gaps shown."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

GAP_FACTOR = 2.5
_NEIGHBOURS = 5


def usual_step_s(times_s: Float) -> Float:
    """Usual time between frames around each pause, ``(N - 1,)``: a running median."""
    steps = np.diff(times_s)
    n = len(steps)
    out = np.empty(n)
    for k in range(n):
        out[k] = np.median(steps[max(0, k - _NEIGHBOURS) : k + _NEIGHBOURS + 1])
    return out


def frame_at(times_s: Float, exposures_s: Float, instants_s: Float) -> NDArray[np.int64]:
    """Return which frame shows each instant, -1 in a gap.

    A pause longer than 2.5 times the usual one (or the exposure) is a gap; each frame beside it
    reaches half a usual pause into it. Elsewhere the nearest frame shows an instant.

    Parameters
    ----------
    times_s
        Middles of the frames, growing, ``(N,)``, N at least 1.
    exposures_s
        Their lengths, ``(N,)``.
    instants_s
        ``(M,)``.
    """
    n = len(times_s)
    if n > 1:
        steps = np.diff(times_s)
        usual = np.maximum(usual_step_s(times_s), np.maximum(exposures_s[1:], exposures_s[:-1]))
        reach = np.where(steps > GAP_FACTOR * usual, 0.5 * usual, 0.5 * steps)
        first, last = min(reach[0], 0.5 * usual[0]), min(reach[-1], 0.5 * usual[-1])
        before = np.concatenate([[first], reach])
        after = np.concatenate([reach, [last]])
    else:
        before = after = np.maximum(0.5 * exposures_s, 5.0)
    right = np.searchsorted(times_s, instants_s)
    left = np.clip(right - 1, 0, n - 1)
    right = np.clip(right, 0, n - 1)
    nearest = np.where(
        np.abs(instants_s - times_s[left]) <= np.abs(times_s[right] - instants_s), left, right
    )
    offset = instants_s - times_s[nearest]
    shown = (offset <= after[nearest] + 1e-6) & (offset >= -before[nearest] - 1e-6)
    return np.where(shown, nearest, -1)


def even_columns(
    columns: NDArray[np.uint8], times_s: Float, exposures_s: Float, instants_s: Float
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return columns at even instants, and where there is a gap.

    Where several frames fall on one column they are averaged.

    Parameters
    ----------
    columns
        ``(N, rows, 3)``.
    times_s, exposures_s
        Of the frames, as in :func:`frame_at`.
    instants_s
        ``(M,)``, even.

    Returns
    -------
    picture
        ``(rows, M, 3)``, black in gaps.
    gap
        ``(M,)``.
    """
    at = frame_at(times_s, exposures_s, instants_s)
    step = instants_s[1] - instants_s[0] if len(instants_s) > 1 else 1.0
    bins = np.round((times_s - instants_s[0]) / step).astype(int)
    inside = (bins >= 0) & (bins < len(instants_s))
    count = np.bincount(bins[inside], minlength=len(instants_s))
    out = np.zeros((len(instants_s), *columns.shape[1:]), np.uint8)
    for m in range(len(instants_s)):
        if count[m] > 1:
            out[m] = np.round(columns[inside & (bins == m)].mean(axis=0)).astype(np.uint8)
        elif at[m] >= 0:
            out[m] = columns[at[m]]
    gap = (at < 0) & (count == 0)
    return np.ascontiguousarray(out.transpose(1, 0, 2)), gap
