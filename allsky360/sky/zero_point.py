"""Zero point, extinction and colour term from stars of which an unknown part is behind cloud.

The model, for a star of Johnson V and B-V at airmass X, theta degrees off the lens's axis::

    V = ZP - 2.5 log10(flux / exposure_s) - vignetting(theta)
        - (k + k2 (B-V)) X - c1 (B-V) - c2 (B-V)^2

so that ZP is the V magnitude of a star of B-V = 0 above the atmosphere, on the axis, that gives one
unit of flux a second. The colour term has a second order because the band of a camera is wide: a
star's light is a sum over wavelengths, and the magnitude of a sum is not linear in colour.

A star is either in clear air (Gaussian about the model), behind cloud (dimmed by an exponentially
distributed amount) or wrong (flat). Expectation-maximisation finds the shares and the parameters
together (Hogg, Bovy & Lang 2010, arXiv:1008.4686, section 3, with a one-sided background). Clouds
are patches: the chance that a star is clear is therefore taken from its neighbours as well, and a
neighbourhood that is dimmed as a whole, as under thin cirrus, loses its say.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from allsky360.sky.vignetting import PRIOR as VIGNETTING_PRIOR
from allsky360.sky.vignetting import PRIOR_SIGMA as VIGNETTING_SIGMA
from allsky360.sky.vignetting import vignetting_basis

Float = NDArray[np.float64]

SEA_LEVEL_EXTINCTION = 0.22
EXTINCTION_SIGMA = 0.08
COLOUR_PRIOR = ((0.10, 0.30), (-0.04, 0.08))
SECOND_ORDER_PRIOR = (-0.015, 0.012)
"""k2: mean and width; wide camera bands lie between V (0) and B (-0.03)."""

MIN_STARS = 12
"""Clear stars without which no zero point is fitted."""

MIN_SHARE = 0.06
"""Share of the stars that must be clear: of many clouded ones a few agree by chance."""

_CLOUD_MAG = 0.8  # mean dimming behind cloud
_OUTLIERS, _OUTLIER_MAG = 0.02, 6.0
_ROUNDS, _VEIL_ROUNDS = 14, 6
_NEIGHBOUR_DEG, _VEIL_DEG = 6.0, 5.0
_SCATTER = (0.015, 0.20)
_MAX_STARS = 450


@dataclass(frozen=True)
class ZeroPointPrior:
    """What is remembered from clear frames of the same camera, gain and lens.

    Attributes
    ----------
    zero_point_mag, sigma_mag
        Of one plane unit a second.
    extinction, extinction_sigma
        Magnitudes an airmass; None: a standard atmosphere at the site's height.
    colour, colour_sigma
        c1 and c2; None: broad guesses.
    """

    zero_point_mag: float
    sigma_mag: float = 0.05
    extinction: float | None = None
    extinction_sigma: float = 0.05
    colour: tuple[float, float] | None = None
    colour_sigma: tuple[float, float] = (0.03, 0.02)


@dataclass(frozen=True, eq=False)
class StarRows:
    """What the fit needs of each star, ``(N,)``: brightest first.

    ``y`` is V + 2.5 log10(flux / exposure_s) - (given vignetting); ``noise_mag`` the photon and sky
    noise expected of a star in clear air, in magnitudes; ``vectors`` ``(N, 3)``.
    """

    y: Float
    noise_mag: Float
    airmass: Float
    bv: Float
    theta_deg: Float
    vectors: Float

    def part(self, index: NDArray[np.intp] | NDArray[np.bool_] | slice) -> StarRows:
        """Return some of the rows."""
        return StarRows(**{n: getattr(self, n)[index] for n in self.__dataclass_fields__})


@dataclass(frozen=True, eq=False)
class ZeroPointFit:
    """Parameters with sigma; ``clear`` ``(N,)`` is the chance that each star is in clear air.

    ``covariance`` is ``(7, 7)`` over ZP, k, c1, c2, vignetting a, b, k2.
    """

    zero_point_mag: float
    extinction: float
    colour: tuple[float, float]
    vignetting: tuple[float, float]
    second_order: float
    covariance: Float
    scatter_mag: float
    clear: Float
    clear_share: float
    stars: int

    @property
    def sigma(self) -> Float:
        """Standard errors in the order of ``covariance``."""
        return np.asarray(np.sqrt(np.diag(self.covariance)))


def fit_zero_point(
    rows: StarRows,
    *,
    thin: float,
    prior: ZeroPointPrior | None = None,
    fit_vignetting: bool = False,
) -> ZeroPointFit | None:
    """Fit the model; None where too few stars are in clear air to say anything.

    Parameters
    ----------
    rows
        Stars; those that were not seen carry a ``y`` far too low, which marks them as clouded.
    thin
        Air pressure at the site over that at sea level, for the extinction's prior.
    prior
        Remembered; without it the clearest part of the frame counts as clear.
    fit_vignetting
        Fit the radial curve too (then ``y`` must not contain it).
    """
    if rows.y.size < MIN_STARS:
        return None
    whole = rows
    if rows.y.size > _MAX_STARS:
        rows = rows.part(slice(_MAX_STARS))
    design, centre, width = _model(rows, thin, prior, fit_vignetting)
    rest = rows.y - design[:, 1:] @ centre[1:]
    if prior is not None:
        starts = [prior.zero_point_mag]
    else:
        starts = [float(v) for v in np.quantile(rest, [0.5, 0.75, 0.9])]
    cosine = rows.vectors @ rows.vectors.T
    near = np.exp(-(1.0 - cosine) / np.radians(_NEIGHBOUR_DEG) ** 2)
    best: tuple[float, Float, Float, float, Float] | None = None
    for start in starts:
        first = centre.copy()
        first[0] = start
        found = _maximise(rows, design, first, width, near, remembered=prior is not None)
        if best is None or found[0] > best[0]:
            best = found
    assert best is not None
    _, beta, clear, scatter, _ = best
    beta, weight, scatter, covariance = _without_veil(rows, design, beta, clear, scatter,
                                                      centre, width, cosine)  # fmt: skip
    count = int(np.sum(weight > 0.5))
    if count < MIN_STARS or count < MIN_SHARE * weight.size:
        return None
    all_design, _, _ = _model(whole, thin, prior, fit_vignetting)
    dim = all_design @ beta - whole.y
    chance = _chances(dim, np.hypot(whole.noise_mag, scatter), np.full(dim.size, 0.7))[0]
    chance[: weight.size] = weight
    return ZeroPointFit(
        zero_point_mag=float(beta[0]),
        extinction=float(beta[1]),
        colour=(float(beta[2]), float(beta[3])),
        vignetting=(float(beta[4]), float(beta[5])),
        second_order=float(beta[6]),
        covariance=covariance,
        scatter_mag=scatter,
        clear=chance,
        clear_share=float(np.mean(weight > 0.5)),
        stars=count,
    )


def _model(
    rows: StarRows, thin: float, prior: ZeroPointPrior | None, fit_vignetting: bool
) -> tuple[Float, Float, Float]:
    """Return the design matrix ``(N, 7)`` and centre and width of the Gaussian priors."""
    basis = vignetting_basis(rows.theta_deg)
    one = np.ones_like(rows.y)
    design = np.stack([one, -rows.airmass, -rows.bv, -(rows.bv**2), -basis[0], -basis[1],
                       -rows.bv * rows.airmass], axis=1)  # fmt: skip
    centre = np.array([0.0, SEA_LEVEL_EXTINCTION * thin, COLOUR_PRIOR[0][0], COLOUR_PRIOR[1][0],
                       *VIGNETTING_PRIOR, SECOND_ORDER_PRIOR[0] * thin])  # fmt: skip
    width = np.array([np.inf, EXTINCTION_SIGMA, COLOUR_PRIOR[0][1], COLOUR_PRIOR[1][1],
                      *VIGNETTING_SIGMA, SECOND_ORDER_PRIOR[1] * thin])  # fmt: skip
    if not fit_vignetting:
        centre[4:6], width[4:6] = 0.0, 1e-6
    if prior is not None:
        centre[0], width[0] = prior.zero_point_mag, prior.sigma_mag
        if prior.extinction is not None:
            centre[1], width[1] = prior.extinction, prior.extinction_sigma
        if prior.colour is not None:
            centre[2:4], width[2:4] = prior.colour, prior.colour_sigma
    return design, centre, width


def _chances(dim: Float, sigma: Float, clear_share: Float) -> tuple[Float, Float]:
    """Return the chance of clear air for each star, and the likelihood of what was seen."""
    clear = clear_share * np.exp(-0.5 * (dim / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi))
    # An exponential tail with its edge softened by the noise (a logistic for the normal integral).
    edge = 1.0 / (1.0 + np.exp(-np.clip(1.702 * (dim / sigma - 1.0), -50, 50)))
    cloud = (1.0 - clear_share) * edge * np.exp(-np.maximum(dim, 0.0) / _CLOUD_MAG) / _CLOUD_MAG
    total = (1.0 - _OUTLIERS) * (clear + cloud) + _OUTLIERS / _OUTLIER_MAG
    return (1.0 - _OUTLIERS) * clear / total, total


def _solve(
    rows: StarRows, design: Float, weight: Float, sigma: Float, centre: Float, width: Float
) -> tuple[Float, Float]:
    """Weighted least squares with Gaussian priors; return parameters and covariance."""
    w = weight / sigma**2
    information = np.diag(1.0 / width**2)
    normal = design.T @ (w[:, None] * design) + information
    right = design.T @ (w * rows.y) + information @ centre
    covariance = np.asarray(np.linalg.inv(normal), dtype=np.float64)
    return covariance @ right, covariance


def _scatter_of(dim: Float, noise: Float, weight: Float) -> float:
    """Return what scatters beyond the known noise, from the weighted median of the residuals."""
    if weight.sum() < 3.0:
        return _SCATTER[1]
    size = np.abs(dim)
    order = np.argsort(size)
    total = np.cumsum(weight[order])
    middle = 1.4826 * size[order][np.searchsorted(total, 0.5 * total[-1])]
    known = np.average(noise**2, weights=weight)
    return float(np.clip(math.sqrt(max(middle**2 - known, 0.0)), *_SCATTER))


def _maximise(
    rows: StarRows, design: Float, beta: Float, width: Float, near: Float, *, remembered: bool
) -> tuple[float, Float, Float, float, Float]:
    """Expectation-maximisation from one start; return likelihood, parameters, chances, scatter."""
    centre = beta.copy()
    if not remembered:
        width = width.copy()
        width[0] = 3.0  # a start is not knowledge
    scatter = 0.12
    share = np.full(rows.y.size, 0.6)
    clear = share
    likelihood = -np.inf
    for _ in range(_ROUNDS):
        dim = design @ beta - rows.y
        sigma = np.hypot(rows.noise_mag, scatter)
        clear, total = _chances(dim, sigma, share)
        likelihood = float(np.sum(np.log(total)))
        around = near @ clear / near.sum(axis=1)
        share = np.clip(0.5 * around + 0.5 * np.mean(clear), 0.02, 0.98)
        beta, _ = _solve(rows, design, clear, sigma, centre, width)
        scatter = _scatter_of(design @ beta - rows.y, rows.noise_mag, clear)
    return likelihood, beta, clear, scatter, share


def _without_veil(
    rows: StarRows, design: Float, beta: Float, clear: Float, scatter: float,
    centre: Float, width: Float, cosine: Float,
) -> tuple[Float, Float, float, Float]:  # fmt: skip
    """Take the say from neighbourhoods that are dimmed as a whole; return the last solution."""
    near = np.exp(-(1.0 - cosine) / np.radians(_VEIL_DEG) ** 2)
    weight = clear
    covariance = np.zeros((design.shape[1],) * 2)
    for _ in range(_VEIL_ROUNDS):
        sigma = np.hypot(rows.noise_mag, scatter)
        beta, covariance = _solve(rows, design, weight, sigma, centre, width)
        dim = design @ beta - rows.y
        scatter = _scatter_of(dim, rows.noise_mag, weight)
        sigma = np.hypot(rows.noise_mag, scatter)
        say = near * np.where(dim < 1.0, 1.0 / sigma**2, 0.0)[None, :]
        total = np.maximum(say.sum(axis=1), 1e-9)
        veil = say @ np.clip(dim, -1.0, 1.0) / total
        # What is left of a neighbourhood's mean by chance and by an imperfect flat.
        slack = np.hypot(0.05, np.sqrt(np.sum(say**2 * sigma**2, axis=1)) / total)
        held = np.exp(-0.5 * (np.maximum(veil, 0.0) / slack) ** 2)
        chance = _chances(dim, sigma, np.full(dim.size, 0.8))[0]
        weight = chance * held
    return beta, weight, scatter, covariance


def remember(
    memory: ZeroPointPrior | None, fit: ZeroPointFit, *, clear_share: float = 0.8
) -> ZeroPointPrior | None:
    """Return the memory after one more frame; unchanged unless the frame was clear.

    A zero point can only look too low through cloud, never too high: a higher one is believed at
    once, a lower one only slowly (dust on the dome).
    """
    if fit.clear_share < clear_share or fit.stars < 60 or fit.scatter_mag > 0.14:
        return memory
    s = fit.sigma
    new = ZeroPointPrior(
        fit.zero_point_mag, max(float(s[0]), 0.02), fit.extinction, max(float(s[1]), 0.03),
        fit.colour, (max(float(s[2]), 0.01), max(float(s[3]), 0.01)),
    )  # fmt: skip
    if memory is None:
        return new
    step = fit.zero_point_mag - memory.zero_point_mag
    pace = 0.3 if step > 0.0 else 0.02
    return replace(new, zero_point_mag=memory.zero_point_mag + pace * step,
                   sigma_mag=max(0.02, 0.9 * memory.sigma_mag))  # fmt: skip
