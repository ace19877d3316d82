"""The numbers a person asks for in the morning."""

from __future__ import annotations

import numpy as np

from allsky360.report.gather import CLEAR_BELOW, NightFacts


def statistics(facts: NightFacts) -> dict[str, str]:
    """Return label and value of each number that is known, in the order they are shown."""
    found: dict[str, str] = {"frames": str(facts.raw)}
    if facts.processed != facts.raw:
        found["of these processed"] = str(facts.processed)
    open_s = float(facts.column("open_s").sum())
    found["exposing"] = f"{open_s / 3600:.1f} h" if open_s >= 3600 else f"{open_s / 60:.0f} min"
    found["dark, Moon down"] = f"{facts.times.dark_h:.1f} h"
    clear = clear_share(facts)
    if clear is not None:
        found["clear, of the dark frames"] = f"{100 * clear:.0f} %"
    sky = _dark_values(facts, "sky_brightness_mag_arcsec2")
    if sky.size:
        found["darkest zenith"] = f"{np.quantile(sky, 0.95):.2f} mag/arcsec²"
        found["zenith, median"] = f"{np.median(sky):.2f} mag/arcsec²"
    depth = _dark_values(facts, "limiting_mag")
    if depth.size:
        found["faintest star"] = f"{depth.max():.1f} mag"
    stars = facts.column("stars_found")
    if np.isfinite(stars).any():
        found["most stars in a frame"] = f"{np.nanmax(stars):.0f}"
    width = _dark_values(facts, "fwhm_px")
    if width.size:
        found["star width, median"] = f"{np.median(width):.2f} px"
    warm = facts.column("temperature_c")
    if np.isfinite(warm).any():
        found["sensor"] = f"{np.nanmin(warm):.1f} to {np.nanmax(warm):.1f} °C"
    plural = {"meteor": "meteors", "satellite": "satellites", "unknown": "unknown transients"}
    for kind in ("meteor", "satellite", "aircraft", "unknown"):
        if kind in facts.sighting_counts:
            found[plural.get(kind, kind)] = str(facts.sighting_counts[kind])
    if facts.gaps:
        minutes = sum(g.minutes for g in facts.gaps)
        found["without frames"] = f"{minutes:.0f} min in {len(facts.gaps)} gaps"
    return found


def clear_share(facts: NightFacts) -> float | None:
    """Share of the dark frames with a clear sky; None where clouds were not told."""
    cloud = _dark_values(facts, "cloud_fraction")
    return float(np.mean(cloud < CLEAR_BELOW)) if cloud.size else None


def _dark_values(facts: NightFacts, name: str) -> np.ndarray:
    values = facts.column(name)[facts.dark]
    return values[np.isfinite(values)]
