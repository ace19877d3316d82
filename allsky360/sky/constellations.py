"""Constellations: names, the usual line figures, the IAU boundaries."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allsky360.sky.names import names_file

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Constellation:
    """One of the 88 constellations (Serpens is two figures, Caput and Cauda).

    Attributes
    ----------
    abbreviation, name, genitive
        ``CMa``, ``Canis Major``, ``Canis Majoris``.
    rank
        1 prominent, 2, 3 faint.
    centre_ra_deg, centre_dec_deg
        Where its name reads well, ICRS.
    lines
        Paths of Hipparcos numbers; a negative number is a point of :func:`loose_points`.
    """

    abbreviation: str
    name: str
    genitive: str
    rank: int
    centre_ra_deg: float
    centre_dec_deg: float
    lines: tuple[tuple[int, ...], ...]


@lru_cache(maxsize=1)
def constellations() -> tuple[Constellation, ...]:
    """Return the 89 figures."""
    return tuple(_figure(c) for c in names_file()["constellations"])


def _figure(c: dict[str, Any]) -> Constellation:
    ra, dec = (float(v) for v in c["centre"])
    lines = tuple(tuple(int(hip) for hip in path) for path in c["lines"])
    return Constellation(c["id"], c["name"], c["genitive"], int(c["rank"]), ra, dec, lines)


@lru_cache(maxsize=1)
def loose_points() -> dict[int, tuple[float, float]]:
    """Return ICRS places, degrees, of line vertices whose star is not in the catalogue."""
    return {int(k): (float(ra), float(dec)) for k, (ra, dec) in names_file()["points"].items()}


@lru_cache(maxsize=1)
def boundaries() -> tuple[Float, ...]:
    """Return the boundary pieces, each ``(N, 2)`` ICRS degrees, no step beyond 2 degrees."""
    return tuple(np.array(b["line"], dtype=np.float64) for b in names_file()["boundaries"])


@lru_cache(maxsize=1)
def _map() -> Any:
    from skyfield.api import load_constellation_map

    return load_constellation_map()


def constellation_at(ra_deg: float, dec_deg: float) -> str:
    """Return the abbreviation of the constellation an ICRS place lies in."""
    from skyfield.api import position_of_radec

    return str(_map()(position_of_radec(ra_deg / 15.0, dec_deg)))
