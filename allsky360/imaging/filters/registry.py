"""All filters by name."""

from __future__ import annotations

from allsky360.imaging.filters import saturation, scnr, stretch
from allsky360.imaging.filters.filter import Filter

FILTERS: dict[str, Filter] = {f.name: f for f in (saturation.FILTER, scnr.FILTER, stretch.FILTER)}
