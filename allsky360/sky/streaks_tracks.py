"""Streaks of consecutive frames joined into objects, and what kind each object looks like.

A meteor lasts less than a second: it is seen once, or twice where a shutter closed in between is
all that divides it. A satellite or an aircraft goes on where it was, in its old direction, at its
old speed. Aircraft flash.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from allsky360.sky.streaks_model import Kind, Streak, Track

Double = NDArray[np.float64]

TURN_DEG = 15.0


def follow(
    found: tuple[Streak, ...], open_: tuple[Track, ...], number: int
) -> tuple[tuple[Streak, ...], tuple[Track, ...], tuple[Track, ...], int]:
    """Continue open tracks with the streaks of a new frame.

    Returns
    -------
    streaks
        ``found`` with track, frames and kind filled in.
    finished
        Tracks that were open and do not go on, with their last word on the kind.
    still_open
        All tracks with a streak in this frame.
    number
        Of the next new track.
    """
    left = list(open_)
    streaks, tracks = [], []
    for streak in found:
        fits = [(misfit(t.streaks[-1], streak), k) for k, t in enumerate(left)]
        best = min(fits, default=(np.inf, -1))
        if np.isfinite(best[0]):
            before = left.pop(best[1])
            whole = (*before.streaks, streak)
            track_number = before.number
        else:
            whole, track_number, number = (streak,), number, number + 1
        kind = kind_of(whole)
        named = replace(streak, track=track_number, frames=len(whole), kind=kind)
        streaks.append(named)
        tracks.append(Track(track_number, (*whole[:-1], named), kind))
    return tuple(streaks), tuple(left), tuple(tracks), number


def misfit(before: Streak, after: Streak) -> float:
    """Return how badly one streak continues another, pixels; infinite where it does not.

    The end they meet at is not known: of both directions the better counts.
    """
    vectors = [np.array([s.x2 - s.x1, s.y2 - s.y1]) for s in (before, after)]
    lengths = [max(float(np.hypot(*v)), 1e-9) for v in vectors]
    speeds = [n / max(s.exposure_s, 1e-3) for n, s in zip(lengths, (before, after), strict=True)]
    cosine = float(vectors[0] @ vectors[1]) / (lengths[0] * lengths[1])
    if abs(cosine) < np.cos(np.radians(TURN_DEG)):
        return float(np.inf)
    pause = max((after.start - before.end).total_seconds(), 0.0)
    speed = max(speeds)
    best = np.inf
    for forward in (1.0, -1.0):
        # Leading end of the old one, trailing end of the new one when moving ``forward``.
        way = forward * vectors[0] / lengths[0]
        lead = np.array([before.x2, before.y2] if forward > 0 else [before.x1, before.y1])
        ends = [np.array([after.x1, after.y1]), np.array([after.x2, after.y2])]
        trail = min(ends, key=lambda e: float((e - lead) @ way))
        gap = trail - lead
        ahead, off = float(gap @ way), abs(float(gap[0] * way[1] - gap[1] * way[0]))
        expected = speed * pause
        slack = 6.0 + 0.35 * max(lengths)
        if abs(ahead - expected) <= slack and off <= 4.0 + 0.12 * max(lengths):
            best = min(best, abs(ahead - expected) + off)
    return float(best)


def kind_of(streaks: tuple[Streak, ...]) -> Kind:
    """Return what an object looks like from all its streaks."""
    flashing = sum(s.flashes >= 3 for s in streaks)
    if flashing and 2 * flashing >= len(streaks):
        return "aircraft"
    if len(streaks) == 1:
        return "meteor"
    return "satellite"


def flashes(along: Double, fwhm_px: float) -> int:
    """Return how many regular flashes a streak shows, 0 where its light is steady.

    Flashes are narrow peaks of 1.5 times the streak's median and 4 sigma above it, at distances
    that agree within a third of their mean.
    """
    seen = np.where(np.isfinite(along), along, np.nanmedian(along))
    middle = float(np.median(seen))
    limit = max(1.5 * middle, middle + 4.0)
    inner = seen[1:-1]
    peak = (inner > limit) & (inner >= seen[:-2]) & (inner > seen[2:])
    at = np.flatnonzero(peak) + 1
    if at.size < 3:
        return 0
    steps = np.diff(at)
    if steps.min() < fwhm_px or steps.std() > 0.34 * steps.mean():
        return 0
    return int(at.size)
