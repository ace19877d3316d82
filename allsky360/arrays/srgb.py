"""sRGB's transfer function, powers and the cube root for compiled loops, without tables.

A table look-up keeps a loop from being vectorised, and a division costs as much as ten products.
So cube roots are found by one high-order step from a guess that the bits of the number give, and
the bent parts of IEC 61966-2-1 are polynomials of degree 6, fitted here by Chebyshev interpolation.
Codes are off by less than 2e-5, a two-hundredth of an 8-bit step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allsky360.arrays.bands import compiled

Doubles = NDArray[np.float64]

LINEAR_CODE, LINEAR_LIGHT, SLOPE = 0.04045, 0.0031308, 12.92
"""Below these the transfer function is a straight line of this slope."""


def encode(light: Doubles) -> Doubles:
    """Return the sRGB code over 255 of linear light (IEC 61966-2-1)."""
    bent = 1.055 * light ** (1 / 2.4) - 0.055
    return np.asarray(np.where(light <= LINEAR_LIGHT, SLOPE * light, bent))


def decode(code: Doubles) -> Doubles:
    """Return the linear light of an sRGB code over 255."""
    bent = ((code + 0.055) / 1.055) ** 2.4
    return np.asarray(np.where(code <= LINEAR_CODE, code / SLOPE, bent))


def _fitted(
    function: Callable[[Doubles], Doubles], low: float, high: float = 1.0, degree: int = 6
) -> list[np.float32]:
    """Coefficients from degree 0 up of a polynomial that follows a function in an interval."""
    found = np.polynomial.Chebyshev.interpolate(function, degree, domain=[low, high])
    return [np.float32(c) for c in found.convert(kind=np.polynomial.Polynomial).coef]


_D0, _D1, _D2, _D3, _D4, _D5, _D6 = _fitted(decode, LINEAR_CODE)
# Of the cube root of light, which is nearly the code itself.
_E0, _E1, _E2, _E3, _E4, _E5, _E6 = _fitted(lambda y: encode(y**3), LINEAR_LIGHT ** (1 / 3))
_L0, _L1, _L2, _L3, _L4, _L5, _L6 = _fitted(np.log2, 1.0, 2.0)
_P0, _P1, _P2, _P3, _P4 = _fitted(np.exp2, 0.0, 1.0, 4)

_GUESS = np.float32(1.4199e9)
_THIRD, _SECOND, _LAST = np.float32(1 / 3), np.float32(2 / 9), np.float32(14 / 81)
_ONE = np.float32(1.0)
_STEEP, _FLAT = np.float32(SLOPE), np.float32(1 / SLOPE)
_DARK_CODE, _DARK_LIGHT = np.float32(LINEAR_CODE), np.float32(LINEAR_LIGHT)


@compiled
def cube_root(x: Any) -> Any:
    """Cube root of a float32 from 0 to 1e6, off by less than 4e-5 of itself.

    ``y = x^(-1/3)`` from minus a third of the bits (off by 3 %), one step of fourth order for
    ``1 - x y^3 = 0``, and ``x y^2``.
    """
    bits = np.float32(np.float32(x).view(np.int32))
    y = np.int32(_GUESS - _THIRD * bits).view(np.float32)
    h = _ONE - x * y * y * y
    y = y * (_ONE + h * (_THIRD + h * (_SECOND + h * _LAST)))
    return x * y * y


@compiled
def decoded(code: Any) -> Any:
    """Linear light of an sRGB code over 255, both 0 to 1."""
    c = code
    bent = _D0 + c * (_D1 + c * (_D2 + c * (_D3 + c * (_D4 + c * (_D5 + c * _D6)))))
    return c * _FLAT if c <= _DARK_CODE else bent


@compiled
def encoded(light: Any) -> Any:
    """Return the sRGB code over 255 of linear light, both 0 to 1."""
    y = cube_root(light)
    bent = _E0 + y * (_E1 + y * (_E2 + y * (_E3 + y * (_E4 + y * (_E5 + y * _E6)))))
    return light * _STEEP if light <= _DARK_LIGHT else bent


@compiled
def power(x: Any, exponent: Any) -> Any:
    """Return ``x ** exponent`` of float32, x from 1e-6 to 1e6 and the result too, off by 1e-5.

    ``2 ^ (exponent log2 x)``, both by the bits of the number and a polynomial of its fraction.
    """
    bits = np.float32(x).view(np.int32)
    whole = np.float32((bits >> np.int32(23)) - np.int32(127))
    m = np.int32((bits & np.int32(0x7FFFFF)) | np.int32(0x3F800000)).view(np.float32)
    log = _L0 + m * (_L1 + m * (_L2 + m * (_L3 + m * (_L4 + m * (_L5 + m * _L6)))))
    log = exponent * (whole + log)
    octave = np.floor(log)
    f = log - octave
    fraction = _P0 + f * (_P1 + f * (_P2 + f * (_P3 + f * _P4)))
    scale = np.int32(octave + np.float32(127.0)) << np.int32(23)
    return fraction * np.int32(scale).view(np.float32)
