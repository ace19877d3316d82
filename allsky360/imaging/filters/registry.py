"""All filters by name."""

from __future__ import annotations

from allsky360.imaging.filters import (
    acdnr,
    crop,
    flip,
    gamma,
    mask,
    rotate,
    saturation,
    scnr,
    stretch,
    tone_map,
)
from allsky360.imaging.filters.filter import Filter

FILTERS: dict[str, Filter] = {
    f.name: f
    for f in (
        acdnr.FILTER,
        crop.FILTER,
        flip.FILTER,
        gamma.FILTER,
        mask.FILTER,
        rotate.FILTER,
        saturation.FILTER,
        scnr.FILTER,
        stretch.FILTER,
        tone_map.FILTER,
    )
}
