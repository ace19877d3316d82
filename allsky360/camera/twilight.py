"""How bright the sky is at a Sun altitude, good enough to look a few minutes ahead."""

from __future__ import annotations

import math

# log10 of the illuminance in lux as a cubic of (altitude / 90 deg), per range of altitude:
# Janiczek & DeYoung 1987 (USNO Circular 171), Explanatory Supplement 1992, table 9.3.
_RANGES: tuple[tuple[float, tuple[float, float, float, float]], ...] = (
    (20.0, (3.74, 3.97, -4.07, 1.47)),
    (5.0, (3.05, 13.28, -45.98, 64.33)),
    (-0.8, (2.88, 22.26, -207.64, 1034.30)),
    (-5.0, (2.88, 21.81, -258.11, -858.36)),
    (-12.0, (2.70, 12.17, -431.69, -1899.83)),
    (-18.0, (13.84, 262.72, 1447.42, 2797.93)),
)
#: Airglow and starlight: what remains when the Sun is far below, lux.
NIGHT_LUX = 1.0e-3


def sky_ev(sun_altitude_deg: float) -> float:
    """Return log2 of the horizontal illuminance in lux by Sun and night sky, without Moon."""
    altitude = min(90.0, max(-18.0, sun_altitude_deg))
    a, b, c, d = next(factors for floor, factors in _RANGES if altitude >= floor)
    x = altitude / 90.0
    lux = 10.0 ** (a + x * (b + x * (c + x * d)))
    # The table ends at -18 degrees; what little is left fades within two degrees more.
    lux *= math.exp(min(0.0, sun_altitude_deg + 18.0))
    return math.log2(lux + NIGHT_LUX)


def sky_slope(sun_altitude_deg: float) -> float:
    """Return the change of :func:`sky_ev` per degree of Sun altitude."""
    return (sky_ev(sun_altitude_deg + 0.5) - sky_ev(sun_altitude_deg - 0.5)) / 1.0
