"""Measure one linear frame."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from allsky360.arrays import Array
from allsky360.imaging.calibrate import is_display_referred
from allsky360.imaging.linear import LinearFrame
from allsky360.imaging.scene import full_mask
from allsky360.measure.memory import ENOUGH_FRAMES, SkyMemory, learn, remember_dark, setting_of
from allsky360.model import Site
from allsky360.sky.brightness import SkyBrightness, sky_brightness
from allsky360.sky.cloud_moonlight import DARK_MAG, clouds_by_moonlight
from allsky360.sky.cloud_texture import clouds_from_texture
from allsky360.sky.clouds import CloudMap, clouds_from_stars
from allsky360.sky.ephemeris import SunMoon, sun_moon
from allsky360.sky.frames import sidereal_time_h
from allsky360.sky.lens import LensModel
from allsky360.sky.match import Matches, match_stars
from allsky360.sky.night import night_phase
from allsky360.sky.photometry import (
    Photometry,
    StarFluxes,
    calibrate_fluxes,
    measure_fluxes,
)
from allsky360.sky.plane import measurement_plane
from allsky360.sky.safety import SafetyRules, judge_frame
from allsky360.sky.star_colours import StarBalance, measure_star_balance
from allsky360.sky.stars import BLENDED, EDGE, HOT, SATURATED, TRAILED, StarList, find_stars

STARS_BELOW_SUN_DEG = -6.0
"""Sun altitude above which no stars are looked for."""

FWHM_SNR = 20.0
MATCH_V = 6.5
MATCH_RADIUS_PX = 2.5
DEFAULT_FWHM_PX = 2.5


@dataclass(frozen=True, eq=False)
class Measurement:
    """What one frame says about the sky.

    Attributes
    ----------
    when
        UTC instant of mid-exposure.
    scalars
        Numbers by name, unit in the name or in ``measure.names``; NaN is left out.
    words
        ``night_phase`` and ``safety`` with its reason.
    stars
        Found stars; None by day.
    photometry, brightness, clouds
        None where the lens or the site is not known, or by day.
    memory
        For the next frame.
    seconds
        How long each part took.
    """

    when: datetime
    scalars: dict[str, float]
    words: dict[str, str]
    stars: StarList | None
    photometry: Photometry | None
    brightness: SkyBrightness | None
    clouds: CloudMap | None
    memory: SkyMemory
    seconds: dict[str, float] = field(default_factory=dict)


class _Clock:
    """Seconds of each part."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def mark(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] = round(now - self._last, 4)
        self._last = now


@dataclass(frozen=True, eq=False)
class Look:
    """What a frame shows by itself: all that is measured without knowing the frames before.

    Attributes
    ----------
    when
        UTC instant of mid-exposure.
    lights
        Sun and Moon.
    plane, stars
        ``(H, W)`` measurement plane and the stars found on it; None by day.
    mask
        ``(H, W)`` bool, True = sky; None: the whole frame.
    electrons_per_unit
        Electrons of one plane unit.
    scalars
        Numbers so far.
    fluxes, matches
        Light at the catalogue's stars, and stars found that are in it; None without a lens.
    seconds
        How long each part took.
    """

    when: datetime
    lights: SunMoon
    scalars: dict[str, float]
    plane: Array | None = None
    stars: StarList | None = None
    mask: NDArray[np.bool_] | None = None
    electrons_per_unit: float = 1.0
    fluxes: StarFluxes | None = None
    matches: Matches | None = None
    seconds: dict[str, float] = field(default_factory=dict)


def measure_frame(
    frame: LinearFrame,
    site: Site,
    *,
    lens: LensModel | None = None,
    memory: SkyMemory | None = None,
    rules: SafetyRules | None = None,
    day_white_balance: tuple[float, float] = (1.35, 1.65),
) -> Measurement:
    """Measure a linear frame: :func:`look_at_frame`, then :func:`judge_look`."""
    return judge_look(
        look_at_frame(frame, site, lens=lens),
        frame,
        lens=lens,
        memory=memory,
        rules=rules,
        day_white_balance=day_white_balance,
    )


def look_at_frame(frame: LinearFrame, site: Site, *, lens: LensModel | None = None) -> Look:
    """Measure what needs no memory, most of the work: frames can be looked at in any order.

    Parameters
    ----------
    frame
        As :func:`allsky360.imaging.linear.linearise` makes it; stays on its device.
    site
        Where the camera stands.
    lens
        Of this sensor size; without one there are Sun, Moon and a count of stars.
    """
    clock = _Clock()
    reference = frame.reference
    middle = reference.start + timedelta(seconds=0.5 * reference.exposure_s)
    lights = sun_moon(site, middle, refracted=True)
    scalars = _calendar(lights, site, middle)
    clock.mark("ephemeris")
    if lights.sun_altitude_deg >= STARS_BELOW_SUN_DEG:
        return Look(middle, lights, scalars, seconds=clock.seconds)
    plane = measurement_plane(frame.image)
    mask = full_mask(frame.scene, frame.image.shape[:2])
    electrons = frame.full_well_adu / max(frame.noise.shot, 1e-9)
    stars = find_stars(plane, clipped=frame.clipped, electrons_per_unit=electrons)
    scalars |= _of_stars(stars)
    clock.mark("stars")
    fluxes = matches = None
    if lens is not None:
        fluxes = measure_fluxes(
            plane,
            lens,
            site,
            middle,
            reference.exposure_s,
            clipped=frame.clipped,
            mask=mask,
            fwhm_px=scalars.get("fwhm_px", DEFAULT_FWHM_PX),
            electrons_per_unit=electrons,
        )
        clock.mark("fluxes")
        matches = match_stars(stars, lens, site, middle, max_v=MATCH_V, radius_px=MATCH_RADIUS_PX)
        clock.mark("matches")
    return Look(
        middle, lights, scalars, plane, stars, mask, electrons, fluxes, matches, clock.seconds
    )


def judge_look(
    look: Look,
    frame: LinearFrame,
    *,
    lens: LensModel | None = None,
    memory: SkyMemory | None = None,
    rules: SafetyRules | None = None,
    day_white_balance: tuple[float, float] = (1.35, 1.65),
) -> Measurement:
    """Say what a look means in the light of the frames before.

    Parameters
    ----------
    look, frame
        The frame, and what it shows by itself.
    lens
        As for :func:`look_at_frame`.
    memory
        Of the frame before.
    rules
        Of the safety verdict.
    day_white_balance
        Gains of red and blue that make daylight white, for clouds by day and under the Moon;
        those measured on stars count where the memory has them.
    """
    clock = _Clock()
    memory = memory or SkyMemory()
    measured = memory.balance.gains if memory.balance is not None else None
    daylight = measured or day_white_balance
    reference, middle, lights = frame.reference, look.when, look.lights
    scalars = dict(look.scalars)
    words: dict[str, str] = {"night_phase": night_phase(lights.sun_altitude_deg)}
    photometry = brightness = clouds = None
    if look.fluxes is not None and look.matches is not None and lens is not None:
        setting = setting_of(reference.gain, reference.binning)
        known = memory.vignetting
        photometry = calibrate_fluxes(
            look.fluxes,
            vignetting=known if known and known.frames >= ENOUGH_FRAMES else None,
            prior=memory.zero_points.get(setting),
        )
        clock.mark("photometry")
        brightness = sky_brightness(
            look.plane, lens, photometry, pedestal_sigma=_pedestal_sigma(frame), mask=look.mask
        )
        clock.mark("sky brightness")
        clouds = clouds_from_stars(
            photometry, lights=lights, remembered=setting in memory.zero_points
        )
        display_referred = is_display_referred(reference)  # its camera balanced colours its way
        if not display_referred:
            clouds = clouds_by_moonlight(
                clouds,
                frame.image,
                lens,
                lights,
                dark_mag=DARK_MAG if memory.dark_mag is None else memory.dark_mag,
                white_balance=daylight,
                calibrated=measured is not None,
                clipped=frame.clipped,
                mask=look.mask,
            )
        scalars |= _of_sky(photometry, brightness)
        scalars |= _of_matches(look.matches)
        clock.mark("sky")
        balance = None
        if not display_referred:
            balance = measure_star_balance(frame.image, reference.pattern, photometry)
            scalars |= _of_balance(balance)
        memory = learn(memory, setting, photometry, clouds, balance)
        memory = remember_dark(memory, clouds, brightness, lights)
        clock.mark("star colours")
    if lens is not None and (clouds is None or clouds.method == "none"):
        clouds = clouds_from_texture(
            frame.image,
            lens,
            lights,
            white_balance=daylight,
            calibrated=measured is not None,
            clipped=frame.clipped,
        )
    if clouds is not None:
        scalars |= _of_clouds(clouds)
        verdict = judge_frame(memory.safety, clouds, middle, rules or SafetyRules())
        memory = replace(memory, safety=verdict)
        words |= {"safety": verdict.verdict, "safety_reason": verdict.reason}
        words["cloud_method"] = clouds.method
    clock.mark("clouds")
    finite = {k: v for k, v in scalars.items() if math.isfinite(v)}
    return Measurement(
        when=middle,
        scalars=finite,
        words=words,
        stars=look.stars,
        photometry=photometry,
        brightness=brightness,
        clouds=clouds,
        memory=memory,
        seconds=look.seconds | clock.seconds,
    )


def _pedestal_sigma(frame: LinearFrame) -> float:
    """Error of the black level: what the dark border still shows, at most a tenth of the sky."""
    border = frame.scene.border
    left = abs(sum(border) / len(border)) if border else 0.0
    return float(min(left, 0.1 * max(frame.sky_level, 0.0)))


def _calendar(lights: SunMoon, site: Site, when: datetime) -> dict[str, float]:
    return {
        "sun_altitude_deg": lights.sun_altitude_deg,
        "sun_azimuth_deg": lights.sun_azimuth_deg,
        "moon_altitude_deg": lights.moon_altitude_deg,
        "moon_azimuth_deg": lights.moon_azimuth_deg,
        "moon_illumination": lights.moon_illumination,
        "moon_phase_deg": lights.moon_phase_deg,
        "sidereal_time_h": sidereal_time_h(site, when),
    }


def _of_stars(stars: StarList) -> dict[str, float]:
    """Count, and width of clean bright ones with its error."""
    numbers = {"stars_found": float(np.count_nonzero((stars.flags & HOT) == 0))}
    bad = SATURATED | HOT | EDGE | TRAILED | BLENDED
    clean = ((stars.flags & bad) == 0) & (stars.snr > FWHM_SNR) & np.isfinite(stars.fwhm_px)
    if np.count_nonzero(clean) >= 5:
        widths = stars.fwhm_px[clean]
        middle = float(np.median(widths))
        spread = 1.4826 * float(np.median(np.abs(widths - middle)))
        numbers["fwhm_px"] = middle
        numbers["fwhm_px_sigma"] = 1.25 * spread / math.sqrt(widths.size)
    return numbers


def _of_sky(stars: Photometry, sky: SkyBrightness) -> dict[str, float]:
    numbers = {
        "zero_point_mag": stars.zero_point_mag,
        "zero_point_mag_sigma": stars.zero_point_sigma,
        "extinction_mag": stars.extinction,
        "extinction_mag_sigma": stars.extinction_sigma,
        "star_scatter_mag": stars.scatter_mag,
        "limiting_mag": stars.limiting_mag,
        "limiting_mag_sigma": stars.limiting_sigma,
        "stars_detected": float(np.count_nonzero(stars.detected)),
        "sky_brightness_mag_arcsec2": sky.zenith_mag,
        "sky_brightness_mag_arcsec2_sigma": sky.zenith_sigma,
    }
    if stars.zero_point_source == "none":
        for name in ("zero_point_mag", "zero_point_mag_sigma"):
            numbers[name] = math.nan
    return numbers


def _of_matches(matches: Matches) -> dict[str, float]:
    """Count, and distance from the lens's places with its error."""
    numbers = {"stars_matched": float(len(matches))}
    if len(matches):
        middle = float(np.median(matches.residual_px))
        spread = 1.4826 * float(np.median(np.abs(matches.residual_px - middle)))
        numbers["lens_residual_px"] = middle
        numbers["lens_residual_px_sigma"] = 1.25 * spread / math.sqrt(len(matches))
    return numbers


def _of_balance(balance: StarBalance | None) -> dict[str, float]:
    if balance is None:
        return {}
    return {
        "white_balance_red_stars": balance.red,
        "white_balance_red_stars_sigma": balance.red_sigma,
        "white_balance_blue_stars": balance.blue,
        "white_balance_blue_stars_sigma": balance.blue_sigma,
    }


def _of_clouds(clouds: CloudMap) -> dict[str, float]:
    return {
        "cloud_fraction": clouds.cloud_fraction,
        "cloud_fraction_sigma": clouds.cloud_fraction_sigma,
        "sky_clear": clouds.clear,
        "sky_cloudy": clouds.cloudy,
        "sky_unknown": clouds.unknown,
    }
