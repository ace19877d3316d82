"""Adaptive contrast-driven noise reduction: smooth only what noise alone could have made.

Luminance ``Y`` and the colour differences ``R - G``, ``B - G`` are split apart by the à trous
wavelet transform (:mod:`allsky360.arrays.wavelets`), the finest two scales of luminance at full
resolution, all else on 2 x 2 cells. A detail of scale ``j`` is compared with the noise expected
there, ``s_j sigma(level)``: the sensor's noise at the local brightness times a share measured on
the frame (debayering and resampling colour the noise). Details below ``threshold`` sigmas go, those
above twice that stay (the ramp of :mod:`allsky360.arrays.denoise`; hard and soft thresholding:
Donoho & Johnstone 1994; multi-resolution support for astronomical images: Starck, Murtagh & Bijaoui
1998, "Image Processing and Data Analysis", section 2.4).

Contrast decides a second time, for stars and edges as a whole: where a detail of the two finest
scales exceeds ``protect`` sigmas, that place and what lies within ``protect_px`` of it are not
touched at any scale, so that a star keeps its wings, and with them flux, width and colour.

Noise has mean 0 and is removed additively: flat colours do not move, grey stays grey, black gets no
rings, and what is negative stays negative. The share ``s_j`` is the median absolute deviation over
tiles inside the mask, taken at a quantile below the middle of the tiles, so that tiles with clouds
or trees do not count as noisy.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from allsky360.arrays import Array, namespace
from allsky360.arrays.denoise import (
    Colour,
    Field,
    Rule,
    Source,
    double,
    fine_planes,
    finish,
    grow,
    scan,
    shrink,
    split_colour,
)
from allsky360.arrays.luminance import luminance
from allsky360.arrays.wavelets import smooth, white_noise_sigmas
from allsky360.imaging.filters.extend import extend_outward
from allsky360.imaging.filters.filter import Filter, State
from allsky360.imaging.filters.tiles import cut_tiles, fit_noise, quiet_shares
from allsky360.imaging.noise import NoiseModel

STEEPEST_LUMINANCE = (0.36, 0.47)
STEEPEST_COLOUR = (9.0, 0.56)
"""Noise of a scale over that of the next finer one, at most; the last one is repeated.

White noise has 0.23, 0.43, 0.48, 0.50; debayering makes it a little more. What is more than that is
crowded stars or cloud.
"""
PROCESSED = (0.55, 0.75)
"""... but where the second scale has more than this of the first, stars cannot be the reason: the
frame was smoothed or compressed, as JPEG pictures are (0.85 to 0.95), and what is measured is
believed."""
QUIET_BELOW = 0.5
"""Protection up to which a place counts as empty sky."""


def acdnr(
    image: Array,
    *,
    amount_luminance: float = 0.8,
    amount_chrominance: float = 0.9,
    scales_luminance: int = 4,
    scales_chrominance: int = 4,
    threshold_luminance: float = 2.5,
    threshold_chrominance: float = 3.0,
    protect: float = 4.5,
    protect_px: int = 4,
    noise: NoiseModel | None = None,
    state: State | None = None,
    mask: Array | None = None,
) -> Array:
    """Reduce noise; stars and edges stay.

    Parameters
    ----------
    image
        ``(H, W, C)`` float32, linear.
    amount_luminance, amount_chrominance
        0 (identity) to 1: share of what counts as noise that is taken away.
    scales_luminance
        2 to 7. Scale ``j`` is structure about ``2**(j-1)`` px wide.
    scales_chrominance
        1 to 6, beginning at 2 px; the pixel scale itself is always included.
    threshold_luminance, threshold_chrominance
        Sigmas up to which a detail is noise, above 0.
    protect
        Sigmas from which a fine detail is a star or an edge, above 0.
    protect_px
        How far protection reaches around it, 0 to 16, in steps of 2.
    noise
        Of the luminance, in the image's unit; measured when left out.
    state
        From :func:`measure_noise`, smoothed in time; measured when left out.
    mask
        ``(H, W)`` bool, True = sky. Outside it the image is handed through.
    """
    _check(
        amount_luminance=(amount_luminance, 0.0, 1.0),
        amount_chrominance=(amount_chrominance, 0.0, 1.0),
        scales_luminance=(scales_luminance, 2, 7),
        scales_chrominance=(scales_chrominance, 1, 6),
        threshold_luminance=(threshold_luminance, 0.1, 20.0),
        threshold_chrominance=(threshold_chrominance, 0.1, 20.0),
        protect=(protect, 0.1, 100.0),
        protect_px=(protect_px, 0, 16),
    )
    colours = image.shape[-1] == 3 and amount_chrominance > 0
    if amount_luminance == 0 and not colours:
        return image
    if state is None:
        state = measure_noise(
            image,
            noise=noise,
            scales_luminance=scales_luminance,
            scales_chrominance=scales_chrominance,
            mask=mask,
        )
    if noise is None:
        noise = NoiseModel(state["read_sigma"][0] ** 2, state["shot"][0])
    halves = split_colour(image, mask)
    fill = None if mask is None else extend_outward(halves.light, halves.inside)
    source = Source(image, mask, fill)

    def rule(sigmas: float, name: str, first: int, last: int | None = None) -> Rule:
        shares = tuple(float(s) for s in state[name][first:last])
        return Rule(noise.read_var, noise.shot, sigmas, shares)

    protected, level = scan(source, rule(protect, "share_luminance", 0, 2))
    protected = grow(protected, (protect_px + 1) // 2)
    # Coarse scales see the sky without its stars: theirs would reach beyond what is protected.
    quiet = protected < QUIET_BELOW
    fields = []
    if scales_luminance > 2:
        coarse = rule(threshold_luminance, "share_luminance", 2, scales_luminance)
        fields.append(Field(extend_outward(level, quiet), 1, coarse))
    if colours:
        sky = quiet if halves.inside is None else quiet & halves.inside
        for half, name in ((halves.red, "share_red"), (halves.blue, "share_blue")):
            still = rule(threshold_chrominance, name, 1, scales_chrominance + 1)
            fields.append(Field(extend_outward(half, sky), 0, still))
    changes = shrink(fields, level)
    colour = None
    if colours:
        (red, blue), (red_change, blue_change) = [f.plane for f in fields[-2:]], changes[-2:]
        first = (state["share_red"][0], state["share_blue"][0])
        colour = Colour(
            amount_chrominance, threshold_chrominance, first, red, blue, red_change, blue_change
        )
    fine = rule(threshold_luminance, "share_luminance", 0, 2)
    change = changes[0] if scales_luminance > 2 else namespace(image).zeros_like(level)
    return finish(source, protected, change, fine, amount_luminance, colour)


def measure_noise(
    image: Array,
    *,
    noise: NoiseModel | None = None,
    scales_luminance: int = 4,
    scales_chrominance: int = 4,
    mask: Array | None = None,
) -> State:
    """Measure the noise of every scale over that of one pixel of luminance.

    Parameters
    ----------
    image
        ``(H, W, C)`` float32, linear.
    noise
        Of the luminance; fitted to the tiles when left out, and then part of the result.
    scales_luminance, scales_chrominance
        As in :func:`acdnr`.
    mask
        ``(H, W)`` bool, True = sky.

    Returns
    -------
    State
        "share_luminance", finest first; "share_red" and "share_blue", the pixel scale first; and
        "read_sigma", "shot" where no noise model was given.
    """
    tiles = cut_tiles(image, mask)
    levels = tiles.medians(luminance(tiles.canvas()))
    canvas = tiles.level().canvas()
    c0, c1, c2 = fine_planes(Source(canvas))
    found = {"share_luminance": [(c0 - c1, 1), (c1 - c2, 1)]}
    found["share_luminance"] += _details(c2[::2, ::2], range(1, scales_luminance - 1))
    if image.shape[-1] == 3:
        halves = split_colour(canvas, None)
        for name, plane, channel in (("share_red", halves.red, 0), ("share_blue", halves.blue, 2)):
            rough = canvas[..., channel] - canvas[..., 1] - double(plane, tuple(c0.shape))
            found[name] = [(rough, 1), *_details(plane, range(scales_chrominance))]
    spreads = tiles.spreads([p for planes in found.values() for p in planes])
    state: State = {}
    if noise is None:
        noise = fit_noise(levels, spreads[0] / white_noise_sigmas(1)[0])
        state = {"read_sigma": [float(np.sqrt(noise.read_var))], "shot": [noise.shot]}
    at, belief = 0, 0.0
    for name, planes in found.items():
        shares = quiet_shares(spreads[at : at + len(planes)], levels, noise)
        at += len(planes)
        if name == "share_luminance":
            ratio = shares[1] / max(shares[0], 1e-15)
            belief = min(max((ratio - PROCESSED[0]) / (PROCESSED[1] - PROCESSED[0]), 0.0), 1.0)
            state[name] = _limited(shares, STEEPEST_LUMINANCE, belief)
        else:
            state[name] = _limited(shares, STEEPEST_COLOUR, belief)
    return state


def _limited(shares: list[float], limits: tuple[float, ...], belief: float) -> list[float]:
    """Limit the noise of each scale by that of the one before; believe what is above in part."""
    out = shares[:1]
    for k, share in enumerate(shares[1:]):
        limit = limits[min(k, len(limits) - 1)] * out[k]
        out.append(share if share <= limit else limit + belief * (share - limit))
    return out


def _check(**limits: tuple[float, float, float]) -> None:
    for name, (value, low, high) in limits.items():
        if not low <= value <= high:
            raise ValueError(f"{name} must be {low:g} to {high:g}, got {value}")


def _smooths(plane: Array, levels: range) -> list[Array]:
    planes = [plane]
    for level in levels:
        planes.append(smooth(planes[-1], level))
    return planes


def _details(half: Array, levels: range) -> list[tuple[Array, int]]:
    planes = _smooths(half, levels)
    return [(a - b, 2) for a, b in pairwise(planes)]


FILTER = Filter(
    "acdnr",
    1,
    "linear",
    acdnr,
    measure=measure_noise,
    needs=frozenset({"mask", "noise"}),
    settings_of_measure=frozenset({"scales_luminance", "scales_chrominance"}),
)
