"""From a sky and a request to expected electrons, with the truth of what was drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from allsky360.simulator import radiance as glow
from allsky360.simulator.background import cloud_fraction, sky_planes
from allsky360.simulator.bodies import (
    SUN_RADIUS_DEG,
    SUN_V,
    apparent_sun_moon,
    moon_v,
    planets,
)
from allsky360.simulator.photometry import airmass, flux, mag_arcsec2
from allsky360.simulator.points import add_profile, disc_profile, draw_points, glare_profile
from allsky360.simulator.scene import Scene, vignetting
from allsky360.simulator.source import ExposureRequest
from allsky360.simulator.transients import transients_during
from allsky360.simulator.view import View
from allsky360.sky.catalogue import altaz_of, apparent_altaz, horizon_vectors, load_catalogue
from allsky360.sky.ephemeris import SunMoon
from allsky360.sky.moonlight import moon_phase_angle_deg
from allsky360.sky.refraction import pressure_mbar

Array = NDArray[np.float32]
Float = NDArray[np.float64]

_STARS_SET_DEG = 2.0  # with the Sun above this no star adds a countable electron
_GLARE_SHARE = 0.03


def render(view: View, request: ExposureRequest) -> tuple[Array, dict[str, Any], Array]:
    """Return one light frame without noise.

    Returns
    -------
    electrons
        Expected electrons, ``(H, W)`` float32, whole sensor.
    truth
        What was in the sky, plain JSON values, positions in the delivered frame.
    transmission
        Share of light the clouds let through, on the coarse grid.
    """
    scene, when = view.scene, request.middle
    lights = apparent_sun_moon(view.site, when)
    if view.conditions.bodies:
        shown = lights
    else:
        shown = replace(lights, sun_altitude_deg=-90.0, moon_altitude_deg=-90.0)
    depth = view.clouds.optical_depth(scene.grid.vectors, when)
    transmission = np.exp(-depth)
    planes, v_plane = sky_planes(view, when, shown, depth)

    scale = np.float32(view.zero_point_e_per_s * request.exposure_s)
    full = [enlarged(p, scene) for p in planes]
    image = mosaic(full, view.cfa)
    ground = [0.10 * float(np.mean(p[scene.grid.up > 0.1])) for p in planes]
    ground_tile = np.array([ground[k] for k in view.cfa.ravel()], np.float32).reshape(2, 2)
    for j in (0, 1):
        for i in (0, 1):
            part, sky = image[j::2, i::2], scene.sky[j::2, i::2]
            part -= ground_tile[j, i]
            part *= sky
            part += ground_tile[j, i]
    image *= scene.throughput
    image *= scale

    truth: dict[str, Any] = {
        "sun": {"altitude_deg": lights.sun_altitude_deg, "azimuth_deg": lights.sun_azimuth_deg},
        "moon": {
            "altitude_deg": lights.moon_altitude_deg,
            "azimuth_deg": lights.moon_azimuth_deg,
            "illumination": lights.moon_illumination,
        },
        "sky_v_mag_arcsec2_zenith": float(mag_arcsec2(v_plane[scene.grid.zenith])),
        "cloud_fraction": cloud_fraction(scene, depth),
    }
    points = _points(view, request, shown, transmission)
    if points["x"].size:
        draw_points(image, points["x"], points["y"], points["e"], view.cfa, fwhm_px=view.fwhm_px)
    truth["stars"] = _listed(view, request, points)
    truth["planets"] = points["planets"]
    truth["transients"] = _draw_transients(view, request, lights, transmission, image)
    _draw_sun_and_moon(view, request, shown, transmission, image)
    return image, truth, transmission


def mosaic(planes: Sequence[Array], cfa: NDArray[np.int64]) -> Array:
    """Return one mosaic from a full-size plane a band."""
    if len(planes) == 1:
        return planes[0]
    image = np.empty_like(planes[0])
    for j in (0, 1):
        for i in (0, 1):
            image[j::2, i::2] = planes[int(cfa[j, i])][j::2, i::2]
    return image


def enlarged(plane: Array, scene: Scene) -> Array:
    """Return a coarse plane at full resolution, ``(height, width)``."""
    step = scene.grid.step
    size = (plane.shape[1] * step, plane.shape[0] * step)
    big = cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(big[: scene.lens.height, : scene.lens.width], dtype=np.float32)


def _sampled(plane: Array, scene: Scene, x: Float, y: Float) -> Float:
    """Return a coarse plane at pixel positions."""
    step = scene.grid.step
    gx = ((np.asarray(x) - (step - 1) / 2) / step).astype(np.float32).reshape(1, -1)
    gy = ((np.asarray(y) - (step - 1) / 2) / step).astype(np.float32).reshape(1, -1)
    if gx.size == 0:
        return np.empty(0)
    out = []
    for first in range(0, gx.size, 30_000):  # OpenCV's remap takes no wider rows
        part = slice(first, first + 30_000)
        out.append(
            cv2.remap(
                plane, gx[:, part], gy[:, part], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
            )
        )
    return np.concatenate(out, axis=1).ravel().astype(np.float64)


def electrons_of(
    view: View, exposure_s: float, v_mag: Float, bv: Float, altitude_deg: Float
) -> Float:
    """Return the electrons ``(N, bands)`` of sources above the atmosphere, cloudless, unvignetted.

    Extinction scales with the pressure at the site.
    """
    thin = pressure_mbar(view.site.elevation_m) / 1013.25
    x = airmass(altitude_deg) * thin
    light = view.zero_point_e_per_s * exposure_s * flux(v_mag)
    return np.stack(
        [light * b.colour_factor(bv) * flux(b.extinction * x) for b in view.bands], axis=-1
    )


def _seen(
    view: View, transmission: Array, altitude: Float, azimuth: Float
) -> tuple[Float, Float, NDArray[np.bool_], Float]:
    """Return pixel, visibility, and what lens and cloud leave of a point source's light."""
    scene = view.scene
    x, y, visible = view.lens.project(altitude, azimuth)
    visible &= altitude > scene.horizon_deg(azimuth)
    theta = np.degrees(view.lens.theta(np.hypot(x - view.lens.cx, y - view.lens.cy)))
    left = np.where(visible, vignetting(theta), 0.0)
    safe_x, safe_y = np.nan_to_num(x), np.nan_to_num(y)
    left = left * _sampled(transmission, scene, safe_x, safe_y).reshape(left.shape)
    return x, y, visible, left


def _points(
    view: View, request: ExposureRequest, lights: SunMoon, transmission: Array
) -> dict[str, Any]:
    """Return stars and planets as point sources."""
    c = view.conditions
    none = np.empty(0)
    empty = {"x": none, "y": none, "e": np.empty((0, len(view.bands))), "planets": []}
    if lights.sun_altitude_deg > _STARS_SET_DEG:
        return {**empty, "hip": none, "v": none, "bv": none, "altitude": none, "azimuth": none}
    stars = load_catalogue(c.max_v if c.stars else -10.0)
    altitude, azimuth = apparent_altaz(stars, view.site, request.middle)
    wandering = planets(view.site, request.middle) if c.bodies else ()
    alt = np.concatenate([altitude, [p.altitude_deg for p in wandering]])
    az = np.concatenate([azimuth, [p.azimuth_deg for p in wandering]])
    v = np.concatenate([stars.v_mag, [p.v_mag for p in wandering]])
    bv = np.concatenate([stars.bv, [p.bv for p in wandering]])
    hip = np.concatenate([stars.hip, np.zeros(len(wandering), dtype=np.int32)])
    up = alt > -1.0
    index = np.concatenate([np.full(len(stars), -1), np.arange(len(wandering))])[up]
    alt, az, v, bv, hip = alt[up], az[up], v[up], bv[up], hip[up]
    x, y, visible, left = _seen(view, transmission, alt, az)
    e = electrons_of(view, request.exposure_s, v, bv, alt) * left[:, None]
    keep = np.flatnonzero(visible)
    listed = [
        {
            "name": wandering[index[k]].name,
            "x": float(x[k]),
            "y": float(y[k]),
            "altitude_deg": float(alt[k]),
            "azimuth_deg": float(az[k]),
            "v_mag": float(v[k]),
            "electrons": [float(value) for value in e[k]],
        }
        for k in keep[index[keep] >= 0]
    ]
    return {
        "x": x[keep],
        "y": y[keep],
        "e": e[keep],
        "hip": hip[keep],
        "v": v[keep],
        "bv": bv[keep],
        "altitude": alt[keep],
        "azimuth": az[keep],
        "planets": _delivered(view, request, listed),
    }


def _delivered(
    view: View, request: ExposureRequest, listed: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Move x and y of truth entries into the delivered frame."""
    for entry in listed:
        entry["x"], entry["y"] = _to_frame(request, entry["x"], entry["y"])
    return listed


def _to_frame(request: ExposureRequest, x: Any, y: Any) -> tuple[Any, Any]:
    """Return whole-sensor pixel positions in the delivered (cropped, binned) frame."""
    left, top = (request.roi or (0, 0, 0, 0))[:2]
    shift = (request.binning - 1) / 2
    return (x - left - shift) / request.binning, (y - top - shift) / request.binning


def _listed(view: View, request: ExposureRequest, points: dict[str, Any]) -> dict[str, list[Any]]:
    """Return the truth's star table, column by column."""
    part = np.flatnonzero((points["hip"] > 0) & (points["v"] <= view.conditions.truth_max_v))
    x, y = _to_frame(request, points["x"][part], points["y"][part])
    return {
        "hip": [int(h) for h in points["hip"][part]],
        "x": np.round(x, 3).tolist(),
        "y": np.round(y, 3).tolist(),
        "altitude_deg": np.round(points["altitude"][part], 4).tolist(),
        "azimuth_deg": np.round(points["azimuth"][part], 4).tolist(),
        "v_mag": np.round(points["v"][part], 3).tolist(),
        "bv": np.round(points["bv"][part], 3).tolist(),
        "electrons": np.round(points["e"][part], 2).tolist(),
    }


def _draw_transients(
    view: View,
    request: ExposureRequest,
    lights: SunMoon,
    transmission: Array,
    image: Array,
) -> list[dict[str, Any]]:
    truth = []
    found = transients_during(
        view.seed,
        request.start,
        request.exposure_s,
        view.conditions.transients,
        lights.sun_altitude_deg,
    )
    for streak in found:
        altitude, azimuth = altaz_of(streak.vectors)
        x, y, visible, left = _seen(view, transmission, altitude, azimuth)
        if not visible.any():
            continue
        bv = np.full(altitude.size, streak.bv)
        e = electrons_of(view, 1.0, streak.v_mag, bv, altitude)
        e *= (streak.seconds * left)[:, None]
        draw_points(image, x[visible], y[visible], e[visible], view.cfa, fwhm_px=view.fwhm_px)
        ends = np.flatnonzero(visible)[[0, -1]]
        fx, fy = _to_frame(request, x[ends], y[ends])
        truth.append(
            {
                "kind": streak.kind,
                "x": [float(v) for v in fx],
                "y": [float(v) for v in fy],
                "altitude_deg": [float(altitude[k]) for k in ends],
                "azimuth_deg": [float(azimuth[k]) for k in ends],
                "v_mag": float(np.min(streak.v_mag)),
                "electrons": [float(v) for v in e[visible].sum(axis=0)],
            }
        )
    return truth


def _draw_sun_and_moon(
    view: View,
    request: ExposureRequest,
    lights: SunMoon,
    transmission: Array,
    image: Array,
) -> None:
    """Add the discs of Sun and Moon and the light the lens scatters around them."""
    phase = moon_phase_angle_deg(lights)
    sun_at = (lights.sun_altitude_deg, lights.sun_azimuth_deg)
    moon_at = (lights.moon_altitude_deg, lights.moon_azimuth_deg)
    per_px = np.degrees(1.0 / view.lens.focal_px)
    for (alt, az), v, bv, radius, phase_angle in (
        (sun_at, SUN_V, glow.SUN_BV, SUN_RADIUS_DEG, 0.0),
        (moon_at, moon_v(phase), glow.MOON_BV, lights.moon_radius_deg, phase),
    ):
        if alt < -0.5:
            continue
        altitude, azimuth = np.array([alt]), np.array([az])
        x, y, visible, left = _seen(view, transmission, altitude, azimuth)
        if not visible[0]:
            continue
        e = electrons_of(view, request.exposure_s, np.array([v]), np.array([bv]), altitude)[0]
        e = e * left[0]
        toward = _toward(view, (alt, az), sun_at)
        disc, i, j = disc_profile(float(x[0]), float(y[0]), radius / per_px, toward, phase_angle)
        add_profile(image, disc, i, j, e * (1.0 - _GLARE_SHARE), view.cfa)
        reach = max(40, round(0.2 * min(view.lens.width, view.lens.height)))
        halo, i, j = glare_profile(float(x[0]), float(y[0]), reach)
        add_profile(image, halo, i, j, e * _GLARE_SHARE, view.cfa)


def _toward(
    view: View, here: tuple[float, float], there: tuple[float, float]
) -> tuple[float, float]:
    """Return the unit vector in the picture that points from one direction to another."""
    a = horizon_vectors(np.array(here[0]), np.array(here[1]))
    b = horizon_vectors(np.array(there[0]), np.array(there[1]))
    step = a + 0.002 * (b - a * float(a @ b))
    alt, az = altaz_of(np.stack([a, step / np.linalg.norm(step)]))
    x, y, _ = view.lens.project(alt, az)
    dx, dy = float(x[1] - x[0]), float(y[1] - y[0])
    length = float(np.hypot(dx, dy))
    return (dx / length, dy / length) if length > 0 and np.isfinite(length) else (1.0, 0.0)
