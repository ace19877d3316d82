"""What a night was like, in a few numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from allsky360.api.addresses import frame_address
from allsky360.api.index.night import NightIndex, instant
from allsky360.api.models import NightQuality
from allsky360.api.products import product_names
from allsky360.api.service import Service

DARK_SUN_DEG = -12.0
THUMBNAIL_WIDTH = 240


def quality_of(service: Service, night: NightIndex) -> NightQuality:
    """Summarise a night; kept until the night changes, but for its products."""
    if night.summary is None:
        night.summary = _summary(night)
    found: NightQuality = night.summary
    names = product_names(service, night.camera, night.night)
    return found.model_copy(update={"products": names})


def _summary(night: NightIndex) -> NightQuality:
    first, last = night.span()
    dark = _values(night, "sun_altitude_deg") < DARK_SUN_DEG
    transients = _values(night, "transients")
    return NightQuality(
        frames=night.rows,
        processed=int(np.count_nonzero(night.stamps() >= 0)),
        dark_frames=int(np.count_nonzero(dark)),
        first_frame=instant(first),
        last_frame=instant(last),
        clear_share=_mean(_values(night, "sky_clear")[dark]),
        cloud_share=_mean(_values(night, "cloud_fraction")[dark]),
        best_sky_brightness_mag_arcsec2=_high(_values(night, "sky_brightness_mag_arcsec2")[dark]),
        best_limiting_mag=_high(_values(night, "limiting_mag")[dark]),
        moon_illumination=_mean(_values(night, "moon_illumination")),
        transients=int(np.nansum(transients)),
        products=[],
        thumbnail=_thumbnail(night, dark),
    )


def _thumbnail(night: NightIndex, dark: NDArray[np.bool_]) -> str | None:
    """Address of the processed frame nearest to the middle of the dark frames, or of all."""
    stamps = night.stamps()
    rows = np.flatnonzero((stamps >= 0) & (dark if (dark & (stamps >= 0)).any() else True))
    if rows.size == 0:
        return None
    times = night.times()[rows]
    row = int(rows[np.argmin(np.abs(times - (times.min() + times.max()) // 2))])
    info = night.infos([row], ())[0]
    return frame_address(info, "/picture", width=THUMBNAIL_WIDTH, revision=info.revision)


def _values(night: NightIndex, name: str) -> NDArray[np.float64]:
    if name not in night.names:
        return np.full(night.rows, np.nan)
    return np.asarray(night.column(name), np.float64)


def _mean(values: NDArray[np.float64]) -> float | None:
    good = values[np.isfinite(values)]
    return round(float(good.mean()), 4) if good.size else None


def _high(values: NDArray[np.float64]) -> float | None:
    good = values[np.isfinite(values)]
    return round(float(np.quantile(good, 0.95)), 3) if good.size else None
