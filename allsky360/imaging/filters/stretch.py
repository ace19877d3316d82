"""From linear light to a picture: one luminance curve, colours scaled with it.

The input is linear with the sky at about 1; ``x = (v - black) / (white - black)`` is clipped to 0…1
and goes through a curve whose value is the sRGB code of the result. Each curve has one free number,
which is solved so that the sky comes out at ``background``:

asinh
    ``asinh(b x) / asinh(b)``. Lupton et al. 2004, PASP 116, 133, for the curve and for scaling
    colours by the stretched luminance.
mtf
    Midtones transfer function ``(m - 1) x / ((2m - 1) x - m)``, the autostretch of PixInsight and
    its followers.
ghs
    Generalised hyperbolic stretch (Payne & Cranfield 2021) with its contrast centred on the sky:
    ``intensity`` above 0 is hyperbolic and holds highlights back, 0 exponential, -1 logarithmic.
reinhard
    ``x (a + x) / (1 + a x)``: eq. 4 of Reinhard et al. 2002, ACM TOG 21, 267, with white at 1.
linear
    A power through the target, the plainest there is.

"linked" keeps colours: one curve for luminance. "unlinked" gives each channel its own black and
white points, which greys a coloured sky and everything with it. Near white, colour is reduced just
enough to stay in gamut at constant hue and luminance; where it drowns in noise it fades.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from allsky360.arrays import Array, block_mean, namespace, to_host
from allsky360.arrays.srgb import decode as srgb_decoded
from allsky360.arrays.tone_curve import apply_curve
from allsky360.imaging.filters.filter import Conditions, Filter, State
from allsky360.imaging.scene import luminance_of

Method = Literal["asinh", "mtf", "ghs", "reinhard", "linear"]
Floats = NDArray[np.float64]

CURVE_SIZE = 8192
SMALL_SIDE = 240
"""Short side of the copy that levels are measured on, about."""
QUANTILES = (0.005, 0.25, 0.50, 0.9995)
BLACK_SHARE = 0.5
"""Black point as a share of the darkest sky: the zenith stays visibly above black."""
BLACK_DEPTH = 2.0
"""Where the frame is flat (a pedestal nobody told us, an overcast sky), the black point lies this
many times the sky's own range below its darkest part."""
HEADROOM, DAY_HEADROOM = 40.0, 8.0
"""White lies this many times the sky's height above black, at night and by day, unless something
larger is brighter: stars are far above the sky, sunlit clouds a few times."""
OVEREXPOSED_BACKGROUND = 0.85
"""Display level of a sky that is saturated: it must look overexposed."""


def stretch(
    image: Array,
    *,
    method: Method = "asinh",
    background: float = 0.20,
    intensity: float = 2.0,
    linked: bool = True,
    chroma_floor: float = 0.2,
    state: State | None = None,
    conditions: Conditions | None = None,
    mask: Array | None = None,
) -> Array:
    """Map linear light to display codes.

    Parameters
    ----------
    image
        ``(H, W, C)`` float32, linear, sky about 1.
    method
        Curve, see above.
    background
        Display level of the sky, above 0 and below 0.9.
    intensity
        Shape of "ghs", -1 to 15; other curves ignore it.
    linked
        One curve for luminance; else one for each channel.
    chroma_floor
        Height above black, as a share of the sky's, below which colour fades, 0 to 2.
    state
        Levels from :func:`measure_levels`, smoothed in time; measured when left out.
    conditions
        Daylight, noise and saturation of the frame, where they are known.
    mask
        ``(H, W)`` bool, True = sky: what levels are measured on.

    Returns
    -------
    Array
        Same shape, sRGB codes over 255, 0 to 1.
    """
    if not 0.0 < background < 0.9:
        raise ValueError(f"background must lie between 0 and 0.9, got {background}")
    conditions = conditions or Conditions()
    levels = state
    if levels is None:
        levels = measure_levels(image, linked=linked, conditions=conditions, mask=mask)
    lift = levels["share_overexposed"][0]
    target = background + lift * max(OVEREXPOSED_BACKGROUND - background, 0.0)

    def stretched(plane: Array, which: int) -> Array:
        black, sky, white = (levels[k][which] for k in ("black", "sky", "white"))
        above = max(sky - black, 1e-9)
        span = max(white - black, 1.01 * above)
        return apply_curve(
            plane,
            white=black + span,
            black=black,
            curve=luminance_curve(above / span, target, method=method, intensity=intensity),
            chroma_floor=math.hypot(2.0 * conditions.noise, chroma_floor * above),
        )

    if linked or image.shape[-1] == 1:
        return stretched(image, 0)
    channels = [stretched(image[..., c : c + 1], c) for c in range(image.shape[-1])]
    return namespace(image).concat(channels, axis=-1)


def measure_levels(
    image: Array,
    *,
    linked: bool = True,
    conditions: Conditions | None = None,
    mask: Array | None = None,
) -> State:
    """Measure black, sky and white of a frame on a reduced copy.

    By day nothing but the sky's own colour lies below the sky: a black point there would only
    exaggerate that colour, on a flat sky without bound. A saturated sky says nothing about what
    lies below it either. So the black point goes to 0 in both.

    Returns
    -------
    State
        "black", "sky", "white": one number each, or one a channel when not linked; and
        "share_overexposed", 0 to 1.
    """
    conditions = conditions or Conditions()
    size = max(1, min(image.shape[0], image.shape[1]) // SMALL_SIDE)
    small = to_host(block_mean(image, size))
    if mask is None:
        values = small.reshape(-1, small.shape[2])
    else:
        inside = to_host(mask)[size // 2 :: size, size // 2 :: size]
        values = small[inside[: small.shape[0], : small.shape[1]]]
        values = values if values.shape[0] else small.reshape(-1, small.shape[2])
    if linked and values.shape[1] == 3:
        values = luminance_of(values)[:, None]
    state: State = {"black": [], "sky": [], "white": []}
    overexposed = 0.0
    headroom = HEADROOM * (DAY_HEADROOM / HEADROOM) ** conditions.daylight
    for plane in values.T:
        low, quarter, half, bright = (float(v) for v in np.quantile(plane, QUANTILES))
        sky = max(float(np.median(plane[(plane >= quarter) & (plane <= half)])), 1e-9)
        low = min(low, sky)
        overexposed = max(overexposed, overexposure(sky / conditions.saturation))
        natural = (1.0 - conditions.daylight) * (1.0 - overexposure(sky / conditions.saturation))
        black = max(BLACK_SHARE * low, low - BLACK_DEPTH * (sky - low))
        black = natural * max(min(black, sky - 6.0 * conditions.noise), 0.0)
        # Saturated pixels must come out white whatever the white balance.
        ceiling = 0.95 * conditions.saturation
        white = max(1.5 * bright, min(ceiling, black + headroom * (sky - black)))
        white = min(white, max(ceiling * conditions.range, 1.01 * sky))
        state["black"].append(black)
        state["sky"].append(sky)
        state["white"].append(max(white, 1.01 * sky))
    return state | {"share_overexposed": [overexposed]}


def overexposure(level: float) -> float:
    """0 up to two thirds of full well, 1 where the sky itself is saturated, smooth in between."""
    t = min(max((level - 0.67) / 0.30, 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)


# -- curves ---------------------------------------------------------------------------------------


def luminance_curve(
    sky: float, target: float, *, method: Method = "asinh", intensity: float = 2.0
) -> NDArray[np.float32]:
    """Sample a curve at evenly spaced square roots, as linear light (sRGB decoded).

    Parameters
    ----------
    sky
        Sky between black (0) and white (1).
    target
        Its wanted display level. A sky brighter than that already is brought half of the way
        down, in log, by a power.
    """
    sky = min(max(sky, 1e-9), 1.0)
    x = np.linspace(0.0, 1.0, CURVE_SIZE) ** 2
    if method == "linear" or sky >= target:
        low = min(sky, 0.95)
        level = target if method == "linear" else math.sqrt(low * target)
        code = x ** (math.log(level) / math.log(low))
    else:
        curve = _CURVES[method]
        knob = _solve(lambda k: float(curve(np.asarray([sky]), k, sky, intensity)[0]), target)
        code = curve(x, knob, sky, intensity)
    return np.clip(srgb_decoded(code), 0.0, 1.0).astype(np.float32)


def _solve(level: Callable[[float], float], target: float) -> float:
    """Find the log of a curve's bend at which the sky reaches its target (bisection)."""
    low, high = math.log(1e-3), math.log(1e15)
    for _ in range(60):
        middle = 0.5 * (low + high)
        if level(middle) < target:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


def _asinh(x: Floats, knob: float, sky: float, intensity: float) -> Floats:
    b = math.exp(knob)
    return np.asarray(np.arcsinh(b * x) / math.asinh(b))


def _mtf(x: Floats, knob: float, sky: float, intensity: float) -> Floats:
    # m from 1 (dark) to 0 (bright): m = 1 / (1 + k), so that 1 is reached for every k.
    k = math.exp(knob)
    return np.asarray((k + 1.0) * x / (k * x + 1.0))


def _reinhard(x: Floats, knob: float, sky: float, intensity: float) -> Floats:
    a = math.exp(knob)
    return np.asarray(x * (a + x) / (1.0 + a * x))


def _hyperbolic(x: Floats, d: float, b: float) -> Floats:
    """Generalised hyperbolic base function, 0 at 0 and rising."""
    if abs(b + 1.0) < 1e-9:
        return np.asarray(np.log1p(d * x))
    if b < 0:
        return np.asarray((1.0 - (1.0 - b * d * x) ** ((b + 1.0) / b)) / (d * (b + 1.0)))
    if b < 1e-9:
        return np.asarray(-np.expm1(-d * x))
    return np.asarray(1.0 - (1.0 + b * d * x) ** (-1.0 / b))


def _ghs(x: Floats, knob: float, sky: float, intensity: float) -> Floats:
    d = math.exp(min(knob, 18.0))
    below = -_hyperbolic(np.maximum(sky - x, 0.0), d, intensity)
    above = _hyperbolic(np.maximum(x - sky, 0.0), d, intensity)
    value = np.where(x < sky, below, above)
    low = -float(_hyperbolic(np.asarray([sky]), d, intensity)[0])
    high = float(_hyperbolic(np.asarray([1.0 - sky]), d, intensity)[0])
    return np.asarray((value - low) / (high - low))


_CURVES: dict[str, Callable[[Floats, float, float, float], Floats]] = {
    "asinh": _asinh,
    "mtf": _mtf,
    "ghs": _ghs,
    "reinhard": _reinhard,
}

FILTER = Filter(
    "stretch",
    2,
    "linear",
    stretch,
    measure_levels,
    needs=frozenset({"mask", "conditions"}),
    settings_of_measure=frozenset({"linked"}),
)
