"""Streaks as events: where, when, how bright, what it may be, and what goes on in the next frame.

Nothing is called a meteor before the frames on both sides have been searched: a meteor is over
within a second, so it is seen in one frame and continued in none. What goes on where it was, in its
old direction, at its old speed, is a satellite, or an aircraft where it flashes or flies where no
satellite is in sunlight. What can be told neither way is ``unknown``.

Each streak names the one it continues and the one that continues it. That needs only two frames at
a time, in any order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Kind = Literal["meteor", "satellite", "aircraft", "unknown"]
Directions = Callable[[Float, Float], Float]
"""Pixels ``(n,)``, ``(n,)`` to unit vectors ``(n, 3)``."""

FLASHES = 3
CERTAIN_SNR = 10.0
"""Significance from which a fellow of the same brightness could not have been missed."""

TURN_DEG, ASIDE_DEG, SLACK_DEG, SLACK_SHARE = 12.0, 1.0, 1.5, 0.35


@dataclass(frozen=True)
class End:
    """One end of a streak: the frame's pixels, apparent direction (None without a lens), time."""

    time: str
    x: float
    y: float
    alt_deg: float | None = None
    az_deg: float | None = None


@dataclass(frozen=True)
class Transient:
    """A streak in one frame, as it stands in the frame's record.

    Attributes
    ----------
    id
        Frame number and number within the frame: ``000123-1``.
    kind, kind_reason
        What it is taken for, and why.
    start, end
        Its ends; in the order of time where ``direction_known``, which takes a neighbour. The times
        are those of the exposure: the event lies between them.
    duration_s, duration_is
        "whole exposure" where it came in and went on; else "at most".
    length_deg
        Angle between the ends; None without a lens.
    peak_snr, snr
        Of one star-sized spot, and of all its light, in the difference of two frames.
    magnitude, magnitude_sigma
        V of a steady source that gave this light within ``magnitude_over_s``: the exposure for what
        is seen in more than one frame, one second for the rest. None without a zero point.
    label, label_off_deg
        The satellite whose two-line elements fit, and by how much they are off.
    flashes
        Regular flashes along it.
    previous, next
        Streaks that it continues and that continue it, by id.
    path
        ``[[x, y], …]`` from start to end, the frame's pixels (as ``start`` and ``end``; a picture
        that is cropped or turned has others).
    dark_sky
        Nothing below 2000 km is in sunlight there.
    """

    id: str
    kind: Kind
    kind_reason: str
    start: End
    end: End
    duration_s: float
    duration_is: str
    direction_known: bool
    length_deg: float | None
    length_px: float
    width_px: float
    peak_snr: float
    snr: float
    magnitude: float | None
    magnitude_sigma: float | None
    magnitude_over_s: float
    label: str | None
    label_off_deg: float | None
    flashes: int
    dark_sky: bool
    previous: str | None
    next: str | None
    path: tuple[tuple[float, float], ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Transient:
        """Read what :meth:`to_json` wrote.

        Raises
        ------
        ValueError, TypeError, KeyError
            For anything else.
        """
        path = tuple((float(x), float(y)) for x, y in data["path"])
        ends = {name: End(**data[name]) for name in ("start", "end")}
        return cls(**{**data, **ends, "path": path})

    @property
    def exposure_s(self) -> float:
        """Length of the exposure."""
        return (_instant(self.end.time) - _instant(self.start.time)).total_seconds()


@dataclass(frozen=True)
class Searched:
    """The transients of a frame; ``searched`` is False where it could not be, or not well."""

    searched: bool
    transients: tuple[Transient, ...] = ()


@dataclass(frozen=True)
class Track:
    """One object over the consecutive frames that saw it, oldest first."""

    parts: tuple[Transient, ...]

    @property
    def kind(self) -> Kind:
        """What most of its parts are taken for."""
        kinds = [p.kind for p in self.parts]
        return max(kinds, key=lambda k: (kinds.count(k), k != "unknown"))

    @property
    def label(self) -> str | None:
        """The satellite that most of its parts fit."""
        labels = [p.label for p in self.parts if p.label]
        return max(labels, key=labels.count) if labels else None

    @property
    def duration_s(self) -> float:
        """From the first exposure's start to the last one's end: an upper limit."""
        first, last = self.parts[0], self.parts[-1]
        return (_instant(last.end.time) - _instant(first.start.time)).total_seconds()

    @property
    def magnitude(self) -> float | None:
        """Brightest of its parts."""
        return min((p.magnitude for p in self.parts if p.magnitude is not None), default=None)


def relink(
    frames: Mapping[int, Searched], written: int, directions: Directions
) -> dict[int, Searched]:
    """Join a frame's streaks with its neighbours', and say anew what each of the three may be.

    Parameters
    ----------
    frames
        By frame number; what is missing has not been processed. Those two frames away are only
        looked at.
    written
        The frame that is new.
    directions
        Of pixels: by the lens, or by a guess of one where it is not known.

    Returns
    -------
    dict
        ``frames`` with links and kinds as they are now.
    """
    out = dict(frames)
    for first in (written - 1, written):
        if first in out and first + 1 in out:
            out[first], out[first + 1] = _joined(out[first], out[first + 1], directions)
    for k in (written - 1, written, written + 1):
        if k in out:
            near = out.get(k - 1), out.get(k + 1)
            judged = tuple(_judged(t, *near) for t in out[k].transients)
            out[k] = replace(out[k], transients=judged)
    return out


def tracks(frames: Sequence[Searched]) -> list[Track]:
    """Return the objects of a night, in the order of their first frames."""
    every = {t.id: t for frame in frames for t in frame.transients}
    out = []
    for first in every.values():
        if first.previous in every:
            continue
        parts, seen = [first], {first.id}
        while (name := parts[-1].next) in every and name not in seen:
            seen.add(str(name))
            parts.append(every[str(name)])
        out.append(Track(tuple(parts)))
    return out


def _joined(before: Searched, after: Searched, directions: Directions) -> tuple[Searched, Searched]:
    """Link the best fitting pairs of two consecutive frames; older links are undone."""
    old = [replace(t, next=None) for t in before.transients]
    new = [replace(t, previous=None) for t in after.transients]
    fits = sorted(
        (misfit(a, b, directions), i, k) for i, a in enumerate(old) for k, b in enumerate(new)
    )
    used_old: set[int] = set()
    used_new: set[int] = set()
    for off, i, k in fits:
        if not math.isfinite(off) or i in used_old or k in used_new:
            continue
        used_old.add(i)
        used_new.add(k)
        first, second = _in_order(old[i], new[k], directions)
        old[i] = replace(first, next=second.id)
        new[k] = replace(second, previous=first.id)
    return replace(before, transients=tuple(old)), replace(after, transients=tuple(new))


def misfit(before: Transient, after: Transient, directions: Directions) -> float:
    """Return how badly one streak continues another, degrees; infinite where it does not.

    On the sphere: both lie on one great circle, and the gap between them is what the speed covers
    in the pause. The end they meet at is not known: of both directions the better counts.
    """
    a, b = _ends(before, directions), _ends(after, directions)
    lengths = [_angle(*a), _angle(*b)]
    if min(lengths) < 1e-3:
        return math.inf
    pause = (_instant(after.start.time) - _instant(before.end.time)).total_seconds()
    speed = max(n / max(t.exposure_s, 1e-3) for n, t in zip(lengths, (before, after), strict=True))
    expected = speed * max(pause, 0.0)
    slack = SLACK_DEG + SLACK_SHARE * max(lengths)
    best = math.inf
    for tail, head in ((a[0], a[1]), (a[1], a[0])):
        pole = np.cross(tail, head)
        pole /= np.linalg.norm(pole)
        ahead = np.cross(pole, head)
        along = [math.degrees(math.atan2(float(v @ ahead), float(v @ head))) for v in b]
        aside = [abs(math.degrees(math.asin(float(np.clip(v @ pole, -1, 1))))) for v in b]
        turn = abs(aside[0] - aside[1]) / max(abs(along[1] - along[0]), 1e-6)
        near = min(along)
        if math.degrees(math.atan(turn)) > TURN_DEG and max(aside) > ASIDE_DEG:
            continue
        if max(aside) > ASIDE_DEG + 0.12 * (lengths[0] + lengths[1]):
            continue
        if abs(near - expected) <= slack and sum(along) > 0:
            best = min(best, abs(near - expected) + max(aside))
    return best


def _in_order(
    before: Transient, after: Transient, directions: Directions
) -> tuple[Transient, Transient]:
    """Turn both so that the first ends where the second begins."""
    a, b = _ends(before, directions), _ends(after, directions)
    gaps = {(i, k): _angle(a[i], b[k]) for i in (0, 1) for k in (0, 1)}
    i, k = min(gaps, key=lambda pair: gaps[pair])
    first = _turned(before) if i == 0 else before
    second = _turned(after) if k == 1 else after
    return replace(first, direction_known=True), replace(second, direction_known=True)


def _turned(t: Transient) -> Transient:
    start = replace(t.end, time=t.start.time)
    end = replace(t.start, time=t.end.time)
    return replace(t, start=start, end=end, path=t.path[::-1])


def _judged(t: Transient, before: Searched | None, after: Searched | None) -> Transient:
    """Say what a streak may be, by itself and its neighbours."""
    linked = t.previous is not None or t.next is not None
    fellows = {f.id: f for frame in (before, after) if frame for f in frame.transients}
    near = [fellows[name] for name in (t.previous, t.next) if name is not None and name in fellows]
    kind, why = _kind(t, linked, near, before, after)
    whole = t.previous is not None and t.next is not None
    over = t.exposure_s if linked else 1.0
    magnitude = t.magnitude
    if magnitude is not None:
        magnitude += 2.5 * math.log10(over / t.magnitude_over_s)
    return replace(
        t,
        kind=kind,
        kind_reason=why,
        direction_known=t.direction_known and linked,
        duration_is="whole exposure" if whole else "at most",
        magnitude=None if magnitude is None else round(magnitude, 3),
        magnitude_over_s=over,
    )


def _kind(
    t: Transient,
    linked: bool,
    near: Sequence[Transient],
    before: Searched | None,
    after: Searched | None,
) -> tuple[Kind, str]:
    if t.label is not None:
        return "satellite", "fits the elements of a satellite"
    if t.flashes >= FLASHES or any(f.flashes >= FLASHES for f in near):
        return "aircraft", "flashes"
    if linked and t.dark_sky:
        return "aircraft", "goes on where no satellite below 2000 km is in sunlight"
    if linked:
        return "satellite", "goes on in the next or the last frame, without flashes"
    missing = [
        name
        for name, frame in (("before", before), ("after", after))
        if frame is None or not frame.searched
    ]
    if missing:
        return "unknown", f"the frame {' and the one '.join(missing)} has not been searched well"
    if t.snr < CERTAIN_SNR:
        return "unknown", "too faint to be sure that it does not go on"
    return "meteor", "seen in one frame, continued in none"


def _ends(t: Transient, directions: Directions) -> Float:
    return directions(np.array([t.start.x, t.end.x]), np.array([t.start.y, t.end.y]))


def _angle(a: Float, b: Float) -> float:
    return math.degrees(math.atan2(float(np.linalg.norm(np.cross(a, b))), float(a @ b)))


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)
