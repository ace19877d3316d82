from __future__ import annotations

import numpy as np
import pytest

from allsky360.sky.catalogue import load_catalogue
from allsky360.sky.constellations import (
    boundaries,
    constellation_at,
    constellations,
    loose_points,
)
from allsky360.sky.names import find_star, star_name, star_names


@pytest.mark.parametrize(
    ("hip", "proper", "designation"),
    [
        (32349, "Sirius", "α CMa"),
        (30438, "Canopus", "α Car"),
        (11767, "Polaris", "α UMi"),
        (71683, "Rigil Kentaurus", "α¹ Cen"),
        (65477, "Alcor", "g UMa"),
        (104214, "", "61 Cyg"),
        (22449, "Tabit", "π³ Ori"),
        (4427, "", "γ Cas"),
    ],
)
def test_well_known_stars(hip: int, proper: str, designation: str) -> None:
    star = star_name(hip)
    assert (star.proper, star.designation) == (proper, designation)
    assert star.label == (proper or designation)


def test_a_star_without_a_name_is_known_by_its_number() -> None:
    assert star_name(999999).label == "HIP 999999"


def test_every_bright_star_has_a_letter_or_a_name() -> None:
    bright = load_catalogue(3.5)
    nameless = [int(h) for h in bright.hip if star_name(int(h)).label.startswith("HIP")]
    assert nameless == []


def test_proper_names_are_unique_and_letters_lie_in_their_constellation() -> None:
    names = [s.proper for s in star_names().values() if s.proper]
    assert len(names) > 350
    assert len(names) == len(set(names))
    # Skyfield's constellation boundaries (Delporte, Roman 1987) are the judge. A few stars have
    # left the constellation that gave them their name, or sit on a border.
    stars = load_catalogue(5.0)
    wrong = 0
    checked = 0
    for hip, ra, dec in zip(stars.hip[:400], stars.ra_deg, stars.dec_deg, strict=False):
        star = star_name(int(hip))
        if star.constellation:
            checked += 1
            wrong += constellation_at(float(ra), float(dec)) != star.constellation
    assert checked > 350
    assert wrong <= 2


@pytest.mark.parametrize(
    ("text", "hip"),
    [("vega", 91262), (" α  lyr ", 91262), ("61 Cyg", 104214), ("HIP 42", 42), ("Gandalf", None)],
)
def test_find_star(text: str, hip: int | None) -> None:
    assert find_star(text) == hip


def test_eighty_eight_constellations_with_lines_between_catalogue_stars() -> None:
    figures = constellations()
    assert len({c.abbreviation for c in figures}) == 88
    assert [c.name for c in figures if c.abbreviation == "Ser"] == [
        "Serpens Caput",
        "Serpens Cauda",
    ]
    known = set(load_catalogue().hip.tolist()) | set(loose_points())
    for figure in figures:
        assert figure.lines
        assert all(len(path) >= 2 for path in figure.lines)
        assert known.issuperset(h for path in figure.lines for h in path)
    orion = next(c for c in figures if c.name == "Orion")
    assert {27989, 24436, 26311} <= {h for path in orion.lines for h in path}


def test_names_stand_in_their_own_constellation() -> None:
    wrong = [
        c.name
        for c in constellations()
        if constellation_at(c.centre_ra_deg, c.centre_dec_deg) != c.abbreviation
    ]
    assert len(wrong) <= 3


def test_boundaries_separate_the_two_constellations_they_name() -> None:
    from allsky360.sky.names import names_file

    rows = names_file()["boundaries"]
    pieces = boundaries()
    assert len(rows) == len(pieces)
    rng = np.random.default_rng(3)
    good = 0
    for i in rng.choice(len(pieces), 60, replace=False):
        line = pieces[i]
        middle = len(line) // 2
        (ra0, dec0), (ra1, dec1) = line[middle - 1], line[middle]
        dra = (ra1 - ra0 + 180) % 360 - 180
        ra, dec = ra0 + dra / 2, (dec0 + dec1) / 2
        # step 0.1 degree to both sides of the piece
        along = np.array([dra * np.cos(np.radians(dec)), dec1 - dec0])
        along /= np.hypot(*along)
        across = np.array([-along[1] / np.cos(np.radians(dec)), along[0]]) * 0.1
        sides = {
            constellation_at((ra + s * across[0]) % 360, dec + s * across[1]) for s in (-1.0, 1.0)
        }
        good += sides == {name[:3] for name in rows[i]["between"]}
    assert good >= 58
