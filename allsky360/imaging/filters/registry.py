"""All filters by name."""

from __future__ import annotations

from allsky360.imaging.filters import crop, flip, mask, rotate, saturation, scnr, stretch
from allsky360.imaging.filters.filter import Filter

FILTERS: dict[str, Filter] = {
    f.name: f
    for f in (
        crop.FILTER,
        flip.FILTER,
        mask.FILTER,
        rotate.FILTER,
        saturation.FILTER,
        scnr.FILTER,
        stretch.FILTER,
    )
}
