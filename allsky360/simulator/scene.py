"""What never changes between frames of one camera: directions, vignetting, horizon."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allsky360.simulator.photometry import airmass
from allsky360.sky.catalogue import horizon_vectors
from allsky360.sky.lens import LensModel

Array = NDArray[np.float32]
Float = NDArray[np.float64]

_EDGE_SOFT_DEG = 0.6
_PROFILE_STEP_DEG = 0.25


@dataclass(frozen=True, eq=False)
class Grid:
    """A coarse sampling of the picture, one point every ``step`` pixels; all ``(gh, gw)`` float32.

    Points outside the field repeat its rim, points below the horizon the horizon, so that
    interpolation near an edge never mixes in something that is not sky.
    """

    step: int
    vectors: Array
    up: Array
    azimuth_deg: Array
    airmass: Array
    solid_angle: Array
    zenith: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Scene:
    """Full-resolution maps, ``(height, width)`` float32, and the coarse grid.

    Attributes
    ----------
    throughput
        Steradians a pixel sees times vignetting; 0 outside the lens's field.
    sky
        Share of each pixel that is above the landscape, 0 to 1.
    """

    lens: LensModel
    grid: Grid
    throughput: Array
    sky: Array
    horizon_profile_deg: Float

    def horizon_deg(self, azimuth_deg: Float) -> Float:
        """Return the height of the landscape at an azimuth, degrees."""
        return _at(self.horizon_profile_deg, azimuth_deg)


def vignetting(theta_deg: Float) -> Float:
    """Return the light left by the lens at an angle from its axis: 1 on it, 0.6 at the horizon."""
    return np.asarray(1.0 - 0.40 * (np.asarray(theta_deg) / 90.0) ** 2)


def landscape(seed: int, height_deg: float) -> Float:
    """Return a horizon profile every quarter degree of azimuth: hills with some tree tops.

    Parameters
    ----------
    height_deg
        Mean height; 0 gives a flat horizon.
    """
    azimuth = np.radians(np.arange(0.0, 360.0, _PROFILE_STEP_DEG))
    rng = np.random.default_rng([seed, 360])
    hills = sum(
        rng.normal() / n * np.cos(n * azimuth + rng.uniform(0, 2 * np.pi)) for n in range(2, 9)
    )
    trees = sum(
        rng.normal() * np.cos(n * azimuth + rng.uniform(0, 2 * np.pi)) for n in range(40, 160, 3)
    )
    profile = height_deg * (1.0 + 0.35 * np.asarray(hills) + 0.025 * np.abs(np.asarray(trees)))
    return np.asarray(np.clip(profile, 0.0, None), dtype=np.float64)


def build_scene(lens: LensModel, horizon_profile_deg: Float, *, step: int = 4) -> Scene:
    """Compute all static maps of a camera."""
    x, y = lens.pixel_grid()
    altitude, azimuth = lens.unproject(x, y)
    solid_angle = lens.solid_angle_sr(x, y)
    theta = np.degrees(lens.theta(np.hypot(x - lens.cx, y - lens.cy)))
    inside = np.isfinite(theta)
    soft = np.clip((lens.max_theta_deg - np.nan_to_num(theta, nan=360.0)) / _EDGE_SOFT_DEG, 0, 1)
    through = np.where(inside, np.nan_to_num(solid_angle * vignetting(theta)) * soft, 0.0)
    pixel_deg = np.degrees(1.0 / lens.focal_px)
    skyline = _at(horizon_profile_deg, np.nan_to_num(azimuth))
    sky = np.clip((np.nan_to_num(altitude, nan=-90.0) - skyline) / pixel_deg + 0.5, 0.0, 1.0)
    return Scene(
        lens=lens,
        grid=build_grid(lens, step),
        throughput=through.astype(np.float32),
        sky=sky.astype(np.float32),
        horizon_profile_deg=horizon_profile_deg,
    )


def build_grid(lens: LensModel, step: int) -> Grid:
    """Return the coarse grid whose points lie at the centres of ``step`` x ``step`` pixels."""
    gw, gh = -(-lens.width // step), -(-lens.height // step)
    x = np.arange(gw)[None, :] * step + (step - 1) / 2.0 + np.zeros((gh, 1))
    y = np.arange(gh)[:, None] * step + (step - 1) / 2.0 + np.zeros((1, gw))
    dx, dy = x - lens.cx, y - lens.cy
    rim = float(lens.radius_px(np.radians(lens.max_theta_deg)))
    shrink = np.minimum(1.0, 0.9999 * rim / np.maximum(np.hypot(dx, dy), 1e-9))
    x, y = lens.cx + dx * shrink, lens.cy + dy * shrink
    altitude, azimuth = lens.unproject(x, y)
    altitude = np.maximum(altitude, 0.3)
    vectors = horizon_vectors(altitude, azimuth).astype(np.float32)
    zenith = np.unravel_index(int(np.argmax(altitude)), altitude.shape)
    return Grid(
        step=step,
        vectors=vectors,
        up=np.ascontiguousarray(vectors[..., 2]),
        azimuth_deg=azimuth.astype(np.float32),
        airmass=airmass(altitude).astype(np.float32),
        solid_angle=np.where(shrink < 1.0, 0.0, lens.solid_angle_sr(x, y)).astype(np.float32),
        zenith=(int(zenith[0]), int(zenith[1])),
    )


def _at(profile_deg: Float, azimuth_deg: Float) -> Float:
    nodes = np.arange(profile_deg.size + 1) * _PROFILE_STEP_DEG
    closed = np.append(profile_deg, profile_deg[0])
    return np.asarray(np.interp(np.asarray(azimuth_deg) % 360.0, nodes, closed))
