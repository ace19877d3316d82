"""Merge 1 to 5 exposures into one linear radiance image.

Done on the mosaics, before demosaicing: exact, and a third of the work. Each pixel is the weighted
mean of ``value / ratio``. The weights are inverse variances from the noise model, evaluated at a
first pooled estimate of the radiance instead of at each noisy value (which would favour values that
came out low). An exposure fades out smoothly between two fractions of full well. Saturation is
judged by the brightest of the 3x3 neighbourhood, so the colours of one Bayer cell always come from
the same exposures and do not tear.

What moved between the exposures is taken from one of them: :mod:`allsky360.imaging.motion`.

After Hasinoff, Durand & Freeman, "Noise-Optimal Capture for High Dynamic Range Photography" (2010),
section 3, for the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from allsky360.arrays import Array, merge_weighted, to_host
from allsky360.imaging.motion import BLOCK, keep_maps
from allsky360.imaging.noise import NoiseModel

VERSION = 2

KNEE = (0.90, 0.98)
"""Fractions of full well between which an exposure loses its weight."""


@dataclass(frozen=True, eq=False)
class Merged:
    """The radiance of a bracket.

    Attributes
    ----------
    radiance
        Same shape as the exposures, float32; 1.0 is full well of the reference (longest) exposure.
    clipped
        uint8, same shape; 255 where even the shortest exposure is saturated.
    full_scale
        Radiance at which the shortest exposure saturates.
    moved
        Share of the frame in which an exposure was left out because something moved.
    """

    radiance: Array
    clipped: Array
    full_scale: float
    moved: float = 0.0


def merge(
    exposures: Sequence[Array],
    exposure_s: Sequence[float],
    full_adu: Sequence[float],
    noise: NoiseModel,
    *,
    motion: bool = True,
) -> Merged:
    """Merge exposures of one scene.

    Parameters
    ----------
    exposures
        ADU above black, float32, ``(H, W)`` or ``(H, W, 3)``, one shape.
    exposure_s
        Exposure times from the headers; the longest is the reference.
    full_adu
        Full well of each exposure in ADU above black.
    noise
        Noise model in ADU.
    motion
        Leave an exposure out where it contradicts the longer ones.
    """
    reference = max(exposure_s)
    if min(exposure_s) <= 0:
        # Files without a time: one exposure needs no ratio, several cannot be merged.
        if len(exposure_s) > 1:
            raise ValueError("exposure times must be positive to merge a bracket")
        reference, ratios = 1.0, [1.0]
    else:
        ratios = [t / reference for t in exposure_s]
    order = sorted(range(len(ratios)), key=lambda k: -ratios[k])
    values = [exposures[k] for k in order]
    ratios = [ratios[k] for k in order]
    wells = [full_adu[k] for k in order]
    keep, moved = keep_maps(values, ratios, wells, noise) if motion else (None, 0.0)
    radiance, clipped = merge_weighted(
        values,
        ratios,
        full=wells,
        read_var=noise.read_var,
        shot=noise.shot,
        knee=KNEE,
        keep=keep,
        size=BLOCK,
        scale=1.0 / wells[0],
    )
    return Merged(radiance, clipped, wells[-1] / (ratios[-1] * wells[0]), moved)


def ratio_error(
    exposures: Sequence[Array], exposure_s: Sequence[float], full_adu: Sequence[float]
) -> float:
    """Largest relative disagreement between measured and stated exposure ratios.

    Neighbouring exposures are compared by their sums over a sixteenth of the pixels, those that are
    well exposed in both; 0 where no pair has enough of them.

    Parameters
    ----------
    exposures
        ADU above black, ``(H, W)`` or ``(H, W, C)``.
    exposure_s
        Exposure times, above 0.
    full_adu
        Full well of each exposure in ADU above black.
    """
    order = sorted(range(len(exposures)), key=lambda k: -exposure_s[k])
    worst = 0.0
    for a, b in pairwise(order):
        long, short = (to_host(exposures[k][::4, ::4, ...]).reshape(-1) for k in (a, b))
        good = (long < KNEE[0] * full_adu[a]) & (short > 0.02 * full_adu[b])
        if np.count_nonzero(good) < 200:
            continue
        stated = exposure_s[a] / exposure_s[b]
        measured = float(np.sum(long[good], dtype=float) / np.sum(short[good], dtype=float))
        worst = max(worst, abs(measured / stated - 1.0))
    return worst
