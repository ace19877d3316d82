"""Lines on the sky as unit vectors, and the parts of them a picture shows.

Vectors are (north, east, up) and apparent: refraction is already in them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from allsky360.sky.catalogue import altaz_of, horizon_vectors
from allsky360.sky.frames import unit_vectors
from allsky360.sky.lens import LensModel
from allsky360.sky.refraction import refraction_deg

Float = NDArray[np.float64]

STEP_DEG = 2.0
_BISECTIONS = 14


def great_circles(paths: Sequence[Float]) -> list[Float]:
    """Return each path of unit vectors ``(N, 3)`` with points at most ``STEP_DEG`` apart."""
    if not paths:
        return []
    # a piece of no length before each path gives its first point
    a = np.concatenate([np.concatenate([p[:1], p[:-1]]) for p in paths])
    b = np.concatenate(paths)
    angle = np.arctan2(np.linalg.norm(np.cross(a, b), axis=1), (a * b).sum(axis=1))
    n = np.maximum(1, np.ceil(np.degrees(angle) / STEP_DEG)).astype(np.intp)
    piece = np.repeat(np.arange(len(n)), n)
    step = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n) + 1
    f = (step / n[piece])[:, None]
    # the normalised blend lies on the great circle; its steps are not quite even, which is no harm
    along = (1.0 - f) * a[piece] + f * b[piece]
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    counts = np.add.reduceat(n, np.cumsum([0, *(len(p) for p in paths[:-1])]))
    return np.split(along, np.cumsum(counts)[:-1])


def parallel(latitude_deg: float, step_deg: float = STEP_DEG) -> Float:
    """Return the closed circle of a latitude in its own frame, ``(N, 3)``."""
    n = max(24, int(np.ceil(360.0 * np.cos(np.radians(latitude_deg)) / step_deg)))
    return unit_vectors(np.linspace(0.0, 360.0, n + 1), latitude_deg)


def half_meridian(longitude_deg: float, low_deg: float, high_deg: float) -> Float:
    """Return the half circle of a longitude between two latitudes, ``(N, 3)``."""
    n = max(2, int(np.ceil((high_deg - low_deg) / STEP_DEG)) + 1)
    return unit_vectors(longitude_deg, np.linspace(low_deg, high_deg, n))


def lifted(vectors: Float, pressure_mbar: float) -> Float:
    """Lift geometric (north, east, up) vectors by refraction."""
    altitude, azimuth = altaz_of(vectors)
    return horizon_vectors(
        altitude + refraction_deg(altitude, pressure_mbar=pressure_mbar), azimuth
    )


def visible_pieces(
    lens: LensModel, paths: Sequence[Float], horizon_deg: float
) -> list[list[Float]]:
    """Return, for each path of unit vectors, its visible parts in pixels, ``(M, 2)`` each.

    A path is cut where it goes below ``horizon_deg``, leaves the field of the lens or the frame.
    """
    if not paths:
        return []
    vectors = np.concatenate(paths)
    owner = np.repeat(np.arange(len(paths)), [len(p) for p in paths])
    floor = np.sin(np.radians(horizon_deg)) - 1e-9

    def look(v: Float) -> tuple[Float, NDArray[np.bool_]]:
        altitude, azimuth = altaz_of(v)
        x, y, _ = lens.project(altitude, azimuth)
        at = np.stack([x, y], axis=-1)
        return at, (v[:, 2] >= floor) & np.isfinite(x)

    pixels, inside = look(vectors)
    cut = np.flatnonzero((inside[1:] != inside[:-1]) & (owner[1:] == owner[:-1]))
    ends = _edge(look, vectors, inside, cut)
    out: list[list[Float]] = [[] for _ in paths]
    starts = np.flatnonzero(inside & ~np.r_[False, inside[:-1] & (owner[1:] == owner[:-1])])
    stops = np.flatnonzero(inside & ~np.r_[inside[1:] & (owner[1:] == owner[:-1]), False])
    at_cut = {int(c): end for c, end in zip(cut, ends, strict=True)}
    for a, b in zip(starts.tolist(), stops.tolist(), strict=True):
        parts = [pixels[a : b + 1]]
        if a - 1 in at_cut:
            parts.insert(0, at_cut[a - 1][None])
        if b in at_cut:
            parts.append(at_cut[b][None])
        out[int(owner[a])] += in_frame(np.concatenate(parts), lens.width, lens.height)
    return out


def _edge(look: object, vectors: Float, inside: NDArray[np.bool_], cut: NDArray[np.intp]) -> Float:
    """Return the last visible pixel between samples ``cut`` and ``cut + 1``, ``(K, 2)``."""
    assert callable(look)
    first = inside[cut][:, None]
    good = np.where(first, vectors[cut], vectors[cut + 1])
    bad = np.where(first, vectors[cut + 1], vectors[cut])
    for _ in range(_BISECTIONS):
        middle = good + bad
        middle /= np.linalg.norm(middle, axis=1, keepdims=True)
        _, visible = look(middle)
        good = np.where(visible[:, None], middle, good)
        bad = np.where(visible[:, None], bad, middle)
    return np.asarray(look(good)[0])


def in_frame(points: Float, width: int, height: int) -> list[Float]:
    """Cut a polyline ``(N, 2)`` at the edges of the frame (Liang & Barsky 1984)."""
    low, high = np.array([-0.5, -0.5]), np.array([width - 0.5, height - 0.5])
    if len(points) < 2:
        return []
    if ((points >= low) & (points <= high)).all():
        return [points]
    a, d = points[:-1], np.diff(points, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.stack([(low - a) / d, (high - a) / d])
    still = d == 0
    lost = (still & ((a < low) | (a > high))).any(axis=1)
    enter = np.where(still, 0.0, t.min(axis=0)).max(axis=1).clip(0.0, 1.0)
    leave = np.where(still, 1.0, t.max(axis=0)).min(axis=1).clip(0.0, 1.0)
    shown = (enter < leave) & ~lost
    pieces: list[list[Float]] = []
    for i in np.flatnonzero(shown):
        begin, end = a[i] + enter[i] * d[i], a[i] + leave[i] * d[i]
        if pieces and shown[i - 1] and enter[i] == 0.0 and leave[i - 1] == 1.0:
            pieces[-1].append(end)
        else:
            pieces.append([begin, end])
    return [np.array(p) for p in pieces]
