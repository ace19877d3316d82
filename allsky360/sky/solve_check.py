"""Judging a lens by stars it was not fitted on, against what chance alone would match."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import lgamma, log, log10

import numpy as np
from numpy.typing import NDArray

from allsky360.sky.match import match_points
from allsky360.sky.solve_fit import Geometry, project
from allsky360.sky.solve_refine import Field, pairs, predicted

Float = NDArray[np.float64]

RING_EDGES_DEG = (0.0, 5.0, 15.0, 30.0, 45.0, 60.0, 90.0)
#: A lens is believed when chance would match as many held-out stars in one of 10^8 skies.
LEAST_EVIDENCE = 8.0
LEAST_HELD_OUT = 6
_TURNS = 8


@dataclass(frozen=True)
class RingResidual:
    """Residuals of held-out stars in one ring of altitude."""

    low_deg: float
    high_deg: float
    stars: int
    rms_px: float
    median_px: float


@dataclass(frozen=True)
class Evidence:
    """What the held-out stars say.

    Attributes
    ----------
    held_out
        Stars never used to find or fit the lens.
    matched
        Those with a catalogue star within ``radius_px`` of their place.
    chance_rate
        Share of held-out stars matched when they are moved off their places.
    log10_odds
        Minus the decimal logarithm of the probability of so many matches by chance.
    rms_px, median_px
        Of the matched ones' residuals.
    radius_px
        Largest residual of a match.
    rings
        The residuals by altitude, rings without stars left out.
    """

    held_out: int
    matched: int
    chance_rate: float
    log10_odds: float
    rms_px: float
    median_px: float
    radius_px: float
    rings: tuple[RingResidual, ...]

    @property
    def convincing(self) -> bool:
        """Whether chance can be ruled out."""
        return self.matched >= LEAST_HELD_OUT and self.log10_odds >= LEAST_EVIDENCE


def evidence(field: Field, g: Geometry, n_sky: int, radius_px: float) -> Evidence:
    """Judge a geometry on a field of held-out stars."""
    a, b, _ = pairs(field, g, field.x.size, n_sky, radius_px)
    rate = chance_rate(field, g, n_sky, radius_px)
    px, py = project(g, field.enu[b])
    residual = np.hypot(field.x[a] - px, field.y[a] - py)
    return pooled(int(field.x.size), rate, residual, field.altitude_deg[b], radius_px)


def pooled(
    held_out: int, rate: float, residual_px: Float, altitude_deg: Float, radius_px: float
) -> Evidence:
    """Return the verdict of held-out stars, of which some matched with the given residuals."""
    count = int(residual_px.size)
    return Evidence(
        held_out=held_out,
        matched=count,
        chance_rate=rate,
        log10_odds=poisson_evidence(count, max(rate * held_out, 0.2)),
        rms_px=rms(residual_px),
        median_px=float(np.median(residual_px)) if count else float("nan"),
        radius_px=radius_px,
        rings=rings(altitude_deg, residual_px),
    )


def chance_rate(field: Field, g: Geometry, n_sky: int, radius_px: float) -> float:
    """Return the share of stars that match when moved aside: the local density decides."""
    if field.x.size == 0:
        return 0.0
    _, px, py = predicted(field, g, n_sky)
    hits = 0
    for k in range(_TURNS):
        away = (6.0 + 3.0 * k) * max(radius_px, 2.0)
        turn = 2.4 * k  # the golden angle: eight directions, none opposite
        x, y = field.x + away * np.cos(turn), field.y + away * np.sin(turn)
        hits += int(match_points(x, y, px, py, radius_px)[0].size)
    return hits / (_TURNS * field.x.size)


def poisson_evidence(count: int, expected: float) -> float:
    """Return -log10 of the probability of ``count`` or more where ``expected`` are awaited."""
    if count <= expected:
        return 0.0
    first = -expected + count * log(expected) - lgamma(count + 1)
    tail, term, k = 1.0, 1.0, count
    while term > 1e-9 * tail:
        k += 1
        term *= expected / k
        tail += term
    return -first / log(10.0) - log10(tail)


def rings(altitude_deg: Float, residual_px: Float) -> tuple[RingResidual, ...]:
    """Return the residuals ring by ring of altitude."""
    out = []
    for low, high in pairwise(RING_EDGES_DEG):
        inside = (altitude_deg >= low) & (altitude_deg < high)
        if inside.any():
            part = residual_px[inside]
            out.append(RingResidual(low, high, int(part.size), rms(part), float(np.median(part))))
    return tuple(out)


def rms(values: Float) -> float:
    """Return the root mean square; NaN of nothing."""
    return float(np.sqrt(np.mean(values**2))) if values.size else float("nan")
