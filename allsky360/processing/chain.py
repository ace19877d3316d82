"""What both ways of processing share: backend, masters, and measuring that may fail alone."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from allsky360.arrays import Backend, best_backend
from allsky360.config import Settings, site_from
from allsky360.errors import AllskyError
from allsky360.imaging.calibrate import Masters
from allsky360.imaging.display import SkyHints
from allsky360.imaging.linear import LinearFrame
from allsky360.imaging.parameters import ChainParameters
from allsky360.imaging.pipeline import Developed
from allsky360.imaging.steps import StepLog
from allsky360.imaging.tone import knows_exposure
from allsky360.masters import load_masters, masters_in_use, masters_stamp
from allsky360.model import Site

if TYPE_CHECKING:
    from allsky360.measure.frame import Look, Measurement
    from allsky360.measure.memory import SkyMemory
    from allsky360.sky.lens_file import LensFile
    from allsky360.sky.safety import SafetyRules

log = logging.getLogger(__name__)

MEASURE_VERSION = 1

MEASURING_FAILS = (AllskyError, ValueError, ArithmeticError, LookupError)


def backend_for(settings: Settings) -> Backend:
    """Return the backend frames are developed on: the GPU where there is one and it may be used."""
    return "numpy" if settings.dask.gpu == "never" else best_backend()


def masters_for(settings: Settings, root: Path | None = None) -> Masters | None:
    """Return the masters to apply; read again only when a file among them changed.

    Parameters
    ----------
    settings
        The whole tree.
    root
        The archive whose frames they are for; None: files of any camera, which get masters only
        where ``processing.dark_root`` names some.
    """
    folder = settings.processing.dark_root if root is None else masters_in_use(settings, root)
    return None if folder is None else _cached_masters(folder, masters_stamp(folder))


@lru_cache(maxsize=1)
def _cached_masters(root: Path, stamp: tuple[tuple[str, int, int], ...]) -> Masters:
    return load_masters(root)


def look_or_none(
    frame: LinearFrame, site: Site | None, lens: LensFile | None, steps: StepLog
) -> Look | None:
    """Look at a frame where the site is known; what goes wrong costs the numbers, not the frame."""
    if site is None or not knows_exposure(frame.reference):
        return None
    from allsky360.measure.frame import look_at_frame

    try:
        with steps.step("look", MEASURE_VERSION):
            look = look_at_frame(frame, site, lens=lens.lens if lens is not None else None)
    except MEASURING_FAILS as error:
        _say_not_measured(error, steps)
        return None
    return look


def judge_or_none(
    look: Look | None,
    frame: LinearFrame,
    lens: LensFile | None,
    memory: SkyMemory | None,
    parameters: ChainParameters,
    settings: Settings,
    steps: StepLog,
) -> Measurement | None:
    """Measure a frame that was looked at; what goes wrong costs the numbers, not the frame."""
    if look is None:
        return None
    from allsky360.measure.frame import judge_look

    try:
        with steps.step("measure", MEASURE_VERSION) as note:
            sky = judge_look(
                look,
                frame,
                lens=lens.lens if lens is not None else None,
                memory=memory,
                rules=safety_rules(settings),
                day_white_balance=(parameters.red, parameters.blue),
            )
            note["seconds"] = sky.seconds
    except MEASURING_FAILS as error:
        _say_not_measured(error, steps)
        return None
    return sky


def _say_not_measured(error: Exception, steps: StepLog) -> None:
    log.exception("measuring failed")
    steps.warnings.append(f"The sky was not measured: {type(error).__name__}: {error}")


def safety_rules(settings: Settings) -> SafetyRules:
    """Return the settings' rules for the safety verdict."""
    from allsky360.sky.safety import SafetyRules

    s = settings.safety
    return SafetyRules(
        unsafe_above=s.unsafe_above,
        safe_below=s.safe_below,
        max_unknown=s.max_unknown,
        safe_after=s.safe_after,
        max_age_s=s.max_age_s,
    )


def sky_hints(
    site: Site | None,
    when: datetime,
    sky: Measurement | None = None,
    memory: SkyMemory | None = None,
) -> SkyHints:
    """Return what is known about the sky: the Sun, the Moon's light, clouds, the stars' colours.

    ``memory`` is that of the frame before, for a frame that could not be measured. A full Moon
    lights the sky about ten times as much as a half Moon; its light grows with altitude until
    about 30 degrees.
    """
    known = sky.memory if sky is not None else memory
    gains = known.balance.gains if known is not None and known.balance is not None else None
    if site is None:
        return SkyHints(star_gains=gains)
    from allsky360.sky.ephemeris import EphemerisError, sun_moon

    try:
        moon = sun_moon(site, when)
    except EphemerisError as error:
        log.warning("the Moon is not known: %s", error)
        return SkyHints(star_gains=gains)
    height = min(max((moon.moon_altitude_deg + 1.0) / 31.0, 0.0), 1.0)
    moonlight = height * moon.moon_illumination**3
    clouds = sky.scalars.get("cloud_fraction", 0.0) if sky is not None else 0.0
    return SkyHints(moonlight, clouds, moon.sun_altitude_deg, gains)


def site_or_none(settings: Settings) -> Site | None:
    """Return the settings' site, None where it is not set."""
    if settings.site.latitude_deg is None or settings.site.longitude_deg is None:
        return None
    return site_from(settings)


def with_overlay(
    developed: Developed,
    frame: LinearFrame,
    lens: LensFile | None,
    site: Site | None,
    parameters: ChainParameters,
    settings: Settings,
    fields: Mapping[str, float],
) -> NDArray[np.uint8]:
    """Return the picture with names and figures where ``overlay.burn_in`` asks for them.

    It follows the picture's crop, turn and mirroring. Without a lens or a site the picture stays
    as it is: an overlay in the wrong place is worse than none.
    """
    if not settings.overlay.burn_in or lens is None or site is None:
        return developed.picture
    from allsky360.imaging.filters.geometry import affine_of
    from allsky360.overlay import burn_in, layout

    chosen = next(
        (s.parameters["profiles"] for s in developed.steps if s.name == "tone"), {"clear": 1.0}
    )
    affine, (height, width) = affine_of(
        parameters.profiles[next(iter(chosen))], frame.image.shape[:2]
    )
    reference = frame.reference
    middle = reference.start + timedelta(seconds=0.5 * reference.exposure_s)
    about = {"exposure_s": reference.exposure_s, "gain": reference.gain, **fields}
    scene = layout(lens.lens.moved(affine, width, height), site, middle, settings.overlay, about)
    return np.asarray(burn_in(developed.picture, scene))
