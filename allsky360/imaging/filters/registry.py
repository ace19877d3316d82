"""All filters by name."""

from __future__ import annotations

from allsky360.imaging.filters import (
    acdnr,
    clarity,
    crop,
    dehaze,
    flip,
    fuse,
    gamma,
    gradient,
    local_histogram,
    mask,
    median,
    multiscale_median,
    neutralise,
    rotate,
    saturation,
    scnr,
    sharpen,
    stretch,
    tone_map,
)
from allsky360.imaging.filters.filter import Filter

FILTERS: dict[str, Filter] = {
    f.name: f
    for f in (
        acdnr.FILTER,
        clarity.FILTER,
        crop.FILTER,
        dehaze.FILTER,
        flip.FILTER,
        fuse.FILTER,
        gamma.FILTER,
        gradient.FILTER,
        local_histogram.FILTER,
        mask.FILTER,
        median.FILTER,
        multiscale_median.FILTER,
        neutralise.FILTER,
        rotate.FILTER,
        saturation.FILTER,
        scnr.FILTER,
        sharpen.FILTER,
        stretch.FILTER,
        tone_map.FILTER,
    )
}
