"""What to subtract from an exposure: the master that fits, or what can soundly be made of several.

With ``B`` the bias and ``D(T)`` the dark current of a pixel at temperature ``T``, a dark of ``t``
seconds is ``B + D(T) t``:

time
    Linear between two darks of one temperature, or between bias (0 s) and a dark; past the longest
    dark up to :data:`STRETCH` times its time, if there is a bias. Without one, nothing is scaled.
temperature
    Between two darks at most :data:`GAP_C` apart, if there is a bias. Their mean currents ``m1``
    and ``m2`` are interpolated log-linearly (a current that grows by a factor per degree, as the
    Shockley-Read-Hall generation in silicon does), ``m = m1^(1-w) m2^w`` with ``w`` the share of
    the way from the colder to the warmer. A pixel takes ``(1-w) (m/m1) D1 + w (m/m2) D2``: linear
    in the pixels, so that noise about zero stays unbiased, where a logarithm would not.
    Nothing is extrapolated in temperature beyond :data:`TEMPERATURE_TOLERANCE_C`.
gain
    Automatic exposure leaves gains between those of the masters. Dark current is electrons, so
    ``D`` of another gain is scaled by the ratio of electrons per ADU, up to :data:`STRETCH`, where
    both are known and there is a bias of the dark's gain; the bias of the exposure's gain is
    interpolated linearly between those of the next lower and the next higher gain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allsky360.imaging.defects import MOST, Defects, find_hot, plan_repair
from allsky360.imaging.master import Master, MasterMismatch, Masters
from allsky360.model import Exposure

TEMPERATURE_TOLERANCE_C = 2.0
"""Dark current doubles every 6-7 degrees: 2 degrees are 25 %."""

SAME_TEMPERATURE_C = 0.5
"""Darks this near need no interpolation: 5 %."""

SAME_GAIN = 0.5
"""Camera units within which two gains are one."""

GAP_C = 20.0
"""Darks farther apart in temperature are not interpolated between."""

EXPOSURE_TOLERANCE = 0.02
"""A dark within 2 % of the exposure time is subtracted unscaled."""

STRETCH = 2.0
"""A dark is scaled up to this many times its exposure time: its noise grows with it."""

Terms = list[tuple[float, Master]]
"""A linear combination of masters."""


class _UnsoundError(Exception):
    """Masters are there, but nothing sound can be made of them."""


@dataclass(frozen=True)
class Wanted:
    """What a master must fit."""

    shape: tuple[int, ...]
    exposure_s: float
    gain: float | None
    offset: float | None
    temperature_c: float | None
    binning: int
    camera: str
    mosaic: bool
    egain: float | None = None


@dataclass(frozen=True, eq=False)
class Pedestal:
    """What is to be subtracted.

    Attributes
    ----------
    pixels
        Shape of the exposure, float32 ADU.
    level
        Its median.
    used
        Names of the masters, with factors other than 1.
    notes
        What is missing in it, one sentence each.
    defects
        Pixels to repair.
    """

    pixels: NDArray[np.float32]
    level: float
    used: tuple[str, ...]
    notes: tuple[str, ...]
    defects: Defects | None


def pedestal_for(exposure: Exposure, masters: Masters) -> Pedestal:
    """Make what is to be subtracted from an exposure; the last few are kept.

    Raises
    ------
    MasterMismatch
        Nothing fits; every reason is named.
    """
    celsius = exposure.temperature_c
    return _pedestal_for(
        masters,
        Wanted(
            exposure.pixels.shape,
            exposure.exposure_s,
            exposure.gain,
            exposure.offset,
            None if celsius is None else round(celsius, 1),
            exposure.binning,
            exposure.camera,
            exposure.pattern is not None,
            exposure.egain,
        ),
    )


@lru_cache(maxsize=6)
def _pedestal_for(masters: Masters, wanted: Wanted) -> Pedestal:
    terms, notes = choose(masters, wanted)
    pixels, lost = _without_gaps(_combine(terms))
    defects = None
    if pixels.ndim == 2:
        noise = max((abs(f) * (m.noise_adu or 0.0) for f, m in terms), default=0.0)
        bad = find_hot(pixels, mosaic=wanted.mosaic, noise_adu=noise)
        for factor, master in terms:
            if master.kind == "dark" and master.unstable is not None and factor > 0.01:
                bad = np.union1d(bad, master.unstable)
        bad = np.union1d(bad, lost)
        if bad.size > MOST * pixels.size:
            share = 100.0 * bad.size / pixels.size
            notes.append(f"{share:.0f} % of the master's pixels stand out: none is repaired.")
        elif bad.size:
            defects = plan_repair(bad, (pixels.shape[0], pixels.shape[1]), mosaic=wanted.mosaic)
    used = tuple(m.name if factor == 1.0 else f"{m.name} x {factor:.4g}" for factor, m in terms)
    return Pedestal(pixels, float(np.median(pixels[::8, ::8])), used, tuple(notes), defects)


def choose(masters: Masters, wanted: Wanted) -> tuple[Terms, list[str]]:
    """Choose masters and their factors; see the module.

    Returns
    -------
    terms, notes

    Raises
    ------
    MasterMismatch
        Nothing fits; every reason is named.
    """
    reasons: list[str] = []
    fitting = [m for m in masters.frames if m.kind != "flat" and _fits(m, wanted, reasons)]
    same = [m for m in fitting if _apart(m.gain, wanted.gain) <= SAME_GAIN]
    bias = _bias_of(same, wanted)
    groups = _by_temperature([m for m in same if m.kind == "dark"])
    terms = _at_temperature(groups, bias, wanted, reasons) if groups else None
    if terms is None:
        terms = _at_other_gain(fitting, wanted, reasons)
    if terms is not None:
        return terms, []
    reasons += [
        f"{m.name} has gain {m.gain:g}, the exposure {wanted.gain:g}"
        for m in fitting
        if _apart(m.gain, wanted.gain) > SAME_GAIN and not any(m.name in r for r in reasons)
    ]
    base: Terms | None = [(1.0, bias)] if bias is not None else None
    if base is None and wanted.gain is not None:
        gains = {m.gain for m in fitting if m.kind == "bias" and m.gain is not None}
        base = _bias_between(fitting, sorted(gains), wanted)
    if base is not None:
        missing = [r for r in reasons if r]
        note = "No dark current was subtracted: " + "; ".join(missing) + "." if missing else ""
        return base, [note] if note else []
    raise MasterMismatch(
        f"No master frame fits an exposure of {wanted.exposure_s:g} s: {'; '.join(reasons)}.",
        mend="Take masters with these camera settings: 'allsky360 darks take'.",
    )


def _bias_of(masters: Sequence[Master], wanted: Wanted) -> Master | None:
    """Return the bias nearest in temperature."""
    return min(
        (m for m in masters if m.kind == "bias"),
        key=lambda m: _apart(m.temperature_c, wanted.temperature_c),
        default=None,
    )


def _at_other_gain(fitting: Sequence[Master], wanted: Wanted, reasons: list[str]) -> Terms | None:
    """Scale the dark current of another gain; None, and why, where that is not sound."""
    if wanted.gain is None:
        return None
    others = sorted(
        {m.gain for m in fitting if m.gain is not None and _apart(m.gain, wanted.gain) > SAME_GAIN},
        key=lambda gain: abs(gain - (wanted.gain or 0.0)),
    )
    pedestal = _bias_between(fitting, others, wanted)
    for gain in others:
        here = [m for m in fitting if m.gain == gain]
        darks, bias = [m for m in here if m.kind == "dark"], _bias_of(here, wanted)
        if not darks:
            continue
        egain = darks[0].egain
        ratio = egain / wanted.egain if egain and wanted.egain else None
        wrong = f"{darks[0].name} has gain {gain:g}, the exposure {wanted.gain:g}"
        if ratio is None:
            reasons.append(f"{wrong}, and electrons per ADU are not known of both")
        elif ratio > STRETCH:
            reasons.append(f"{wrong}: too far to be scaled")
        elif bias is None:
            reasons.append(f"{wrong}, and there is no bias of gain {gain:g}")
        elif pedestal is None:
            reasons.append(f"{wrong}, and there is no bias on either side of it")
        else:
            terms = _at_temperature(_by_temperature(darks), bias, wanted, reasons)
            if terms is not None:
                scaled = [(ratio * factor, master) for factor, master in terms]
                return _gather([*scaled, (-ratio, bias), *pedestal])
    return None


def _bias_between(
    fitting: Sequence[Master], gains: Sequence[float], wanted: Wanted
) -> Terms | None:
    """Bias of the exposure's gain: its own, or interpolated between its two neighbours."""
    own = _bias_of([m for m in fitting if _apart(m.gain, wanted.gain) <= SAME_GAIN], wanted)
    if own is not None:
        return [(1.0, own)]
    assert wanted.gain is not None
    found = {g: _bias_of([m for m in fitting if m.gain == g], wanted) for g in gains}
    known = {g: bias for g, bias in found.items() if bias is not None}
    below = max((g for g in known if g < wanted.gain), default=None)
    above = min((g for g in known if g > wanted.gain), default=None)
    if below is None or above is None:
        return None
    share = (wanted.gain - below) / (above - below)
    return [(1.0 - share, known[below]), (share, known[above])]


def _at_temperature(
    groups: Sequence[Sequence[Master]], bias: Master | None, wanted: Wanted, reasons: list[str]
) -> Terms | None:
    """Find terms for the exposure's temperature; None, and why, where there are none."""
    celsius = wanted.temperature_c
    known = [g for g in groups if g[0].temperature_c is not None]
    vague = [g for g in groups if g[0].temperature_c is None]
    if celsius is None:
        near, pair = list(groups), None
    else:
        ranked = sorted(known, key=lambda g: abs(_celsius(g) - celsius))
        pair = _pair(ranked, celsius)
        near = [g for g in ranked if abs(_celsius(g) - celsius) <= TEMPERATURE_TOLERANCE_C] + vague
    if pair is not None and not (near and _same(near[0], celsius)):
        try:
            return _between(pair, bias, wanted)
        except _UnsoundError as error:
            reasons.append(str(error))
    for group in near:
        try:
            return _at_time(group, bias, wanted.exposure_s)
        except _UnsoundError as error:
            reasons.append(str(error))
    reasons += [
        f"{m.name} was taken at {m.temperature_c:g} C, the exposure at {celsius:g} C"
        for g in known
        if all(g is not other for other in near)
        for m in g
    ]
    return None


def _same(group: Sequence[Master], celsius: float | None) -> bool:
    return _apart(group[0].temperature_c, celsius) <= SAME_TEMPERATURE_C


def _pair(
    ranked: Sequence[Sequence[Master]], celsius: float
) -> tuple[Sequence[Master], Sequence[Master]] | None:
    """Return the nearest group on either side, if they are near enough to each other."""
    below = next((g for g in ranked if _celsius(g) < celsius), None)
    above = next((g for g in ranked if _celsius(g) >= celsius), None)
    if below is None or above is None or _celsius(above) - _celsius(below) > GAP_C:
        return None
    return below, above


def _between(
    pair: tuple[Sequence[Master], Sequence[Master]], bias: Master | None, wanted: Wanted
) -> Terms:
    cold, warm = pair
    assert wanted.temperature_c is not None
    if bias is None:
        raise _UnsoundError(
            f"{cold[0].name} and {warm[0].name} cannot be interpolated without a bias"
        )
    terms = [_at_time(g, bias, wanted.exposure_s) for g in pair]
    means = [_mean_current(_combine(t), bias.array()) for t in terms]
    share = (wanted.temperature_c - _celsius(cold)) / (_celsius(warm) - _celsius(cold))
    factors = [1.0 - share, share]
    if 0.0 < means[0] < means[1]:
        mean = means[0] ** (1.0 - share) * means[1] ** share
        factors = [f * mean / m for f, m in zip(factors, means, strict=True)]
    merged: Terms = [(1.0 - sum(factors), bias)]
    merged += [(f * c, m) for f, group in zip(factors, terms, strict=True) for c, m in group]
    return _gather(merged)


def _at_time(group: Sequence[Master], bias: Master | None, exposure_s: float) -> Terms:
    """Find terms for an exposure time among darks of one temperature."""
    darks = sorted(group, key=lambda m: m.exposure_s)
    nearest = min(darks, key=lambda m: abs(m.exposure_s - exposure_s))
    if abs(nearest.exposure_s - exposure_s) <= EXPOSURE_TOLERANCE * exposure_s:
        return [(1.0, nearest)]
    shorter = next((m for m in reversed(darks) if m.exposure_s < exposure_s), None)
    longer = next((m for m in darks if m.exposure_s > exposure_s), None)
    if longer is None:
        assert shorter is not None
        if bias is None:
            raise _UnsoundError(
                f"{shorter.name} is {shorter.exposure_s:g} s and there is no bias to scale it with"
            )
        if exposure_s > STRETCH * shorter.exposure_s:
            raise _UnsoundError(
                f"{shorter.name} is {shorter.exposure_s:g} s, too short to be scaled to"
                f" {exposure_s:g} s"
            )
        scale = exposure_s / shorter.exposure_s
        return _gather([(1.0 - scale, bias), (scale, shorter)])
    start = bias if shorter is None else shorter
    if start is None:
        raise _UnsoundError(
            f"{longer.name} is {longer.exposure_s:g} s and there is no bias to scale it with"
        )
    begin_s = 0.0 if shorter is None else shorter.exposure_s
    share = (exposure_s - begin_s) / (longer.exposure_s - begin_s)
    return _gather([(1.0 - share, start), (share, longer)])


def _gather(terms: Terms) -> Terms:
    """Add up the factors of each master."""
    factors: dict[int, tuple[float, Master]] = {}
    for factor, master in terms:
        factors[id(master)] = (factors.get(id(master), (0.0, master))[0] + factor, master)
    return [(f, m) for f, m in factors.values() if abs(f) > 1e-9]


def _combine(terms: Terms) -> NDArray[np.float32]:
    if len(terms) == 1 and terms[0][0] == 1.0:
        return terms[0][1].array()
    total = np.zeros(terms[0][1].pixels.shape, np.float32)
    for factor, master in terms:
        total += np.float32(factor) * master.array()
    return total


def _without_gaps(pixels: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Put the median where there is no number; return flat positions of such pixels too."""
    known = np.isfinite(pixels)
    if known.all():
        return pixels, np.zeros(0, np.int64)
    if not known.any():
        raise MasterMismatch("The masters hold no numbers.", mend="Make them anew.")
    level = np.float32(np.median(pixels[known]))
    return np.where(known, pixels, level), np.flatnonzero(~known)


def _mean_current(dark: NDArray[np.float32], bias: NDArray[np.float32]) -> float:
    """Mean of dark minus bias without its hottest and coldest hundredth, on a sample."""
    values = np.sort((dark[::3, ::3] - bias[::3, ::3]).reshape(-1))
    cut = values.size // 100
    return float(np.mean(values[cut : values.size - cut], dtype=float))


def _by_temperature(darks: Sequence[Master]) -> list[list[Master]]:
    """Group darks whose temperatures differ by no more than 1 degree."""
    vague = [m for m in darks if m.temperature_c is None]
    groups: list[list[Master]] = []
    for master in sorted(
        (m for m in darks if m.temperature_c is not None), key=lambda m: m.temperature_c or 0.0
    ):
        if groups and (master.temperature_c or 0.0) - (groups[-1][0].temperature_c or 0.0) <= 1.0:
            groups[-1].append(master)
        else:
            groups.append([master])
    return groups + ([vague] if vague else [])


def _celsius(group: Sequence[Master]) -> float:
    return float(np.mean([m.temperature_c or 0.0 for m in group]))


def _apart(a: float | None, b: float | None) -> float:
    return 0.0 if a is None or b is None else abs(a - b)


def _fits(master: Master, wanted: Wanted, reasons: list[str]) -> bool:
    """Compare what both sides know; collect why a master does not fit."""
    wrong = ""
    if tuple(master.pixels.shape) != wanted.shape:
        wrong = f"is {_size(master.pixels.shape)}, the exposure {_size(wanted.shape)}"
    elif master.binning != wanted.binning:
        wrong = f"is binned {master.binning}, the exposure {wanted.binning}"
    elif _apart(master.offset, wanted.offset) > 0.5:
        wrong = f"has offset {master.offset:g}, the exposure {wanted.offset:g}"
    elif master.camera and wanted.camera and master.camera != wanted.camera:
        wrong = f"is of {master.camera!r}, the exposure of {wanted.camera!r}"
    elif master.kind == "dark" and master.exposure_s <= 0:
        wrong = "names no exposure time"
    if wrong:
        reasons.append(f"{master.name} {wrong}")
    return not wrong


def _size(shape: tuple[Any, ...]) -> str:
    return "x".join(str(n) for n in (shape[1], shape[0], *shape[2:]))
