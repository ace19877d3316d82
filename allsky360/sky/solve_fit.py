"""Least squares of a lens: parameters as a vector, projection, derivatives, robust steps.

The same geometry as :mod:`allsky360.sky.lens`, without its limits: a fit passes through parameters
that describe no lens on its way to some that do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from allsky360.sky.lens import LensError, LensModel, Projection

Float = NDArray[np.float64]

NAMES = (
    "cx",
    "cy",
    "focal_px",
    "rotation_deg",
    "tilt_north_deg",
    "tilt_east_deg",
    "k3",
    "k5",
    "k7",
)
_CX, _CY, _F, _ROT, _TN, _TE, _K3, _K5, _K7 = range(9)

#: Weak beliefs that keep a fit of few stars sane: standard deviations about zero. Forty stars
#: with a pixel of noise outweigh them by far.
PRIOR_SIGMA = {"tilt_north_deg": 10.0, "tilt_east_deg": 10.0, "k3": 0.15, "k5": 0.05, "k7": 0.03}

_HUBER = 1.5  # times the robust sigma


@dataclass(frozen=True, eq=False)
class Geometry:
    """A lens as numbers to fit.

    Attributes
    ----------
    values
        ``(9,)`` in the order of ``NAMES``; angles in degrees.
    projection
        Base of the radial function.
    parity
        -1 or +1.
    """

    values: Float
    projection: Projection
    parity: int

    def with_values(self, values: Float) -> Geometry:
        """Return the same kind of lens with other numbers."""
        return replace(self, values=np.asarray(values, dtype=np.float64))

    def lens(self, width: int, height: int, max_theta_deg: float) -> LensModel:
        """Return the model, its field cut where the radius stops growing.

        Raises
        ------
        LensError
            When the radius does not even grow over the first 20 degrees.
        """
        limit = max_theta_deg
        while True:
            try:
                return LensModel(
                    width=width,
                    height=height,
                    projection=self.projection,
                    parity=self.parity,
                    max_theta_deg=limit,
                    **dict(zip(NAMES, (float(v) for v in self.values), strict=True)),
                )
            except LensError:
                limit -= 0.5
                if limit < 20.0:
                    raise


def geometry_of(lens: LensModel) -> Geometry:
    """Return the numbers of a lens."""
    values = np.array([getattr(lens, name) for name in NAMES], dtype=np.float64)
    return Geometry(values, lens.projection, lens.parity)


def unit_vectors(altitude_deg: Float, azimuth_deg: Float) -> Float:
    """Return (east, north, up) unit vectors ``(N, 3)``."""
    alt, az = np.radians(altitude_deg), np.radians(azimuth_deg)
    return np.stack([np.cos(alt) * np.sin(az), np.cos(alt) * np.cos(az), np.sin(alt)], axis=-1)


def project(g: Geometry, enu: Float) -> tuple[Float, Float]:
    """Return x and y of directions ``(N, 3)``, wherever they fall."""
    x, y, *_ = _project(g, enu)
    return x, y


def axis_angle(g: Geometry, enu: Float) -> Float:
    """Return the angle from the optical axis, radians."""
    _, _, theta, _, _ = _project(g, enu)
    return theta


def _project(g: Geometry, enu: Float) -> tuple[Float, Float, Float, Float, Float]:
    v = g.values
    tn, te = np.radians(v[_TN]), np.radians(v[_TE])
    e, n, z = enu[:, 0], enu[:, 1], enu[:, 2]
    n2, z2 = n * np.cos(tn) - z * np.sin(tn), n * np.sin(tn) + z * np.cos(tn)
    e2, z3 = e * np.cos(te) - z2 * np.sin(te), e * np.sin(te) + z2 * np.cos(te)
    theta = np.arctan2(np.hypot(e2, n2), z3)
    phi = np.arctan2(e2, n2) + np.radians(v[_ROT])
    r = v[_F] * shape(g.projection, theta, v[_K3:])
    return (
        v[_CX] + g.parity * r * np.sin(phi),
        v[_CY] - r * np.cos(phi),
        theta,
        phi,
        r,
    )


def shape(projection: Projection, theta: Float, k: Float) -> Float:
    """Return radius over focal length at ``theta`` radians."""
    t2 = theta * theta
    odd = theta * t2 * (k[0] + t2 * (k[1] + t2 * k[2]))
    return np.asarray(_BASE[projection](theta) + odd)


_BASE: dict[str, Callable[[Float], Float]] = {
    "equidistant": lambda t: t,
    "equisolid": lambda t: 2 * np.sin(t / 2),
    "stereographic": lambda t: 2 * np.tan(np.minimum(t, 2.8) / 2),
    "orthographic": np.sin,
}


def jacobian(g: Geometry, enu: Float, free: Sequence[int]) -> Float:
    """Return d(x, y)/d(values[free]), ``(2 N, len(free))``, x rows first."""
    _, _, theta, phi, r = _project(g, enu)
    radial_x, radial_y = g.parity * np.sin(phi), -np.cos(phi)
    turn_x, turn_y = g.parity * r * np.cos(phi), r * np.sin(phi)
    zero, one = np.zeros_like(theta), np.ones_like(theta)
    f = g.values[_F]
    columns = []
    for k in free:
        if k == _CX:
            column = (one, zero)
        elif k == _CY:
            column = (zero, one)
        elif k == _F:
            column = (radial_x * r / f, radial_y * r / f)
        elif k == _ROT:
            column = (np.radians(turn_x), np.radians(turn_y))
        elif k in (_TN, _TE):
            step = np.zeros(9)
            step[k] = 1e-4
            up, down = g.with_values(g.values + step), g.with_values(g.values - step)
            (ax, ay), (bx, by) = project(up, enu), project(down, enu)
            column = ((ax - bx) / 2e-4, (ay - by) / 2e-4)
        else:
            power = f * theta ** (3 + 2 * (k - _K3))
            column = (radial_x * power, radial_y * power)
        columns.append(np.concatenate(column))
    return np.stack(columns, axis=1)


def robust_sigma(residual: Float) -> float:
    """Return the standard deviation of the bulk (scaled median absolute value)."""
    return float(1.4826 * np.median(np.abs(residual))) if residual.size else 0.0


def fit(
    g: Geometry,
    enu: Float,
    x: Float,
    y: Float,
    free: Sequence[int],
    *,
    steps: int = 8,
    noise_px: float | None = None,
) -> Geometry:
    """Return the geometry that brings directions nearest to places: Gauss-Newton, Huber weights.

    Parameters
    ----------
    enu, x, y
        Directions ``(N, 3)`` and where they were found.
    free
        Which of the nine values may move.
    noise_px
        Scale of the Huber weights; None takes it from the residuals, again at each step.
    """
    free = list(free)
    prior = np.array([1.0 / PRIOR_SIGMA[NAMES[k]] if NAMES[k] in PRIOR_SIGMA else 0 for k in free])
    for _ in range(steps):
        px, py = project(g, enu)
        residual = np.concatenate([x - px, y - py])
        sigma = max(noise_px or robust_sigma(residual), 0.02)
        size = np.hypot(residual[: x.size], residual[x.size :])
        weight = np.minimum(1.0, _HUBER * sigma / np.maximum(size, 1e-9))
        w = np.concatenate([weight, weight]) / sigma**2
        j = jacobian(g, enu, free)
        normal = (j * w[:, None]).T @ j + np.diag(prior**2)
        toward = (j * w[:, None]).T @ residual - prior**2 * g.values[free]
        scale = np.sqrt(np.maximum(np.diag(normal), 1e-30))
        system = normal / np.outer(scale, scale) + 1e-12 * np.eye(len(free))
        delta = np.linalg.solve(system, toward / scale) / scale
        values = g.values.copy()
        values[free] += delta
        # A wild step must not turn the lens inside out.
        values[_F] = np.clip(values[_F], 0.7 * g.values[_F], 1.4 * g.values[_F])
        values[[_TN, _TE]] = np.clip(values[[_TN, _TE]], -60.0, 60.0)
        g = g.with_values(values)
        if np.max(np.abs(delta) * scale) < 1e-3:  # a thousandth of every parameter's sigma
            break
    return g


def covariance(g: Geometry, enu: Float, free: Sequence[int], sigma_px: float) -> Float:
    """Return the covariance of all nine values, ``(9, 9)``; zero where a value was held."""
    j = jacobian(g, enu, free)
    out = np.zeros((9, 9))
    scale = np.sqrt(np.maximum((j * j).sum(axis=0), 1e-30))
    normal = (j / scale).T @ (j / scale)
    out[np.ix_(free, free)] = np.linalg.pinv(normal) / np.outer(scale, scale) * sigma_px**2
    return out
