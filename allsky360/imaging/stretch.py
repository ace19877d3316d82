"""From linear light to a picture: one luminance curve, colours scaled with it.

The curve is ``asinh(b x) / asinh(b)`` between black and white point, with ``b`` such that the sky
background comes out at its target (Lupton et al. 2004, PASP 116, 133, for asinh and for scaling the
colours by the stretched luminance instead of stretching each channel). Its value is the sRGB code,
so the lowest lights get the contrast the eye expects from a night picture. Near white, colour is
reduced just enough to stay inside the gamut, at constant hue and luminance: stars stay coloured and
nothing turns magenta. Colour fades where luminance drowns in noise and beside saturated pixels.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from allsky360.arrays import Array, maximum3, render
from allsky360.imaging.tone import Display

VERSION = 1

CURVE_SIZE = 8192
MAX_BEND = 1e15


def solve_bend(sky: float, target: float) -> float:
    """Find ``b`` with ``asinh(b sky) / asinh(b) = target``.

    Parameters
    ----------
    sky
        Sky background between black (0) and white (1).
    target
        Wanted display level; 0 is returned for a sky that is brighter than that already.
    """
    sky = min(max(sky, 1e-9), 1.0)
    if sky >= target:
        return 0.0
    low, high = math.log(1e-3), math.log(MAX_BEND)
    for _ in range(60):
        middle = 0.5 * (low + high)
        b = math.exp(middle)
        if math.asinh(b * sky) / math.asinh(b) < target:
            low = middle
        else:
            high = middle
    return math.exp(0.5 * (low + high))


def luminance_curve(sky: float, target: float) -> NDArray[np.float32]:
    """Sample the curve at evenly spaced square roots, as linear light (sRGB decoded)."""
    x = np.linspace(0.0, 1.0, CURVE_SIZE) ** 2
    b = solve_bend(sky, target)
    if b:
        code = np.arcsinh(b * x) / math.asinh(b)
    else:
        # An overexposed sky: half of the way (in log) down to the target, by a power.
        sky = min(sky, 0.95)
        code = x ** (math.log(math.sqrt(sky * target)) / math.log(sky))
    light = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
    return light.astype(np.float32)


def to_picture(
    linear: Array, clipped: Array, display: Display, *, noise: float, saturation: float
) -> Array:
    """Render the 8-bit picture.

    Parameters
    ----------
    linear
        ``(H, W, C)`` float32, C 1 or 3.
    clipped
        ``(H, W)`` uint8, 255 where saturated.
    display
        Levels in the unit of ``linear``.
    noise
        Standard deviation of one sky pixel in that unit.
    saturation
        Factor on colour differences.

    Returns
    -------
    Array
        ``(H, W, 3)`` uint8 sRGB.
    """
    span = max(display.white - display.black, 1e-9)
    above = max(display.sky - display.black, 1e-9)
    return render(
        linear,
        maximum3(maximum3(clipped)),
        offset=[o + display.black / g for o, g in zip(display.offset, display.gains, strict=True)],
        gain=display.gains,
        white=span,
        curve=luminance_curve(above / span, display.target),
        chroma_floor=math.hypot(2.0 * noise, 0.2 * above),
        saturation=saturation,
    )
