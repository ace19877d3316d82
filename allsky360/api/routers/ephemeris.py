"""Sun, Moon and planets at any time, and the boundaries of nights."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import AfterValidator, BeforeValidator

from allsky360.api.conditional import json_answer
from allsky360.api.models_sky import (
    BandInfo,
    BodyInfo,
    DarknessInfo,
    Ephemeris,
    EphemerisTrack,
    NightsTimes,
    NightTimesInfo,
    Span,
)
from allsky360.api.parameters import NightDate, NightPath, Start, iso_time, utc
from allsky360.api.problems import BadRange, responses
from allsky360.api.service import ServiceDep
from allsky360.model import Site
from allsky360.sky.bodies import bodies
from allsky360.sky.ephemeris import sun_moon, sun_moon_track
from allsky360.sky.frames import sidereal_time_h
from allsky360.sky.night import Darkness, NightTimes, night_phase, night_times

MAX_NIGHTS = 31

router = APIRouter(prefix="/ephemeris", tags=["ephemeris"])

Instant = Annotated[datetime, BeforeValidator(iso_time), AfterValidator(utc)]


@router.get("", response_model=Ephemeris, responses=responses(400, 404, 422))
def get_ephemeris(
    request: Request,
    service: ServiceDep,
    time: Annotated[
        Instant | None,
        Query(description="UTC, 1900 to 2052; left out: now.", examples=["2026-11-22T20:00:00Z"]),
    ] = None,
) -> Response:
    """Say where Sun, Moon and planets stand."""
    site = service.need_site()
    when = (time or service.clock.now()).replace(microsecond=0)
    return json_answer(request, _at(site, when))


@lru_cache(maxsize=512)
def _at(site: Site, when: datetime) -> Ephemeris:
    both = sun_moon(site, when)
    return Ephemeris(
        time=when,
        night=site.night_of(when),
        phase=night_phase(both.sun_altitude_deg),
        sidereal_time_h=round(sidereal_time_h(site, when), 5),
        moon_phase_deg=round(both.moon_phase_deg, 3),
        bodies=[
            BodyInfo(
                name=b.name,
                altitude_deg=round(b.altitude_deg, 4),
                azimuth_deg=round(b.azimuth_deg, 4),
                ra_deg=round(b.ra_deg, 5),
                dec_deg=round(b.dec_deg, 5),
                v_mag=round(b.v_mag, 2),
                diameter_arcsec=round(b.diameter_arcsec, 2),
                distance_au=round(b.distance_au, 6),
                illumination=round(b.illumination, 4),
                elongation_deg=round(b.elongation_deg, 3),
            )
            for b in bodies(site, when)
        ],
    )


@router.get("/track", response_model=EphemerisTrack, responses=responses(400, 404, 422))
def get_track(
    request: Request,
    service: ServiceDep,
    start: Annotated[Start, Query(description="First instant.", examples=["2026-11-22T12:00:00Z"])],
    end: Annotated[Start, Query(description="Last instant.", examples=["2026-11-23T12:00:00Z"])],
    points: Annotated[int, Query(ge=2, le=2000, description="Instants, evenly spread.")] = 289,
) -> Response:
    """Give the course of Sun and Moon between two instants."""
    site = service.need_site()
    if end <= start:
        raise BadRange("end does not come after start.", mend="Swap them.")
    step = (end - start) / (points - 1)
    whens = [(start + step * i).replace(microsecond=0) for i in range(points)]
    track = sun_moon_track(site, whens)
    return json_answer(
        request,
        EphemerisTrack(
            time=whens,
            sun_altitude_deg=track.sun_altitude_deg.round(3).tolist(),
            sun_azimuth_deg=track.sun_azimuth_deg.round(3).tolist(),
            moon_altitude_deg=track.moon_altitude_deg.round(3).tolist(),
            moon_azimuth_deg=track.moon_azimuth_deg.round(3).tolist(),
            moon_illumination=track.moon_illumination.round(4).tolist(),
        ),
    )


@router.get("/nights", response_model=NightsTimes, responses=responses(400, 404, 422))
def list_night_times(
    request: Request,
    service: ServiceDep,
    start: Annotated[NightDate, Query(description="First night.", examples=["2026-11-22"])],
    end: Annotated[
        NightDate | None, Query(description=f"Night after the last; at most {MAX_NIGHTS} nights.")
    ] = None,
) -> Response:
    """Give twilight, darkness and Moon of several nights, for the shading of charts."""
    site = service.need_site()
    count = 1 if end is None else (end - start).days
    if not 1 <= count <= MAX_NIGHTS:
        raise BadRange(
            f"{count} nights lie between start and end.",
            mend=f"Ask for 1 to {MAX_NIGHTS}; end is exclusive.",
        )
    nights = [_times(site, start + timedelta(days=i)) for i in range(count)]
    return json_answer(request, NightsTimes(nights=nights))


@router.get("/nights/{night}", response_model=NightTimesInfo, responses=responses(400, 404, 422))
def get_night_times(request: Request, service: ServiceDep, night: NightPath) -> Response:
    """Give twilight, darkness and Moon of one night, captured or not."""
    return json_answer(request, _times(service.need_site(), night))


@lru_cache(maxsize=512)
def _times(site: Site, night: date) -> NightTimesInfo:
    t = night_times(site, night)
    return NightTimesInfo(
        night=night,
        begins=_second(t.begins),
        ends=_second(t.ends),
        sun=_darkness(t.sun),
        civil=_darkness(t.civil),
        nautical=_darkness(t.nautical),
        astronomical=_darkness(t.astronomical),
        midnight=_second(t.midnight),
        midnight_sun_deg=round(t.midnight_sun_deg, 3),
        moon_rises=[_second(w) for w in t.moon.rises],
        moon_sets=[_second(w) for w in t.moon.sets],
        moon_illumination=round(sun_moon(site, t.midnight).moon_illumination, 4),
        dark=[Span(begins=_second(a), ends=_second(b)) for a, b in t.dark],
        dark_h=round(t.dark_h, 3),
        bands=_bands(site, t),
    )


def _darkness(d: Darkness) -> DarknessInfo:
    return DarknessInfo(
        limit_deg=round(d.limit_deg, 4),
        course=d.course,
        begins=_second(d.begins) if d.begins else None,
        ends=_second(d.ends) if d.ends else None,
    )


def _bands(site: Site, t: NightTimes) -> list[BandInfo]:
    """Cut the night at every boundary and name each piece by the Sun in its middle."""
    cuts = {t.begins, t.ends}
    for d in (t.sun, t.civil, t.nautical, t.astronomical):
        cuts |= {w for w in (d.begins, d.ends) if w is not None}
    edges = sorted(cuts)
    middles = [a + (b - a) / 2 for a, b in pairwise(edges)]
    suns = sun_moon_track(site, middles).sun_altitude_deg
    return [
        BandInfo(begins=_second(a), ends=_second(b), phase=night_phase(float(sun)))
        for (a, b), sun in zip(pairwise(edges), suns, strict=True)
        if b > a
    ]


def _second(when: datetime) -> datetime:
    return when.replace(microsecond=0)
