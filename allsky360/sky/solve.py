"""Solving a fisheye lens blind from one frame, and refining it over a night.

Known are the site and the time; unknown centre, scale, turn, mirroring, projection, distortion and
tilt. The brightest stars vote for a rough lens (:mod:`solve_vote`), which is fitted with ever more
stars (:mod:`solve_refine`); every fifth star (every third of few) is never used for either and must
fit better than chance (:mod:`solve_check`). What does not is refused, with the reason where it can
be found: the skies of other hours and places are tried too (:mod:`solve_explain`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from allsky360.errors import AllskyError
from allsky360.model import Site
from allsky360.sky.catalogue import apparent_altaz, load_catalogue
from allsky360.sky.ephemeris import sun_moon
from allsky360.sky.lens import LensError, LensModel
from allsky360.sky.match import StarTable
from allsky360.sky.solve_check import Evidence, chance_rate, evidence, pooled, rms
from allsky360.sky.solve_explain import (
    Explanation,
    axis_among_stars,
    axis_tilt_deg,
    explain,
    suspects,
)
from allsky360.sky.solve_fit import (
    NAMES,
    Geometry,
    covariance,
    geometry_of,
    project,
    robust_sigma,
    unit_vectors,
)
from allsky360.sky.solve_refine import FULL, Field, Index, fine, pairs, rough, settle
from allsky360.sky.solve_select import select
from allsky360.sky.solve_vote import Hypothesis, hypotheses

Float = NDArray[np.float64]
Reason = Literal["too-few-stars", "moon-glare", "wrong-time", "wrong-site", "tilted", "no-match"]

HOT, EDGE = 2, 4  # bits of StarList.flags that say "not a star" and "half a star"
LEAST_STARS = 15
#: A clear dark sky shows hundreds; what matches nothing and is fewer is called too few.
FEW_STARS = 200
#: The brightest suffice: fainter ones bring noise and blends, and no more geometry.
MOST_STARS = 2000
HELD_OUT_EVERY, HELD_OUT_EVERY_OF_FEW, OF_FEW_BELOW = 5, 3, 100
MAX_TILT_DEG = 6.0
_ALONE_PX = 5.0  # two stars' images are one blob within this
#: A point with more than one other this near (a share of the shorter side) and at least this
#: bright beside it comes last.
_HEAP_SHARE, _HEAP_FLUX, _HEAP_OTHERS = 0.012, 0.2, 2
_HOT_SHARE_BELOW = 0.7  # of the points are left: the others may be stars all the same
_EXTINCTION = 0.25  # mag per airmass, good enough to sort by
# Found stars, catalogue stars per field, step of the focal length, turns of the vote's grid.
_VOTERS = ((60, 70, 1.03, 144), (110, 120, 1.03, 144))
_SUSPECT_VOTERS = (45, 55, 1.045, 108)
_LIKELY = 10  # suspects that are looked at before the rest
_VOTE_ABOVE_DEG = 12.0
_BATCH, _BATCHES = 25, 6
_LEAST_ROUGH = 5.0
_DECENTRE_SHARE = 0.11
_FOCAL_SHARES = (0.12, 1.4)
_HELD_OUT_RADIUS = 1.2  # times the fit's: a held-out star is not drawn toward its place
_TWILIGHT_DEG = -9.0
_MOON_LIT, _MOON_UP_DEG = 0.3, 3.0


class LensNotSolved(AllskyError):
    """No lens, and why.

    Attributes
    ----------
    reason
        One of ``too-few-stars`` (cloud, twilight), ``moon-glare``, ``wrong-time``, ``wrong-site``,
        ``tilted`` (the axis is too far from the zenith and no wrong clock or place explains it),
        ``no-match``.
    explanations
        For ``wrong-time`` and ``wrong-site`` what would be right; several where they cannot be told
        apart.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        mend: str = "",
        explanations: Sequence[Explanation] = (),
    ) -> None:
        super().__init__(message, mend=mend)
        self.reason: Reason = reason
        self.explanations = tuple(explanations)


@dataclass(frozen=True, eq=False)
class LensSolution:
    """A lens with the evidence for it.

    Attributes
    ----------
    lens
        The model.
    site
        Where it was solved.
    whens
        Mid-exposures of the frames used.
    stars, fitted
        Found stars offered, and those the fit used.
    rms_px
        Of the fitted stars' residuals.
    evidence
        The held-out stars' verdict: residuals by altitude, chance rate, odds. Held-out stars have
        no other found point within 5 px, so that each is independent; blends are not among them.
    free
        Names of the parameters that were fitted; the others were held at zero.
    covariance
        ``(9, 9)`` of ``solve_fit.NAMES``, scaled by the residuals; zero where held.
    warnings
        What a person should know.
    """

    lens: LensModel
    site: Site
    whens: tuple[datetime, ...]
    stars: int
    fitted: int
    rms_px: float
    evidence: Evidence
    free: tuple[str, ...]
    covariance: Float = field(repr=False)
    warnings: tuple[str, ...] = ()

    @property
    def sigma(self) -> dict[str, float]:
        """Standard deviation of each parameter; zero where held."""
        return dict(zip(NAMES, (float(s) for s in np.sqrt(np.diag(self.covariance))), strict=True))

    @property
    def tilt_deg(self) -> float:
        """Angle between optical axis and zenith."""
        return axis_tilt_deg(geometry_of(self.lens))


@dataclass(frozen=True, eq=False)
class _Solved:
    """A geometry that the held-out stars of one sky believe."""

    geometry: Geometry
    evidence: Evidence


@dataclass(frozen=True, eq=False)
class _Frame:
    """Found stars of one frame, split, before the sky of any hour: brightest first, heaps last."""

    x: Float
    y: Float
    held: NDArray[np.bool_]
    width: int
    height: int


def solve_lens(
    stars: StarTable,
    site: Site,
    when: datetime,
    width: int,
    height: int,
    *,
    hint: LensModel | None = None,
    max_tilt_deg: float = MAX_TILT_DEG,
    focal_range_px: tuple[float, float] | None = None,
    explain_failure: bool = True,
) -> LensSolution:
    """Find the lens a frame was taken through.

    Parameters
    ----------
    stars
        Found stars; where the list has ``flags``, hot pixels and stars cut by the edge are left
        out. If so few are left that the flag itself is in doubt, and they do not solve, the hot
        ones are tried too.
    when
        Mid-exposure, UTC.
    width, height
        Of the frame the stars' pixels belong to.
    hint
        A lens near the truth; tried first.
    max_tilt_deg
        Largest angle between optical axis and zenith that is believed. A wrong clock looks just
        like a tilt, by 15 degrees x cos(latitude) an hour.
    focal_range_px
        Focal lengths to try; default 0.12 to 1.4 of the shorter side.
    explain_failure
        Try the skies of other hours and places when this one does not fit (some seconds).

    Raises
    ------
    LensNotSolved
        With the reason.
    """
    frames = _to_try(stars, width, height)
    if frames[-1].x.size < LEAST_STARS:
        raise _too_few(frames[0].x.size, site, when)
    focals = focal_range_px or (
        _FOCAL_SHARES[0] * min(width, height),
        _FOCAL_SHARES[1] * min(width, height),
    )
    for tried in frames:
        if tried.x.size < LEAST_STARS:
            continue
        solved = _hinted(tried, site, when, hint) if hint else None
        for voters in _VOTERS:
            solved = solved or _blind(tried, site, when, focals, voters)
        if solved is None:
            continue
        if axis_tilt_deg(solved.geometry) <= max_tilt_deg:
            return _finished(tried, site, when, solved.geometry, max_tilt_deg)
        raise _misplaced(axis_among_stars(solved.geometry, site, when), site, when, max_tilt_deg)
    frame = frames[-1]
    if explain_failure:
        star = _elsewhere(frame, site, when, focals)
        if star is not None:
            raise _misplaced(star, site, when, max_tilt_deg)
    raise _hopeless(frame.x.size, site, when)


def _to_try(stars: StarTable, width: int, height: int) -> tuple[_Frame, ...]:
    """Return the stars without hot pixels, and with them where that leaves few.

    Where stars are hardly wider than a pixel, a finder calls many of them hot.
    """
    clean = _usable(stars, width, height)
    everything = _usable(stars, width, height, EDGE)
    doubtful = clean.x.size < _HOT_SHARE_BELOW * everything.x.size
    return (clean, everything) if doubtful else (clean,)


def _usable(stars: StarTable, width: int, height: int, refused: int = HOT | EDGE) -> _Frame:
    x, y = np.asarray(stars.x, np.float64), np.asarray(stars.y, np.float64)
    flux = np.asarray(stars.flux, np.float64)
    good = np.isfinite(x) & np.isfinite(y) & np.isfinite(flux) & (flux > 0)
    flags = getattr(stars, "flags", None)
    if flags is not None:
        good &= (np.asarray(flags) & refused) == 0
    order = np.flatnonzero(good)
    order = order[np.argsort(-flux[order], kind="stable")][:MOST_STARS]
    every = HELD_OUT_EVERY if order.size >= OF_FEW_BELOW else HELD_OUT_EVERY_OF_FEW
    held = np.arange(order.size) % every == every - 1
    held &= _alone(x[order], y[order])
    near_px = max(_ALONE_PX, _HEAP_SHARE * min(width, height))
    last = np.argsort(_heaped(x[order], y[order], flux[order], near_px), kind="stable")
    order, held = order[last], held[last]
    return _Frame(x[order], y[order], held, width, height)


def _heaped(x: Float, y: Float, flux: Float, near_px: float) -> NDArray[np.bool_]:
    """Say which points lie in a heap of points as bright as they are.

    The Moon's glare, the column it bleeds into, the rim of the sky's circle and lamps behind trees
    fall into dozens of bright points; first in line, they would leave no room for stars (51 of the
    brightest 60 in Lowell 018).
    """
    if x.size < 3:
        return np.zeros(x.size, dtype=np.bool_)
    close = np.hypot(x[:, None] - x, y[:, None] - y) < near_px
    close &= flux[None, :] >= _HEAP_FLUX * flux[:, None]
    return np.asarray(close.sum(axis=1) > _HEAP_OTHERS)  # each counts itself


def _alone(x: Float, y: Float) -> NDArray[np.bool_]:
    """Say which points have no other near: only those are independent evidence.

    Pieces of one blob (a split hot cluster, a trail, glare) lie side by side. A fit drawn to one
    would be confirmed by the next, though nothing but chance brought it there.
    """
    if x.size < 2:
        return np.ones(x.size, dtype=np.bool_)
    distance = np.hypot(x[:, None] - x, y[:, None] - y)
    np.fill_diagonal(distance, np.inf)
    return np.asarray(distance.min(axis=1) >= _ALONE_PX)


def _sky(frame: _Frame, site: Site, when: datetime) -> Field:
    """Put the sky of a site and time before a frame's stars."""
    catalogue = load_catalogue()
    altitude, azimuth = apparent_altaz(catalogue, site, when)
    up = np.flatnonzero(altitude > 1.0)
    airmass = 1.0 / np.sin(np.radians(np.maximum(altitude[up], 3.0)))
    order = up[np.argsort(catalogue.v_mag[up] + _EXTINCTION * airmass, kind="stable")]
    return Field(
        frame.x,
        frame.y,
        unit_vectors(altitude[order], azimuth[order]),
        altitude[order],
        order,
        frame.width,
        frame.height,
    )


def _n_sky(frame: _Frame) -> int:
    """How deep into the catalogue to pair: somewhat deeper than the found stars go."""
    return int(1.3 * frame.x.size) + 30


def _hinted(frame: _Frame, site: Site, when: datetime, hint: LensModel) -> _Solved | None:
    """Start from a lens near the truth."""
    if (hint.width, hint.height) != (frame.width, frame.height):
        raise LensError(
            f"the hint is for {hint.width} x {hint.height} pixels, "
            f"the frame has {frame.width} x {frame.height}.",
            mend="Bin or crop the lens like the frame.",
        )
    sky = _sky(frame, site, when)
    return _judged(frame, sky, geometry_of(hint)) or _judged(
        frame, sky, rough(sky.only(~frame.held), geometry_of(hint))[0]
    )


def _blind(
    frame: _Frame,
    site: Site,
    when: datetime,
    focals: tuple[float, float],
    voters: tuple[int, int, float, int],
) -> _Solved | None:
    """Search all lenses for one that fits the sky of a site and time."""
    sky = _sky(frame, site, when)
    guesses = [g.geometry for g in _guesses(frame, sky, focals, voters, _BATCH * _BATCHES)]
    for first in range(0, len(guesses), _BATCH):
        found = _best(frame, [(sky, g) for g in guesses[first : first + _BATCH]])
        if found is not None:
            return found[1]
    return None


def _elsewhere(
    frame: _Frame, site: Site, when: datetime, focals: tuple[float, float]
) -> Float | None:
    """Return where among the stars the axis points (ICRS), if another sky fits.

    All suspects of a group vote, and only the best guesses of all of them are looked at.
    """
    everyone = list(suspects(site, when))
    for group in (everyone[:_LIKELY], everyone[_LIKELY:]):
        skies = [_sky(frame, s.site, s.when) for s in group]
        guesses = [
            (hypothesis.surprise, k, hypothesis.geometry)
            for k, sky in enumerate(skies)
            for hypothesis in _guesses(frame, sky, focals, _SUSPECT_VOTERS, _BATCH)
        ]
        guesses.sort(key=lambda guess: -guess[0])
        best = guesses[: 2 * _BATCH]
        found = _best(frame, [(skies[k], g) for _, k, g in best])
        if found is not None:
            suspect = group[best[found[0]][1]]
            return axis_among_stars(found[1].geometry, suspect.site, suspect.when)
    return None


def _guesses(
    frame: _Frame,
    sky: Field,
    focals: tuple[float, float],
    voters: tuple[int, int, float, int],
    keep: int,
) -> list[Hypothesis]:
    """Let the brightest stars that may be fitted vote."""
    n_found, n_sky, focal_step, turns = voters
    chosen = np.flatnonzero(~frame.held)[:n_found]
    high = np.flatnonzero(sky.altitude_deg > _VOTE_ABOVE_DEG)[: 6 * n_sky]
    return hypotheses(
        np.stack([frame.x[chosen], frame.y[chosen]], axis=1),
        sky.altitude_deg[high],
        np.degrees(np.arctan2(sky.enu[high, 0], sky.enu[high, 1])),
        frame.width,
        frame.height,
        focal_range_px=focals,
        decentre_px=_DECENTRE_SHARE * max(frame.width, frame.height),
        decentre_deg=7.5,
        per_field=n_sky,
        keep=keep,
        focal_step=focal_step,
        turns=turns,
    )


def _best(frame: _Frame, guesses: list[tuple[Field, Geometry]]) -> tuple[int, _Solved] | None:
    """Improve guesses; return the first convincing one and which guess it came from."""
    improved = []
    for k, (sky, guess) in enumerate(guesses):
        g, score = rough(sky.only(~frame.held), guess)
        if score >= _LEAST_ROUGH:
            improved.append((score, k, g))
    improved.sort(key=lambda entry: -entry[0])
    for k, g in _distinct([(k, g) for _, k, g in improved])[:4]:
        sky = guesses[k][0]
        solved = _judged(frame, sky, fine(sky.only(~frame.held), g))
        if solved is not None:
            return k, solved
    return None


def _distinct(improved: list[tuple[int, Geometry]]) -> list[tuple[int, Geometry]]:
    """Leave out what converged to a lens already in the list."""
    out: list[tuple[int, Geometry]] = []
    for k, g in improved:
        v = g.values
        for _, other in out:
            w = other.values
            turn = abs((v[3] - w[3] + 180.0) % 360.0 - 180.0)
            if g.parity == other.parity and abs(v[2] / w[2] - 1) < 0.05 and turn < 5.0:
                break
        else:
            out.append((k, g))
    return out


def _judged(frame: _Frame, sky: Field, g: Geometry) -> _Solved | None:
    """Settle a geometry on the stars to fit; give it back if the held-out stars believe it."""
    n_sky = _n_sky(frame)
    g, a, _, radius = settle(sky.only(~frame.held), g, FULL, n_sky)
    if a.size < 2 * len(FULL):
        return None
    verdict = evidence(sky.only(frame.held), g, n_sky, _HELD_OUT_RADIUS * radius)
    return _Solved(g, verdict) if verdict.convincing else None


def _finished(
    frame: _Frame, site: Site, when: datetime, g: Geometry, max_tilt_deg: float
) -> LensSolution:
    """Choose the projection, fit it to convergence, and say how good it is."""
    sky = _sky(frame, site, when)
    solution = refine_fields([(sky, frame.held, when)], site, g)
    if solution.tilt_deg > max_tilt_deg:
        star = axis_among_stars(geometry_of(solution.lens), site, when)
        raise _misplaced(star, site, when, max_tilt_deg)
    if not solution.evidence.convincing:
        raise _hopeless(frame.x.size, site, when)
    return solution


def refine_lens(
    frames: Sequence[tuple[StarTable, datetime]], site: Site, lens: LensModel
) -> LensSolution:
    """Fit one lens to the stars of many frames, starting from a lens near the truth.

    Parameters
    ----------
    frames
        Star lists and their mid-exposures. Frames whose held-out stars do not believe the first
        lens (cloud, a bumped camera) are left out and named in ``warnings``.

    Raises
    ------
    LensNotSolved
        When no frame fits.
    """
    good, warnings = [], []
    for stars, when in frames:
        for frame in _to_try(stars, lens.width, lens.height):
            if frame.x.size >= LEAST_STARS and _hinted(frame, site, when, lens) is not None:
                good.append((_sky(frame, site, when), frame.held, when))
                break
        else:
            warnings.append(f"left out {when.isoformat()}: its stars do not fit the lens")
    if not good:
        raise LensNotSolved(
            "no-match",
            f"none of {len(frames)} frames fits the lens to refine.",
            mend="Solve it again from one clear frame.",
        )
    solution = refine_fields(good, site, geometry_of(lens))
    return replace(solution, warnings=(*solution.warnings, *warnings))


def refine_fields(
    parts: Sequence[tuple[Field, NDArray[np.bool_], datetime]], site: Site, g: Geometry
) -> LensSolution:
    """Fit one geometry to several frames' fields; choose its projection; judge it."""
    fits = [sky.only(~held) for sky, held, _ in parts]
    helds = [sky.only(held) for sky, held, _ in parts]
    depth = [int(1.3 * sky.x.size) + 30 for sky, _, _ in parts]
    free: tuple[int, ...] = FULL
    radius = 0.0
    for attempt in range(3):
        spreads = []
        for sky, n in zip(fits, depth, strict=True):
            _, _, _, r = settle(sky, g, free, n)
            spreads.append(r)
        radius = float(np.median(spreads))
        fitted, fit_pairs = _pooled(fits, g, depth, radius)
        judge, judge_pairs = _pooled(helds, g, depth, _HELD_OUT_RADIUS * radius)
        choice = select(fitted, fit_pairs, judge, judge_pairs, g)
        if not choice:
            break
        g, free = choice[0].geometry, choice[0].free
        if attempt and len(parts) == 1:
            break
    fitted, (a, b) = _pooled(fits, g, depth, radius)
    px, py = project(g, fitted.enu[b])
    dx, dy = fitted.x[a] - px, fitted.y[a] - py
    held_field, _ = _pooled(helds, g, depth, radius)
    verdict = _pooled_evidence(helds, g, depth, _HELD_OUT_RADIUS * radius)
    first = parts[0][0]
    tilt = axis_tilt_deg(g)
    lens = g.lens(first.width, first.height, min(92.0 + tilt, 110.0))
    lens = replace(lens, rotation_deg=lens.rotation_deg % 360.0)
    return LensSolution(
        lens=lens,
        site=site,
        whens=tuple(when for _, _, when in parts),
        stars=int(fitted.x.size + held_field.x.size),
        fitted=int(a.size),
        rms_px=rms(np.hypot(dx, dy)),
        evidence=verdict,
        free=tuple(NAMES[k] for k in free),
        covariance=covariance(g, fitted.enu[b], free, robust_sigma(np.concatenate([dx, dy]))),
        warnings=_warnings(lens, site, tilt),
    )


def _pooled(
    fields: Sequence[Field], g: Geometry, depth: Sequence[int], radius: float
) -> tuple[Field, tuple[Index, Index]]:
    """Join the stars of several frames, each paired with its own sky, into one field."""
    found, sky = [], []
    n_found = n_sky = 0
    for f, n in zip(fields, depth, strict=True):
        a, b, _ = pairs(f, g, f.x.size, n, radius)
        found.append(a + n_found)
        sky.append(b + n_sky)
        n_found += f.x.size
        n_sky += f.enu.shape[0]
    joined = Field(
        np.concatenate([f.x for f in fields]),
        np.concatenate([f.y for f in fields]),
        np.concatenate([f.enu for f in fields]),
        np.concatenate([f.altitude_deg for f in fields]),
        np.concatenate([f.entry for f in fields]),
        fields[0].width,
        fields[0].height,
    )
    return joined, (np.concatenate(found), np.concatenate(sky))


def _pooled_evidence(
    helds: Sequence[Field], g: Geometry, depth: Sequence[int], radius: float
) -> Evidence:
    """Judge on the held-out stars of all frames together."""
    rates = [chance_rate(f, g, n, radius) for f, n in zip(helds, depth, strict=True)]
    joined, (a, b) = _pooled(helds, g, depth, radius)
    px, py = project(g, joined.enu[b])
    residual = np.hypot(joined.x[a] - px, joined.y[a] - py)
    rate = float(np.average(rates, weights=[max(f.x.size, 1) for f in helds]))
    return pooled(joined.x.size, rate, residual, joined.altitude_deg[b], radius)


def _warnings(lens: LensModel, site: Site, tilt_deg: float) -> tuple[str, ...]:
    out = []
    per_hour = 15.0 * np.cos(np.radians(site.latitude_deg))
    if tilt_deg > 0.6 * per_hour:
        out.append(
            f"the axis is tilted by {tilt_deg:.1f} deg, and here a clock wrong by an hour would "
            f"look like {per_hour:.1f} deg: check the clock"
        )
    return tuple(out)


def _misplaced(star: Float, site: Site, when: datetime, tolerance_deg: float) -> LensNotSolved:
    """Say why the stars above the camera are not those of the site's zenith."""
    found = explain(star, site, when, tolerance_deg)
    reason: Reason = "wrong-site" if found[0].reason == "wrong-site" else "wrong-time"
    texts = " or ".join(e.text for e in found)
    return LensNotSolved(
        reason,
        f"the stars are not those overhead at {site.name} at {when.isoformat()}: {texts}.",
        mend="Mend the clock (times must be UTC), or site.latitude_deg and site.longitude_deg; "
        "or the camera leans by more than max_tilt_deg.",
        explanations=found,
    )


def _too_few(count: int, site: Site, when: datetime) -> LensNotSolved:
    lights = sun_moon(site, when)
    if lights.sun_altitude_deg > _TWILIGHT_DEG:
        why = f"the Sun is at {lights.sun_altitude_deg:+.1f} deg: too bright for stars"
    else:
        why = "cloud, a covered lens, or far too short an exposure"
    return LensNotSolved(
        "too-few-stars",
        f"only {count} stars ({why})."
        if count < FEW_STARS
        else f"{count} star-like points match no sky ({why}).",
        mend="Take a clear, dark frame.",
    )


def _hopeless(count: int, site: Site, when: datetime) -> LensNotSolved:
    lights = sun_moon(site, when)
    dark = lights.sun_altitude_deg <= _TWILIGHT_DEG
    moonlit = lights.moon_altitude_deg > _MOON_UP_DEG and lights.moon_illumination > _MOON_LIT
    if not dark or (count < FEW_STARS and not moonlit):
        return _too_few(count, site, when)
    if moonlit:
        return LensNotSolved(
            "moon-glare",
            f"{count} star-like points match no sky, under a Moon {lights.moon_illumination:.0%} "
            f"lit at {lights.moon_altitude_deg:.0f} deg.",
            mend="Take a clear frame without the Moon.",
        )
    return LensNotSolved(
        "no-match",
        f"{count} star-like points match no sky: not this one, nor that of any other hour or of "
        "a site with a flipped sign.",
        mend="Take a clear, dark frame; check the site.",
    )
