"""Which exposures of a bracket still show the same sky: clouds, aircraft and the Moon move.

Exposures are taken one after the other. Where something moved, their mean shows it twice. So each
exposure is compared with the longest one that is not saturated: in blocks of 8x8 pixels the mean
difference ``d`` of ``value / ratio`` is set against what noise and an imperfect camera explain,

    T^2 = d^2 / (var(d) + (1.5 % of the light)^2 + (a quarter of the read noise / ratio)^2)

with ``var(d)`` from the noise model. Stars drift by a fraction of a pixel and twinkle, and must
keep the short exposures their cores need: from ``|d|`` first comes off what a shift of 0.6 px could
do, the mean change of the light from pixel to pixel times 0.6. Blocks beyond T = 3 lose weight,
beyond T = 6 all of it; the blocks are grown by two and faded over one more. The longest exposure is
never left out, so every pixel keeps a consistent source, and what shows is the sky of the longest
exposure. Where that one saturates it is only a lower bound: a shorter exposure contradicts it when
it shows clearly less (an aircraft that was elsewhere by then), and the bound is kept, marked as
clipped; a shorter exposure that shows as much or more is believed in spite of the block it lies in.

A relation that holds all over the frame is no motion but a wrong exposure time: the median ratio
of the frame is taken out first. In a still scene nothing is left out (T > 4 once in 16 000
blocks), and the noise stays what the weights make it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from allsky360.arrays import Array, block_differences, box_mean, maximum3, namespace, to_host
from allsky360.arrays.generic import on_device_of
from allsky360.imaging.noise import NoiseModel

BLOCK = 8
"""Side of a block in pixels: even, so that it holds whole Bayer cells."""

SIGMAS = (3.0, 6.0)
"""Between these an exposure loses its weight."""

RELATIVE = 0.015
"""Share of the light by which exposures may differ: shutter times, scintillation, shading."""

PEDESTAL = 0.25
"""Read noises by which the black levels of exposures may differ."""

SHIFT_PX = 0.6
"""Drift of the stars within a bracket that is no motion."""

NOISE_CHANGE = 0.6
"""Mean change from pixel to pixel that noise alone makes, in sigmas (two samples, over 2 px)."""

LARGEST_DRIFT = 0.5
"""A frame-wide ratio beyond this is not a wrong exposure time."""


def keep_maps(
    values: Sequence[Array], ratios: Sequence[float], full: Sequence[float], noise: NoiseModel
) -> tuple[Array | None, float]:
    """Find where each exposure contradicts the longer ones.

    Parameters
    ----------
    values
        K exposures in ADU above black, longest first; any shape :func:`arrays.block_differences`
        takes.
    ratios
        Exposure time over that of the longest.
    full
        Full well of each in ADU above black.
    noise
        Noise model in ADU.

    Returns
    -------
    keep, moved
        ``(K, h, w)`` float32 factors on the weight of each block, None where all are 1; and the
        share of blocks in which an exposure lost more than half its weight.
    """
    if len(values) < 2:
        return None, 0.0
    difference, signal, change = block_differences(values, ratios, full=full, size=BLOCK)
    xp = namespace(difference)
    samples = _samples(values[0].shape)
    count = on_device_of(difference, samples)
    step = 2 if len(values[0].shape) == 2 else 1
    lost = []
    for k, ratio in enumerate(ratios[1:]):
        light, d = signal[k, ...] / count, difference[k, ...] / count
        own = noise.read_var * (1.0 + 1.0 / ratio**2) + noise.shot * (1.0 + 1.0 / ratio) * light
        variance = own / count
        d = d - _drift(d, light, variance) * light
        still = noise.read_var + noise.shot * light
        steep = change[k, ...] / (count * step) - NOISE_CHANGE * xp.sqrt(still)
        zero = xp.zeros_like(d)
        d = xp.maximum(xp.abs(d) - SHIFT_PX * xp.maximum(steep, zero), zero)
        slack = (RELATIVE * light) ** 2 + (PEDESTAL / ratio) ** 2 * noise.read_var
        sigmas = xp.sqrt(d**2 / (variance + slack))
        low, high = SIGMAS
        t = xp.minimum(xp.maximum((sigmas - low) / (high - low), zero), zero + 1.0)
        grown = maximum3(maximum3(t * t * (3.0 - 2.0 * t)))
        # A little more than the mean: rounding must not leave a trace of what is left out.
        lost.append(xp.minimum(1.001 * box_mean(grown, 1), zero + 1.0))
    worst = lost[0]
    for other in lost[1:]:
        worst = xp.maximum(worst, other)
    if float(xp.max(worst)) <= 0.0:
        return None, 0.0
    moved = float(xp.mean(xp.astype(worst > 0.5, xp.float32)))
    return xp.stack([xp.ones_like(worst), *(1.0 - one for one in lost)]), moved


def _samples(shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Number of samples in each block; blocks at the far edges are cut."""
    tall, wide = (
        np.minimum(BLOCK, n - BLOCK * np.arange(-(-n // BLOCK))) for n in (shape[0], shape[1])
    )
    channels = shape[2] if len(shape) == 3 else 1
    return np.asarray(channels * tall[:, None] * wide[None, :])


def _drift(difference: Array, light: Array, variance: Array) -> float:
    """Relation that holds all over the frame, from a sample of well exposed blocks."""
    d, s, v = (to_host(a[::3, ::3]).astype(np.float64) for a in (difference, light, variance))
    good = s > 20.0 * np.sqrt(v)
    if np.count_nonzero(good) < 50:
        return 0.0
    drift = float(np.median(d[good] / s[good]))
    return drift if abs(drift) < LARGEST_DRIFT else 0.0
