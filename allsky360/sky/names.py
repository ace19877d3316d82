"""What stars are called, by Hipparcos number: proper names, Bayer letters, Flamsteed numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class StarName:
    """The names of one star; what it has not is an empty string.

    Attributes
    ----------
    hip
        Hipparcos number.
    proper
        Name of the IAU Working Group on Star Names, e.g. ``Sirius``.
    bayer
        Greek or Latin letter, with a raised number where several stars share it, e.g. ``π³``.
    flamsteed
        Number, e.g. ``61``.
    constellation
        Three-letter IAU abbreviation.
    """

    hip: int
    proper: str
    bayer: str
    flamsteed: str
    constellation: str

    @property
    def designation(self) -> str:
        """Bayer letter, else Flamsteed number, with the constellation: ``α CMa``, ``61 Cyg``."""
        sign = self.bayer or self.flamsteed
        return f"{sign} {self.constellation}" if sign else ""

    @property
    def label(self) -> str:
        """Proper name, else designation, else the Hipparcos number."""
        return self.proper or self.designation or f"HIP {self.hip}"


@lru_cache(maxsize=1)
def names_file() -> Any:
    """Return the packaged names as plain JSON values, read once."""
    text = files("allsky360.sky").joinpath("data/names.json").read_text(encoding="utf-8")
    return json.loads(text)


@lru_cache(maxsize=1)
def star_names() -> Mapping[int, StarName]:
    """Return every named or designated star of the catalogue by Hipparcos number."""
    rows = names_file()["stars"]
    return MappingProxyType({int(hip): StarName(int(hip), *row) for hip, row in rows.items()})


def star_name(hip: int) -> StarName:
    """Return the names of a star; one that has none answers ``HIP n``."""
    return star_names().get(hip) or StarName(hip, "", "", "", "")


@lru_cache(maxsize=1)
def _by_text() -> Mapping[str, int]:
    found: dict[str, int] = {}
    for star in star_names().values():
        for text in (star.designation, star.proper):
            if text:
                found.setdefault(text.casefold(), star.hip)
    return MappingProxyType(found)


def find_star(text: str) -> int | None:
    """Return the Hipparcos number of ``Vega``, ``α Lyr``, ``61 Cyg`` or ``HIP 91262``, or None."""
    wanted = " ".join(text.split()).casefold()
    if wanted.startswith("hip ") and wanted[4:].isdecimal():
        return int(wanted[4:])
    return _by_text().get(wanted)
