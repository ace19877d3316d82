"""White balance: gains that make the night sky grey, moving to daylight gains by day.

A moonless sky is close to neutral and its tint is mostly the sensor's and the filter's, so at night
the sky background itself is the reference ("grey-sky"). By day the sky is blue and must stay so:
there the fixed gains for daylight apply. In between the two are mixed in log gain.
"""

from __future__ import annotations

import math

import numpy as np

VERSION = 1

LIMIT = 4.0
"""Gains stay within 1/LIMIT and LIMIT."""


def grey_gains(background: tuple[float, ...], black: tuple[float, ...]) -> tuple[float, ...]:
    """Gains, green = 1, that make ``background - black`` neutral.

    Where a channel has no signal above black, its gain is 1.
    """
    if len(background) == 1:
        return (1.0,)
    light = [b - k for b, k in zip(background, black, strict=True)]
    green = light[1]
    if green <= 0:
        return (1.0, 1.0, 1.0)
    return tuple(
        float(np.clip(green / v, 1.0 / LIMIT, LIMIT)) if v > 1e-3 * green else 1.0 for v in light
    )


def mix_gains(
    night: tuple[float, ...], day: tuple[float, ...], daylight: float
) -> tuple[float, ...]:
    """Geometric mix of two sets of gains; ``daylight`` from 0 (night) to 1."""
    return tuple(
        math.exp((1.0 - daylight) * math.log(a) + daylight * math.log(b))
        for a, b in zip(night, day, strict=True)
    )
