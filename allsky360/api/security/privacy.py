"""What those without a token do not learn: where exactly the camera stands.

Rounding keeps the site from being read off. It does not keep it from being measured: whoever has
pictures of stars and their times can work it out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allsky360.model import Site

_TELLING = re.compile(r"(?:sun|moon)_(?:altitude|azimuth)_deg")
_TOLD_BY_PROVENANCE = ("software", "processed", "parameters_digest", "warnings")


def rounded_site(site: Site, step_deg: float) -> Site:
    """Return the site moved to the nearest point of a grid; its height to whole 100 m."""

    def snapped(angle: float, most: float) -> float:
        return min(max(round(round(angle / step_deg) * step_deg, 6), -most), most)

    return Site(
        site.name,
        snapped(site.latitude_deg, 90.0),
        snapped(site.longitude_deg, 180.0),
        float(round(site.elevation_m, -2)),
    )


def step_of(name: str, step_deg: float) -> float | None:
    """Return the step a measurement is rounded to; None for one that does not tell the site."""
    if name == "sidereal_time_h":
        return step_deg / 15.0
    return step_deg if _TELLING.fullmatch(name) else None


def coarse(name: str, value: float, step_deg: float) -> float:
    """Return a measurement as those without a token see it."""
    step = step_of(name, step_deg)
    return value if step is None else round(round(value / step) * step, 6)


def coarse_column(name: str, values: NDArray[Any], step_deg: float) -> NDArray[Any]:
    """Do the same for a whole column."""
    step = step_of(name, step_deg)
    return values if step is None else np.round(np.round(values / step) * step, 6)


def coarse_provenance(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Keep what says how a frame was made; headers of the camera's files may name the site."""
    kept = {k: provenance[k] for k in _TOLD_BY_PROVENANCE if k in provenance}
    return kept | ({"steps": provenance["steps"]} if "steps" in provenance else {})


def without_exif(jpeg: bytes) -> bytes:
    """Return a JPEG without its APP1 segments (EXIF, XMP), pixel for pixel the same."""
    if jpeg[:2] != b"\xff\xd8":
        return jpeg
    out, at = bytearray(b"\xff\xd8"), 2
    while at + 4 <= len(jpeg) and jpeg[at] == 0xFF:
        marker = jpeg[at + 1]
        if marker == 0xDA:  # the picture itself begins
            break
        size = 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
        if marker != 0xE1:
            out += jpeg[at : at + size]
        at += size
    return bytes(out + jpeg[at:])
