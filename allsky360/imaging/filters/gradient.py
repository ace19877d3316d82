"""Gradient removal: a smooth background, fitted where there is only sky, is subtracted.

On blocks of at most 16 x 16 px each channel is fitted by a polynomial of total degree ``degree`` in
the position, of Legendre terms ``P_i(x) P_j(y)``, by least squares. Blocks whose luminance is far
from its fit are left out and it is made again, until nothing changes: those more than ``BRIGHT``
robust sigmas above (stars, Moon, Milky Way, clouds, lamps) and those more than ``DARK`` below
(trees inside the mask). More things are brighter than the sky than darker, so the fit starts from
the darker half of the blocks of each of 8 x 8 tiles, with weights that
fall for what does not fit (Cauchy's), before anything is cut. Then::

    v' = v - amount (fit - median of the fit over the sky)

A polynomial means nothing where it was not fitted: beyond the circle about the sky it was fitted
to, nothing is added or taken.

Additive, because what makes gradients (town, twilight, Moon) adds light; the sky's median level
stays. The coefficients are the filter's state, so that they follow the sky smoothly from frame to
frame. Compare the automatic background extraction of astronomical image processors.
"""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from allsky360.arrays import Array
from allsky360.arrays.blocks import scale_and_shift
from allsky360.arrays.generic import on_device_of
from allsky360.imaging.filters.filter import Filter, State
from allsky360.imaging.filters.sky_model import Blocks, block_places, block_size, reduce_sky

Floats = NDArray[np.float64]

BRIGHT, DARK = 2.0, 3.5
SOFT_ROUNDS, ROUNDS = 12, 12
TILES = 8
OBSTACLE = 0.4
"""Blocks darker than this share of the sky's median are no sky."""
FADE = 0.02
"""Share of the sky's radius over which the filter ends."""
LIT = 0.5
"""Share of the sky's median above which blocks belong to the sky's circle."""
STRAY = 0.002
"""Share of the circle's blocks that may lie outside it."""
ENOUGH = 20_000
"""Blocks above which every other one of every other row does: at most 28 numbers are fitted."""
RIDGE = 1e-6
"""Keeps coefficients finite that the sky's shape does not determine."""


def gradient(
    image: Array,
    *,
    amount: float = 1.0,
    degree: int = 2,
    state: State | None = None,
    mask: Array | None = None,
) -> Array:
    """Subtract a smooth background but not its level.

    Parameters
    ----------
    image
        ``(H, W, C)`` float32, linear.
    amount
        0 (identity) to 1.
    degree
        Of the polynomial, 1 to 6. 2 follows a light dome or the Moon's glow roughly, 4 closely;
        more takes the Milky Way with it.
    state
        What :func:`measure` gave.
    mask
        ``(H, W)`` bool, True = sky; what lies outside is neither read nor changed.
    """
    if amount == 0:
        return image
    state = state or measure(image, degree=degree, mask=mask)
    channels = image.shape[-1]
    coefficients = np.asarray(state["coefficients"]).reshape(channels, -1)
    x, y = block_places(image.shape)
    inside = _inside(x, y, state["share_circle"])
    fit = _terms(x, y, degree) @ coefficients.T
    offset = amount * inside[..., None] * (np.asarray(state["level"]) - fit)
    return scale_and_shift(image, None, on_device_of(image, offset), block_size(image.shape), mask)


def measure(image: Array, *, degree: int = 2, mask: Array | None = None) -> State:
    """Fit the background of each channel, and take its median over the sky."""
    if not 1 <= degree <= 6:
        raise ValueError(f"degree must be 1 to 6, got {degree}")
    blocks = reduce_sky(image, mask)
    if blocks.sky.size > ENOUGH:
        blocks = blocks.every(2)
    terms = _terms(blocks.x, blocks.y, degree)
    use = _only_sky(blocks, terms)
    fits = [_solved(terms[use], blocks.means[..., c][use]) for c in range(image.shape[-1])]
    levels = [float(np.median((terms @ f)[blocks.sky])) if blocks.sky.any() else 0.0 for f in fits]
    return {
        "coefficients": [float(v) for f in fits for v in f],
        "level": levels,
        "share_circle": _circle(blocks),
    }


def _circle(blocks: Blocks) -> list[float]:
    """Middle and radius of the smallest circle about the sky's middle that holds all of it.

    The sky is here the largest connected lit part: beyond the image circle of a lens there is stray
    light, which no one has masked.
    """
    if not blocks.sky.any():
        return [0.0, 0.0, 2.0]
    light = blocks.luminance
    lit = blocks.sky & (light >= LIT * np.median(light[blocks.sky]))
    if not lit.any():  # below zero throughout: no light, but a pedestal
        lit = blocks.sky
    _, parts, about, _ = cv2.connectedComponentsWithStats(lit.astype(np.uint8), connectivity=4)
    largest = parts == 1 + int(np.argmax(about[1:, cv2.CC_STAT_AREA]))
    x, y = blocks.x[largest], blocks.y[largest]
    x0, y0 = 0.5 * float(x.min() + x.max()), 0.5 * float(y.min() + y.max())
    return [x0, y0, float(np.quantile(np.hypot(x - x0, y - y0), 1.0 - STRAY))]


def _inside(x: Floats, y: Floats, circle: list[float]) -> Floats:
    """``(h, w)``: 1 within the circle, 0 beyond it, smooth in between."""
    x0, y0, radius = circle
    t = np.clip((np.hypot(x - x0, y - y0) / max(radius, 1e-9) - 1.0) / FADE, 0.0, 1.0)
    return np.asarray(1.0 - t * t * (3.0 - 2.0 * t))


def _terms(x: Floats, y: Floats, degree: int) -> Floats:
    """``(h, w, K)`` products of Legendre polynomials up to a total degree."""
    px = np.polynomial.legendre.legvander(x, degree)
    py = np.polynomial.legendre.legvander(y, degree)
    pairs = [(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)]
    return np.stack([px[..., i] * py[..., j] for i, j in pairs], axis=-1)


def _only_sky(blocks: Blocks, terms: Floats) -> NDArray[np.bool_]:
    """Blocks of nothing but background, by their luminance; at least enough for a fit."""
    light = blocks.luminance
    if not blocks.sky.any():
        return blocks.sky
    sky = blocks.sky & (light > OBSTACLE * np.median(light[blocks.sky]))
    size = terms.shape[-1]
    start = _darker_half(light, sky)
    if start.sum() < 2 * size:
        return blocks.sky
    values, design, use = light[sky], terms[sky], start[sky]
    weight = np.zeros(values.size)
    darker, below = design[use], values[use]
    some = np.ones(below.size)
    for _ in range(SOFT_ROUNDS):
        found = _solve(darker, below, some)
        rest = np.abs(below - darker @ found)
        # Cauchy weights: a region that does not belong pulls less and less.
        some = 1.0 / (1.0 + (rest / (1.4826 * float(np.median(rest)) + 1e-9)) ** 2)
    weight[use] = some
    near = use & (weight > 0.1)
    for _ in range(ROUNDS):
        rest = values - design @ found
        middle = float(np.median(rest[near]))
        sigma = 1.4826 * float(np.median(np.abs(rest[near] - middle))) + 1e-9
        kept = (rest < middle + BRIGHT * sigma) & (rest > middle - DARK * sigma)
        if kept.sum() < 2 * size or np.array_equal(kept, near):
            break
        near = kept
        found = _solve(design[near], values[near], np.ones(int(near.sum())))
    chosen = np.zeros_like(sky)
    chosen[sky] = near
    return chosen


def _solved(design: Floats, values: Floats) -> Floats:
    """Coefficients ``(K,)``; only a level where there is too little to fit."""
    if values.size >= 2 * design.shape[-1]:
        return _solve(design, values, np.ones(values.size))
    found = np.zeros(design.shape[-1])
    found[0] = float(np.median(values)) if values.size else 0.0
    return found


def _solve(design: Floats, values: Floats, weight: Floats) -> Floats:
    """Weighted least squares."""
    weighted = design * weight[:, None]
    normal = design.T @ weighted
    normal[np.diag_indices_from(normal)] += RIDGE * np.trace(normal) / design.shape[1]
    return np.asarray(np.linalg.solve(normal, weighted.T @ values), np.float64)


def _darker_half(plane: Floats, sky: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Sky blocks not over the median of their tile."""
    use = np.zeros_like(sky)
    h, w = plane.shape
    rows = np.linspace(0, h, min(TILES, h) + 1).astype(int)
    columns = np.linspace(0, w, min(TILES, w) + 1).astype(int)
    for y0, y1 in pairwise(rows):
        for x0, x1 in pairwise(columns):
            tile = np.s_[y0:y1, x0:x1]
            here = plane[tile][sky[tile]]
            if here.size:
                use[tile] = sky[tile] & (plane[tile] <= np.median(here))
    return use


FILTER = Filter(
    "gradient",
    3,
    "linear",
    gradient,
    measure=measure,
    settings_of_measure=frozenset({"degree"}),
)
