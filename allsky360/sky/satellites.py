"""Satellites from two-line elements: where they stand, whether in sunlight, which one it was.

SGP4 as in Vallado et al. (2006), AIAA 2006-6753 (the ``sgp4`` package), and Skyfield's rotations
from its TEME frame to the horizon. Elements age: along their path low satellites are a degree or
more off after some days, across it much less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allsky360.errors import AllskyError
from allsky360.model import Site, as_utc
from allsky360.sky.catalogue import altaz_of, horizon_vectors
from allsky360.sky.ephemeris import ephemeris, horizon_rotation, place, skyfield_time
from allsky360.sky.refraction import pressure_mbar, refraction_deg

Float = NDArray[np.float64]

OLDEST_DAYS = 15.0
"""Elements further than this from the frame, before or after, say nothing."""

ACROSS_DEG, ALONG_DEG = 1.0, 2.0
"""How far a streak may lie from a satellite's path, and run beyond its ends."""

LEAST_SHARE = 0.25
"""Of the path in the exposure: a shorter streak is not put down to the satellite."""

_EARTH_KM = 6378.137


class ElementsError(AllskyError):
    """A file of two-line elements that cannot be used."""


@dataclass(frozen=True, eq=False)
class Elements:
    """Two-line elements of many satellites.

    Attributes
    ----------
    names
        As the file says; the catalogue number where it has no names.
    array
        ``sgp4.api.SatrecArray``.
    epoch_days
        ``(N,)`` epochs as days since 2000-01-01 00:00 UTC.
    """

    names: tuple[str, ...]
    array: Any
    epoch_days: Float

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class Match:
    """The satellite a streak fits.

    ``off_deg`` is the greatest distance of the streak from its predicted path, ``age_days`` how far
    the elements' epoch is away.
    """

    name: str
    off_deg: float
    age_days: float


def read_elements(path: Path) -> Elements:
    """Read a file of two-line elements, with or without a line of names; kept until it changes.

    Raises
    ------
    ElementsError
        Where it cannot be read, a checksum is wrong, or it holds no elements.
    """
    try:
        stamp = path.stat()
        return _cached(path, stamp.st_mtime_ns, stamp.st_size)
    except OSError as error:
        raise ElementsError(
            f"The satellites' elements {path} cannot be read: {error.strerror}.",
            mend="Correct transients.tle_file.",
        ) from error


@lru_cache(maxsize=2)
def _cached(path: Path, mtime_ns: int, size: int) -> Elements:
    return parse_elements(path.read_text(encoding="utf-8", errors="replace"), str(path))


def parse_elements(text: str, source: str = "the text") -> Elements:
    """Read two-line elements; see :func:`read_elements`."""
    from sgp4.api import Satrec, SatrecArray

    names, records = [], []
    name, first = "", ""
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.rstrip()
        if line.startswith("1 ") and len(line) >= 69:
            first = _checked(line, number, source)
        elif line.startswith("2 ") and len(line) >= 69:
            if line[2:7] != first[2:7]:
                raise ElementsError(f"{source}, line {number}, does not follow its first line.")
            try:
                records.append(Satrec.twoline2rv(first, _checked(line, number, source)))
            except ValueError as error:
                raise ElementsError(f"{source}, line {number}: {error}.") from error
            names.append(name or f"catalogue number {line[2:7].strip()}")
            name, first = "", ""
        elif line and not line.startswith("#"):
            name = line.removeprefix("0 ").strip()
    if not records:
        raise ElementsError(
            f"{source} holds no two-line elements.", mend="Save the TLE (or 3LE) format."
        )
    epochs = np.array([r.jdsatepoch - 2451544.5 + r.jdsatepochF for r in records])
    return Elements(tuple(names), SatrecArray(records), epochs)


def _checked(line: str, number: int, source: str) -> str:
    total = sum(int(c) if c.isdecimal() else c == "-" for c in line[:68])
    if not line[68].isdecimal() or total % 10 != int(line[68]):
        raise ElementsError(
            f"{source}, line {number}, has a wrong checksum.", mend="Download it again."
        )
    return line


def satellite_vectors(
    elements: Elements, site: Site, whens: Sequence[datetime]
) -> tuple[Float, NDArray[np.bool_]]:
    """Return apparent directions, and whether the Sun lights them.

    Returns
    -------
    vectors
        ``(N, T, 3)`` unit vectors (north, east, up), refraction applied; NaN where SGP4 fails or
        the elements are more than fifteen days away.
    lit
        ``(N, T)`` outside the Earth's shadow (a cylinder).
    """
    from skyfield.sgp4lib import TEME

    vectors = np.full((len(elements), len(whens), 3), np.nan)
    lit = np.zeros((len(elements), len(whens)), np.bool_)
    earth, sun = ephemeris()["earth"], ephemeris()["sun"]
    pressure = pressure_mbar(site.elevation_m)
    for k, when in enumerate(whens):
        t = skyfield_time(when)
        utc = as_utc(when)
        day = datetime(utc.year, utc.month, utc.day, tzinfo=UTC)
        fraction = (utc - day) / timedelta(days=1)
        jd = 2451544.5 + (day - datetime(2000, 1, 1, tzinfo=UTC)).days
        error, r, _ = elements.array.sgp4(np.array([float(jd)]), np.array([fraction]))
        old = np.abs(elements.epoch_days - (jd - 2451544.5 + fraction)) > OLDEST_DAYS
        bad = (error[:, 0] != 0) | old
        icrs = np.where(bad[:, None], np.nan, r[:, 0]) @ np.asarray(TEME.rotation_at(t))
        toward_sun = np.asarray(earth.at(t).observe(sun).position.km)
        toward_sun = toward_sun / np.linalg.norm(toward_sun)
        ahead = icrs @ toward_sun
        aside = np.linalg.norm(icrs - ahead[:, None] * toward_sun, axis=1)
        with np.errstate(invalid="ignore"):
            lit[:, k] = (ahead > 0) | (aside > _EARTH_KM)
        seen = (icrs - np.asarray(place(site).at(t).position.km)) @ horizon_rotation(site, when).T
        seen /= np.linalg.norm(seen, axis=1, keepdims=True)
        altitude, azimuth = altaz_of(seen)
        lift = refraction_deg(altitude, pressure_mbar=pressure)
        vectors[:, k] = horizon_vectors(altitude + lift, azimuth)
    return vectors, lit


def identify(
    elements: Elements,
    site: Site,
    begin: datetime,
    end: datetime,
    streaks: Sequence[tuple[Float, Float]],
) -> list[Match | None]:
    """Return which satellite each streak of an exposure fits best, None where none does.

    Parameters
    ----------
    begin, end
        UTC, of the exposure.
    streaks
        Unit vectors (north, east, up) of both ends of each, in either order.
    """
    if not streaks:
        return []
    paths, lit = satellite_vectors(elements, site, (begin, end))
    with np.errstate(invalid="ignore"):
        use = np.flatnonzero(lit.any(axis=1) & (paths[..., 2] > 0).any(axis=1))
    paths = paths[use]
    middle = begin + 0.5 * (end - begin)
    days = (as_utc(middle) - datetime(2000, 1, 1, tzinfo=UTC)) / timedelta(days=1)
    out: list[Match | None] = []
    for ends in streaks:
        off = _misfit(paths, np.stack(ends))
        best = int(np.argmin(off)) if off.size else -1
        if best < 0 or not np.isfinite(off[best]):
            out.append(None)
            continue
        k = int(use[best])
        out.append(
            Match(elements.names[k], float(off[best]), float(abs(days - elements.epoch_days[k])))
        )
    return out


def _misfit(paths: Float, ends: Float) -> Float:
    """Return how far a streak ``(2, 3)`` lies from each path ``(N, 2, 3)``, degrees; inf: too far.

    Angles are taken across and along the great circle of each path. A satellite that hardly moves,
    as geostationary ones, leaves no streak.
    """
    pole = np.cross(paths[:, 0], paths[:, 1])
    size = np.linalg.norm(pole, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        pole = pole / size[:, None]
        length = np.degrees(np.arctan2(size, np.sum(paths[:, 0] * paths[:, 1], axis=1)))
        across = np.degrees(np.arcsin(np.clip(pole @ ends.T, -1.0, 1.0)))
        ahead = np.cross(pole, paths[:, 0])
        along = np.degrees(np.arctan2(ahead @ ends.T, paths[:, 0] @ ends.T))
        low, high = along.min(axis=1), along.max(axis=1)
        off = np.abs(across).max(axis=1)
        fits = (off <= ACROSS_DEG) & (low >= -ALONG_DEG) & (high <= length + ALONG_DEG)
        fits &= (high - low >= LEAST_SHARE * length) & (length > 0.05)
    return np.where(fits, off, np.inf)


def lit_from_km(sun_vector: Float, vector: Float) -> float:
    """Return the height from which on a direction lies in sunlight; infinite above 40 000 km.

    Parameters
    ----------
    sun_vector, vector
        Unit vectors (north, east, up) of the Sun (no refraction) and of the direction.
    """
    way = np.linspace(0.0, 45_000.0, 9_001)
    place_km = np.array([0.0, 0.0, _EARTH_KM]) + way[:, None] * vector
    ahead = place_km @ sun_vector
    aside = np.linalg.norm(place_km - ahead[:, None] * sun_vector, axis=1)
    lit = (ahead > 0) | (aside > _EARTH_KM)
    lit[0] = False
    if not lit.any():
        return float("inf")
    return float(np.linalg.norm(place_km[int(np.argmax(lit))]) - _EARTH_KM)
