"""Satellites from two-line elements, against Skyfield's own path from TEME to the horizon."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from skyfield.api import EarthSatellite

from allsky360.model import Site
from allsky360.sky.catalogue import altaz_of, horizon_vectors
from allsky360.sky.ephemeris import ephemeris, place, skyfield_time, sun_moon, timescale
from allsky360.sky.satellites import (
    ElementsError,
    identify,
    lit_from_km,
    parse_elements,
    read_elements,
    satellite_vectors,
)

SITE = Site("La Palma", 28.7606, -17.8816, 2326.0)

# Made for these tests: a station-like, a sun-synchronous and a high orbit.
ORBITS = {
    "STATION": (51.64, 120.0, 0.0005, 15.50),
    "SYNCHRONOUS": (98.2, 200.0, 0.0010, 14.57),
    "HIGH": (40.0, 120.0, 0.0002, 2.3),
}


def tle(number: int, orbit: tuple[float, float, float, float], day: float = 318.0) -> list[str]:
    inclination, node, eccentricity, motion = orbit
    lines = [
        f"1 {number:05d}U 26001A   26{day:012.8f}  .00000000  00000-0  10000-4 0  999",
        f"2 {number:05d} {inclination:8.4f} {node:8.4f} {round(eccentricity * 1e7):07d}"
        f" {90.0:8.4f} {10.0 * number % 360:8.4f} {motion:11.8f}{1:5d}",
    ]
    return [f"{s}{sum(int(c) if c.isdigit() else c == '-' for c in s) % 10}" for s in lines]


TEXT = "\n".join(
    line for k, (name, orbit) in enumerate(ORBITS.items(), 1) for line in (name, *tle(k, orbit))
)


def passes(name: str, step_s: float = 60.0) -> list[datetime]:
    """Instants of the night at which a satellite stands above 25 degrees in sunlight."""
    elements = parse_elements(TEXT)
    start = datetime(2026, 11, 15, 6, 20, tzinfo=UTC)
    whens = [start + timedelta(seconds=step_s * k) for k in range(40)]
    vectors, lit = satellite_vectors(elements, SITE, whens)
    k = elements.names.index(name)
    return [w for w, v, sun in zip(whens, vectors[k], lit[k], strict=True) if v[2] > 0.42 and sun]


def test_directions_and_sunlight_agree_with_skyfield() -> None:
    elements = parse_elements(TEXT)
    start = datetime(2026, 11, 14, 20, 0, tzinfo=UTC)
    whens = [start + timedelta(seconds=120 * k) for k in range(340)]
    vectors, lit = satellite_vectors(elements, SITE, whens)
    t = skyfield_time(whens)
    lines = TEXT.splitlines()
    checked: list[int] = []
    for k in range(3):
        satellite = EarthSatellite(lines[3 * k + 1], lines[3 * k + 2], ts=timescale())
        alt, az, _ = (satellite - place(SITE)).at(t).altaz(temperature_C=10.0, pressure_mbar=764.0)
        up = alt.degrees > 5.0
        truth = horizon_vectors(alt.degrees, az.degrees)
        off = np.degrees(np.linalg.norm(vectors[k] - truth, axis=1))
        assert off[up].max(initial=0.0) < 0.02
        checked += [int(up.sum())]
        sunlit = satellite.at(t).is_sunlit(ephemeris())
        assert np.mean(lit[k] == sunlit) > 0.98  # they differ in the flattening of the Earth
    assert sum(n >= 3 for n in checked) >= 2


def test_a_streak_gets_the_name_of_the_satellite_that_made_it() -> None:
    elements = parse_elements(TEXT)
    begin = passes("STATION")[0]
    end = begin + timedelta(seconds=10)
    path, _ = satellite_vectors(elements, SITE, [begin, end])
    true = (path[0, 1], path[0, 0])  # ends in either order
    alt, az = altaz_of(np.stack(true))
    turned = tuple(horizon_vectors(alt, az + 8.0))
    across = (
        horizon_vectors(alt[:1] + 5.0, az[:1])[0],
        horizon_vectors(alt[:1] - 5.0, az[:1])[0],
    )
    first, aside, other = identify(elements, SITE, begin, end, [true, turned, across])
    assert first is not None
    assert first.name == "STATION"
    assert first.off_deg < 0.01
    assert 0.0 < first.age_days < 3.0
    assert aside is None
    assert other is None
    assert identify(elements, SITE, begin, end, []) == []


def test_old_elements_say_nothing() -> None:
    elements = parse_elements(TEXT)
    when = datetime(2026, 12, 20, 20, 0, tzinfo=UTC)
    vectors, lit = satellite_vectors(elements, SITE, [when])
    assert np.isnan(vectors).all()
    assert not lit.any()
    up = np.array([0.0, 0.0, 1.0])
    ends = (up, horizon_vectors(np.array(80.0), np.array(0.0)))
    assert identify(elements, SITE, when, when + timedelta(seconds=10), [ends]) == [None]


def test_files_with_and_without_names_are_read_again_when_they_change(tmp_path: Path) -> None:
    path = tmp_path / "tle.txt"
    path.write_text("\n".join(tle(7, ORBITS["STATION"])) + "\n")
    assert read_elements(path).names == ("catalogue number 00007",)
    path.write_text("# made today\n0 THE STATION\n" + "\n".join(tle(7, ORBITS["STATION"])))
    os.utime(path, ns=(1, 1))
    assert read_elements(path).names == ("THE STATION",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no two-line elements"),
        ("<html>busy</html>", "holds no two-line elements"),
        ("\n".join(tle(1, ORBITS["HIGH"]))[:-1] + "x", "line 2, has a wrong checksum"),
        (tle(1, ORBITS["HIGH"])[0] + "\n" + tle(2, ORBITS["HIGH"])[1], "line 2, does not follow"),
    ],
)
def test_what_is_no_elements_is_one_clear_error(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "tle.txt"
    path.write_text(text)
    with pytest.raises(ElementsError, match=words):
        read_elements(path)
    with pytest.raises(ElementsError, match="cannot be read"):
        read_elements(tmp_path / "none.txt")


def test_the_height_of_the_shadow() -> None:
    up = np.array([0.0, 0.0, 1.0])
    for altitude in (-10.0, -25.0):
        sun = horizon_vectors(np.array(altitude), np.array(90.0))
        # straight up, the shadow's edge is where R / cos(depression) is reached
        expected = 6378.137 * (1.0 / np.cos(np.radians(altitude)) - 1.0)
        assert lit_from_km(sun, up) == pytest.approx(expected, abs=8.0)
    lights = sun_moon(SITE, datetime(2026, 12, 21, 1, 0, tzinfo=UTC))
    sun = horizon_vectors(np.array(lights.sun_altitude_deg), np.array(lights.sun_azimuth_deg))
    assert lit_from_km(sun, up) > 2000.0
    assert lit_from_km(np.array([0.0, 0.0, -1.0]), up) == float("inf")
