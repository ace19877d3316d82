"""White balance: gains that make the night sky nearly grey, moving to daylight gains by day.

A moonless sky is close to neutral and its tint is mostly the sensor's and the filter's, so at night
the sky background itself is the reference ("grey-sky"), but for a touch of blue: people know the
night as blue, and moonlit clouds beside a blue sky turn brown where that sky is made grey. By day
the sky is blue and must stay so: there the fixed gains for daylight apply. In between the two are
mixed in log gain.
"""

from __future__ import annotations

import math

import numpy as np

VERSION = 2

LIMIT = 4.0
"""Gains stay within 1/LIMIT and LIMIT."""

NIGHT_TINT = (0.94, 1.0, 1.08)
"""Red, green and blue of a night sky, linear light; the black point makes it show more."""


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


def night_gains(background: tuple[float, ...], black: tuple[float, ...]) -> tuple[float, ...]:
    """Gains, green = 1, that give ``background - black`` the colour of a night sky."""
    grey = grey_gains(background, black)
    return grey if len(grey) == 1 else tuple(g * t for g, t in zip(grey, NIGHT_TINT, strict=True))


def mix_gains(
    night: tuple[float, ...], day: tuple[float, ...], daylight: float
) -> tuple[float, ...]:
    """Geometric mix of two sets of gains; ``daylight`` from 0 (night) to 1."""
    return tuple(
        math.exp((1.0 - daylight) * math.log(a) + daylight * math.log(b))
        for a, b in zip(night, day, strict=True)
    )
