"""What frames are searched by: typed bounds on common measurements, and conditions on any."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from fastapi import Depends, Query

from allsky360.api.index.search import MAX_CONDITIONS, Condition, read_conditions
from allsky360.api.problems import BadRange

Angle = Annotated[float | None, Query(ge=-90, le=90)]
Share = Annotated[float | None, Query(ge=0, le=1)]

NAMED: dict[str, str] = {
    "sun_altitude": "sun_altitude_deg",
    "moon_altitude": "moon_altitude_deg",
    "moon_illumination": "moon_illumination",
    "cloud_fraction": "cloud_fraction",
    "sky_brightness": "sky_brightness_mag_arcsec2",
    "stars": "stars_detected",
    "exposure": "exposure_s",
    "transients": "transients",
}
"""Filter and the measurement behind it."""


@dataclass(frozen=True)
class Filters:
    """What a frame has to meet; ``query`` is how a next page asks for the same."""

    conditions: tuple[Condition, ...] = ()
    processed: bool | None = None
    query: tuple[tuple[str, str], ...] = ()


async def asked_filters(
    sun_altitude_min: Annotated[Angle, Query(description="Degrees.")] = None,
    sun_altitude_max: Annotated[
        Angle, Query(description="Degrees; -18 for astronomical night.", examples=[-18])
    ] = None,
    moon_altitude_min: Annotated[Angle, Query(description="Degrees.")] = None,
    moon_altitude_max: Annotated[Angle, Query(description="Degrees; 0: Moon down.")] = None,
    moon_illumination_min: Share = None,
    moon_illumination_max: Share = None,
    cloud_fraction_min: Annotated[Share, Query(description="Cloudy share of the sky.")] = None,
    cloud_fraction_max: Annotated[Share, Query(examples=[0.1])] = None,
    sky_brightness_min: Annotated[
        float | None, Query(ge=0, le=30, description="mag/arcsec² at the zenith; larger is darker.")
    ] = None,
    sky_brightness_max: Annotated[float | None, Query(ge=0, le=30)] = None,
    stars_min: Annotated[int | None, Query(ge=0, le=100_000, description="Detected stars.")] = None,
    stars_max: Annotated[int | None, Query(ge=0, le=100_000)] = None,
    exposure_min: Annotated[
        float | None, Query(ge=0, le=3600, description="Longest exposure, seconds.")
    ] = None,
    exposure_max: Annotated[float | None, Query(ge=0, le=3600)] = None,
    transients_min: Annotated[
        int | None, Query(ge=0, le=1000, description="Transients found in the frame.")
    ] = None,
    processed: Annotated[
        bool | None, Query(description="Only frames with a picture, or only those without.")
    ] = None,
    where: Annotated[
        str | None,
        Query(
            max_length=500,
            description=f"Conditions on any measurements, comma-separated, at most "
            f"{MAX_CONDITIONS}: name, one of <= >= < > =, number.",
            examples=["limiting_mag>=5.5,gain<200"],
        ),
    ] = None,
) -> Filters:
    """Collect what a search was asked for."""
    given = {k: v for k, v in locals().items() if v is not None}
    conditions = []
    for short, name in NAMED.items():
        low, high = given.get(f"{short}_min"), given.get(f"{short}_max")
        if low is None and high is None:
            continue
        if low is not None and high is not None and low > high:
            raise BadRange(f"{short}_min is above {short}_max.", mend="Swap them.")
        conditions.append(
            Condition(
                name,
                -np.inf if low is None else float(low),
                np.inf if high is None else float(high),
            )
        )
    if where:
        try:
            conditions += read_conditions(where)
        except ValueError as error:
            raise BadRange(f"where: {error}.") from error
    query = tuple(
        (k, str(v).lower() if v is True or v is False else str(v)) for k, v in given.items()
    )
    return Filters(tuple(conditions), processed, query)


FiltersDep = Annotated[Filters, Depends(asked_filters)]
