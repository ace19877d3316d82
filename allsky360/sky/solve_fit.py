"""Least squares of a lens: parameters as a vector, projection, derivatives, robust steps.

The same geometry as :mod:`allsky360.sky.lens`, without its limits: a fit passes through parameters
that describe no lens on its way to some that do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numba
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
    x, y, _ = project_with_angle(g, enu)
    return x, y


def project_with_angle(g: Geometry, enu: Float) -> tuple[Float, Float, Float]:
    """Return x, y, and the angle from the optical axis in radians."""
    x, y, theta = _places(g.values, _BASES.index(g.projection), g.parity, enu)
    return x, y, theta


def axis_angle(g: Geometry, enu: Float) -> Float:
    """Return the angle from the optical axis, radians."""
    return project_with_angle(g, enu)[2]


def shape(projection: Projection, theta: Float, k: Float) -> Float:
    """Return radius over focal length at ``theta`` radians."""
    return np.asarray(_radii(_BASES.index(projection), theta, k))


def jacobian(g: Geometry, enu: Float, free: Sequence[int]) -> Float:
    """Return d(x, y)/d(values[free]), ``(2 N, len(free))``, x rows first."""
    base = _BASES.index(g.projection)
    return np.asarray(_derivatives(g.values, base, g.parity, enu, np.array(free, dtype=np.int64)))


# Compiled, as a blind solution asks for some hundred thousand projections of a hundred stars.
_compiled: Any = numba.njit(cache=True, nogil=True, error_model="numpy")
_BASES: tuple[Projection, ...] = ("equidistant", "equisolid", "stereographic", "orthographic")


@_compiled  # type: ignore[untyped-decorator,unused-ignore]
def _radius(base: int, theta: float, k: Float) -> tuple[float, float]:  # pragma: no cover
    """Return radius over focal length, and its derivative."""
    t2 = theta * theta
    r = theta * t2 * (k[0] + t2 * (k[1] + t2 * k[2]))
    slope = t2 * (3 * k[0] + t2 * (5 * k[1] + t2 * 7 * k[2]))
    if base == 0:
        return r + theta, slope + 1.0
    if base == 1:
        return r + 2 * np.sin(theta / 2), slope + np.cos(theta / 2)
    if base == 2:
        if theta > 2.8:  # towards infinity
            return r + 2 * np.tan(1.4), slope
        t = np.tan(theta / 2)
        return r + 2 * t, slope + 1.0 + t * t
    return r + np.sin(theta), slope + np.cos(theta)


@_compiled  # type: ignore[untyped-decorator,unused-ignore]
def _radii(base: int, theta: Float, k: Float) -> Float:  # pragma: no cover
    out = np.empty(theta.size)
    for i in range(theta.size):
        out[i] = _radius(base, theta[i], k)[0]
    return out


@_compiled  # type: ignore[untyped-decorator,unused-ignore]
def _places(  # pragma: no cover
    v: Float, base: int, parity: int, enu: Float
) -> tuple[Float, Float, Float]:
    tn, te, turn = np.radians(v[_TN]), np.radians(v[_TE]), np.radians(v[_ROT])
    sn, cn, se, ce = np.sin(tn), np.cos(tn), np.sin(te), np.cos(te)
    x, y, angle = np.empty(len(enu)), np.empty(len(enu)), np.empty(len(enu))
    for i in range(len(enu)):
        e, n, z = enu[i]
        n2, z2 = n * cn - z * sn, n * sn + z * cn
        e2, z3 = e * ce - z2 * se, e * se + z2 * ce
        theta = np.arctan2(np.hypot(e2, n2), z3)
        phi = np.arctan2(e2, n2) + turn
        r = v[_F] * _radius(base, theta, v[_K3:])[0]
        x[i] = v[_CX] + parity * r * np.sin(phi)
        y[i] = v[_CY] - r * np.cos(phi)
        angle[i] = theta
    return x, y, angle


@_compiled  # type: ignore[untyped-decorator,unused-ignore]
def _derivatives(  # pragma: no cover
    v: Float, base: int, parity: int, enu: Float, free: NDArray[np.int64]
) -> Float:
    tn, te, turn = np.radians(v[_TN]), np.radians(v[_TE]), np.radians(v[_ROT])
    sn, cn, se, ce = np.sin(tn), np.cos(tn), np.sin(te), np.cos(te)
    count, degree = len(enu), np.pi / 180.0
    out = np.zeros((2 * count, len(free)))
    for i in range(count):
        e, n, z = enu[i]
        n2, z2 = n * cn - z * sn, n * sn + z * cn
        e2, z3 = e * ce - z2 * se, e * se + z2 * ce
        rho = max(np.hypot(e2, n2), 1e-12)  # on the axis a direction has no azimuth
        theta = np.arctan2(rho, z3)
        phi = np.arctan2(e2, n2) + turn
        over_f, slope = _radius(base, theta, v[_K3:])
        r, sin, cos = v[_F] * over_f, np.sin(phi), np.cos(phi)
        for j in range(len(free)):
            k = free[j]
            dr, dphi = 0.0, 0.0
            if k == _CX:
                out[i, j] = 1.0
                continue
            if k == _CY:
                out[count + i, j] = 1.0
                continue
            if k == _F:
                dr = over_f
            elif k == _ROT:
                dphi = degree
            elif k in (_TN, _TE):
                if k == _TN:
                    de, dn, dz = -n2 * se, -z2, n2 * ce
                else:
                    de, dn, dz = -z3, 0.0, e2
                drho = (e2 * de + n2 * dn) / rho
                dr = v[_F] * slope * (z3 * drho - rho * dz) * degree
                dphi = (n2 * de - e2 * dn) / (rho * rho) * degree
            else:
                dr = v[_F] * theta ** (3 + 2 * (k - _K3))
            out[i, j] = parity * (dr * sin + r * cos * dphi)
            out[count + i, j] = r * sin * dphi - dr * cos
    return out


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
