"""The transients of one frame: streaks found, measured and named."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import timedelta

import cv2
import numpy as np
from numpy.typing import NDArray

from allsky360.imaging.linear import LinearFrame
from allsky360.measure.frame import DEFAULT_FWHM_PX, STARS_BELOW_SUN_DEG, Measurement
from allsky360.model import Site
from allsky360.sky.catalogue import horizon_vectors
from allsky360.sky.ephemeris import sun_moon
from allsky360.sky.lens import LensModel, fisheye
from allsky360.sky.photometry import Photometry
from allsky360.sky.plane import measurement_plane
from allsky360.sky.satellites import Elements, Match, identify, lit_from_km
from allsky360.sky.streak_light import streak_light, streak_magnitude
from allsky360.sky.streaks import Streak, find_streaks
from allsky360.sky.streaks_belief import Limits
from allsky360.sky.streaks_plane import StreakPlane, why_not_comparable
from allsky360.sky.transients import Directions, End, Transient

Float = NDArray[np.float64]
Mask = NDArray[np.bool_]

SIDEREAL_DEG_S = 360.0 / 86164.09
STARS_V = 6.5
HIGHEST_SATELLITE_KM = 2000.0


@dataclass(frozen=True, eq=False)
class Pair:
    """A frame and the one before, reduced for the search; ``reason`` says why there is none."""

    now: StreakPlane | None = None
    before: StreakPlane | None = None
    before_index: int = -1
    reason: str = ""


@dataclass(frozen=True)
class Rules:
    """What the settings ask for."""

    min_altitude_deg: float = 8.0
    max_pause_s: float = 180.0
    min_significance: float = 7.0


@dataclass(frozen=True, eq=False)
class TransientSearch:
    """What was found; ``reason`` is empty where the frame could be searched.

    ``disturbed``: broken clouds or a moved camera, only the strongest streaks are reported.
    """

    transients: tuple[Transient, ...] = ()
    reason: str = ""
    before_index: int = -1
    disturbed: bool = False
    warnings: tuple[str, ...] = field(default=())

    @property
    def searched(self) -> bool:
        """Whether a count of none means that there was none."""
        return not self.reason


def search_transients(
    pair: Pair,
    frame: LinearFrame,
    index: int,
    site: Site | None,
    sky: Measurement | None,
    *,
    lens: LensModel | None = None,
    elements: Elements | None = None,
    rules: Rules | None = None,
) -> TransientSearch:
    """Search a frame for what moved through it.

    Parameters
    ----------
    pair
        The raw exposures of this frame and of the one before, reduced.
    frame
        The merged frame, for sky mask and brightness.
    index
        Of the frame within its night, for the ids.
    site, sky
        Where the camera stands, and what :func:`measure_frame` found.
    lens
        For directions, magnitudes and names.
    elements
        Of satellites, for names.
    """
    rules = rules or Rules()
    if pair.now is None or pair.before is None:
        return TransientSearch(reason=pair.reason, before_index=pair.before_index)
    now, before = pair.now, pair.before
    reason = why_not_comparable(now, before, rules.max_pause_s)
    if not reason and (site is None or sky is None):
        reason = "the sky was not measured"
    if not reason and sky is not None:
        altitude = sky.scalars.get("sun_altitude_deg", 90.0)
        if altitude >= STARS_BELOW_SUN_DEG:
            reason = f"it is not dark, the Sun stands at {altitude:.0f} degrees"
    if reason or site is None or sky is None:
        return TransientSearch(reason=reason, before_index=pair.before_index)
    fwhm = sky.scalars.get("fwhm_px", DEFAULT_FWHM_PX)
    per_degree = px_per_degree(now.frame_shape, lens)
    since = (now.end - before.start).total_seconds() - 0.5 * (now.exposure_s + before.exposure_s)
    photometry = sky.photometry
    found = find_streaks(
        now,
        before,
        fwhm_px=fwhm,
        drift_px=SIDEREAL_DEG_S * since * per_degree,
        trail_px=SIDEREAL_DEG_S * now.exposure_s * per_degree,
        mask=_mask(now, frame.scene.sky, lens, rules.min_altitude_deg),
        stars=_stars(photometry),
        limits=Limits(significance=rules.min_significance),
    )
    names, warnings = _names(found.streaks, now, site, lens, elements)
    transients = tuple(
        _transient(k, index, streak, name, now, frame, site, lens, photometry, fwhm)
        for k, (streak, name) in enumerate(zip(found.streaks, names, strict=True), 1)
    )
    return TransientSearch(transients, "", pair.before_index, found.disturbed, warnings)


def directions_of(shape: tuple[int, int], lens: LensModel | None) -> Directions:
    """Return how pixels become directions: by the lens, or by a guess good enough for linking."""
    model = lens or fisheye(shape[1], shape[0])

    def vectors(x: Float, y: Float) -> Float:
        altitude, azimuth = model.unproject(x, y)
        return horizon_vectors(np.nan_to_num(altitude), np.nan_to_num(azimuth))

    return vectors


def px_per_degree(shape: tuple[int, int], lens: LensModel | None) -> float:
    """Return the scale at the axis, pixels a degree; without a lens that of a full fisheye."""
    focal = lens.focal_px if lens is not None else max(shape) / math.pi
    return math.radians(1.0) * focal


def _mask(
    plane: StreakPlane, sky: Mask, lens: LensModel | None, min_altitude_deg: float
) -> Mask | None:
    """Return where the plane is searched: the frame's sky, and high enough."""
    height, width = plane.flat.shape
    out = cv2.resize(sky.view(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0
    if lens is not None:
        coarse = 16
        y, x = np.mgrid[0 : height + coarse : coarse, 0 : width + coarse : coarse].astype(float)
        altitude, _ = lens.unproject(x * plane.step + plane.shift, y * plane.step + plane.shift)
        low = np.where(np.isfinite(altitude), altitude, -90.0).astype(np.float32)
        # nodes stand on whole multiples of `coarse`: map each pixel between them
        u, v = np.arange(width, dtype=np.float32) / coarse, np.arange(height) / coarse
        full = cv2.remap(
            low,
            np.broadcast_to(u, (height, width)).astype(np.float32),
            np.broadcast_to(v[:, None], (height, width)).astype(np.float32),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        out &= full >= min_altitude_deg
    return np.asarray(out, np.bool_)


def _stars(photometry: Photometry | None) -> tuple[Float, Float] | None:
    if photometry is None:
        return None
    x, y, light = photometry.sources
    bright = light > 10.0 ** (-0.4 * STARS_V)
    return x[bright], y[bright]


def _names(
    streaks: tuple[Streak, ...],
    plane: StreakPlane,
    site: Site,
    lens: LensModel | None,
    elements: Elements | None,
) -> tuple[list[Match | None], tuple[str, ...]]:
    if lens is None or elements is None or not streaks:
        return [None] * len(streaks), ()
    ends = []
    for streak in streaks:
        altitude, azimuth = lens.unproject(streak.x[[0, -1]], streak.y[[0, -1]])
        ends.append(tuple(horizon_vectors(altitude, azimuth)))
    try:
        return identify(elements, site, plane.start, plane.end, ends), ()
    except (ValueError, ArithmeticError) as error:
        return [None] * len(streaks), (f"Satellites were not named: {error}",)


def _transient(
    number: int,
    index: int,
    streak: Streak,
    name: Match | None,
    plane: StreakPlane,
    frame: LinearFrame,
    site: Site,
    lens: LensModel | None,
    photometry: Photometry | None,
    fwhm: float,
) -> Transient:
    magnitude = sigma = math.nan
    ends = [
        End(when.isoformat(), _px(streak.x[k]), _px(streak.y[k]))
        for k, when in ((0, plane.start), (-1, plane.end))
    ]
    length, dark = None, False
    if lens is not None:
        altitude, azimuth = lens.unproject(streak.x, streak.y)
        vectors = horizon_vectors(altitude, azimuth)
        ends = [
            End(e.time, e.x, e.y, round(float(altitude[k]), 3), round(float(azimuth[k]), 3))
            for e, k in zip(ends, (0, -1), strict=True)
        ]
        steps = np.linalg.norm(np.diff(vectors, axis=0), axis=1)
        length = round(float(np.degrees(2.0 * np.arcsin(np.clip(steps / 2, 0, 1))).sum()), 3)
        lights = sun_moon(site, plane.start + timedelta(seconds=0.5 * plane.exposure_s))
        sun = horizon_vectors(np.array(lights.sun_altitude_deg), np.array(lights.sun_azimuth_deg))
        dark = all(lit_from_km(sun, v) > HIGHEST_SATELLITE_KM for v in vectors[[0, -1]])
        if photometry is not None:
            light = streak_light(
                measurement_plane(frame.image),
                streak.x,
                streak.y,
                fwhm_px=fwhm,
                stars=photometry.sources,
            )
            middle = len(streak.x) // 2
            magnitude, sigma = streak_magnitude(
                light, 1.0, float(streak.x[middle]), float(streak.y[middle]), lens, photometry
            )
    return Transient(
        id=f"{index:06d}-{number}",
        kind="unknown",
        kind_reason="not judged yet",
        start=ends[0],
        end=ends[1],
        duration_s=plane.exposure_s,
        duration_is="at most",
        direction_known=False,
        length_deg=length,
        length_px=round(streak.length_px, 1),
        width_px=round(streak.width_px, 2),
        peak_snr=round(streak.peak_snr, 2),
        snr=round(streak.snr, 2),
        magnitude=round(magnitude, 3) if math.isfinite(magnitude) else None,
        magnitude_sigma=round(sigma, 3) if math.isfinite(sigma) else None,
        magnitude_over_s=1.0,
        label=name.name if name is not None else None,
        label_off_deg=round(name.off_deg, 3) if name is not None else None,
        flashes=streak.flashes,
        dark_sky=dark,
        previous=None,
        next=None,
        path=tuple((_px(x), _px(y)) for x, y in zip(streak.x, streak.y, strict=True)),
    )


def _px(value: float) -> float:
    return round(float(value), 2)
