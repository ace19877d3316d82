"""Watches a night while it is hurt: when it noticed, when it was well again, what was lost."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from allsky360.errors import AllskyError
from benchmarks.faults.catalogue import Fault
from benchmarks.faults.night import Frame, Night

EVERY_S = 0.25
PATIENCE_S = 240.0
SAME_S = 0.5  # of the wall's clock: an exposure lasts two
PARTS = ("owner", "simulator", "api", "prefect", "dask", "runner")
TROUBLE = re.compile(
    rb"WARNING|ERROR|Traceback|Error|[Kk]illed|died|[Cc]rash|restart|not answer|Missed|failed"
)
Key = tuple[str, int]


@dataclass
class Marks:
    """How things stood before the injection."""

    at: float  # monotonic
    wall: float  # as files are stamped
    logs: dict[str, int]
    faults: int
    raw: Key | None
    shown: Key | None


@dataclass
class Times:
    """Seconds since the injection, or since the fault was lifted where it lasts; None: not yet."""

    detection_s: float | None = None
    capture_s: float | None = None
    pictures_s: float | None = None
    parts_s: float | None = None
    gap_s: float = 0.0
    silent: list[str] = field(default_factory=list)
    with_pictures: bool = False

    @property
    def recovery_s(self) -> float | None:
        """When everything was well again."""
        each = [self.capture_s, self.parts_s]
        each += [self.pictures_s] if self.with_pictures else []
        return None if None in each else max(t for t in each if t is not None)


def marks(night: Night) -> Marks:
    """Look before anything is done."""
    owner = night.owner()
    raw, shown = night.newest()
    logs = {part: _size(_log(night, part)) for part in ("up", *PARTS)}
    faults = 0 if owner is None else int(owner["faults"])
    return Marks(time.monotonic(), time.time(), logs, faults, raw, shown)


@dataclass(frozen=True)
class Sight:
    """One look at everything."""

    at: float
    raw: Key | None
    shown: Key | None
    silent: tuple[str, ...]
    owner: dict[str, Any] | None


def look(night: Night) -> Sight:
    """Look at everything once."""
    raw, shown = night.newest()
    return Sight(time.monotonic(), raw, shown, tuple(night.silent()), night.owner())


class Watch:
    """Follows one injection.

    Parameters
    ----------
    night, before, fault
        What is watched, how it stood before, what was done.
    others
        Parts that another injection still keeps from answering.
    """

    def __init__(
        self, night: Night, before: Marks, fault: Fault, others: frozenset[str] = frozenset()
    ) -> None:
        self.night, self.before, self.fault, self.others = night, before, fault, others
        self.times = Times(with_pictures=fault.pictures)
        self._last_frame = self.hurt_at = self._since = before.at
        self._newest = before.raw
        self._after: Key | None = before.raw
        self._holding = False

    def begun(self) -> None:
        """Count from now: the fault has just struck."""
        self.see(look(self.night))
        self.hurt_at = time.monotonic()
        self.lifted()
        self._holding = self.fault.lift is not None

    def lifted(self) -> None:
        """Count recovery from now: the fault was ended from outside."""
        self._since = time.monotonic()
        self._holding = False
        self.times.capture_s = self.times.pictures_s = self.times.parts_s = None
        self._after = self._newest

    def see(self, sight: Sight) -> None:
        """Take note of what was seen."""
        now, t = sight.at, self.times
        if sight.raw is not None and sight.raw != self._newest:
            if t.capture_s is None or self._holding:
                t.gap_s = max(t.gap_s, now - self._last_frame)
            self._newest, self._last_frame = sight.raw, now
        passed = now - self._since
        if t.detection_s is None and self._noticed(sight):
            t.detection_s = now - self.hurt_at
        # the first new frame may have been on its way; the second shows that capture goes on
        if t.capture_s is None and _distance(self._after, sight.raw) >= 2:
            t.capture_s = passed
        if t.pictures_s is None and _distance(self._after, sight.shown) >= 2:
            t.pictures_s = passed
        t.silent = [part for part in sight.silent if part not in self.others]
        if t.silent:
            t.parts_s = None  # it only looked well
        elif t.parts_s is None:
            t.parts_s = passed

    def _noticed(self, sight: Sight) -> bool:
        sign = self.fault.sign
        if sign == "owner":
            owner = sight.owner
            return owner is not None and (
                int(owner["faults"]) > self.before.faults or owner["state"] in ("fault", "paused")
            )
        if sign == "up":
            words = _tail(_log(self.night, "up"), self.before.logs["up"])
            part = self.fault.affects[0] if self.fault.affects else self.fault.part
            mark = re.compile(rf" {part} (restarting|not answering|blocked)".encode())
            return mark.search(words) is not None
        words = _tail(_log(self.night, sign), self.before.logs[sign])
        return TROUBLE.search(words) is not None


def _distance(before: Key | None, now: Key | None) -> int:
    if now is None:
        return 0
    if before is None or now[0] != before[0]:
        return now[1] + 1 if before is None or now[0] > before[0] else 0
    return now[1] - before[1]


def _log(night: Night, part: str) -> Path:
    return night.log if part == "up" else night.part_log(part)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _tail(file: Path, start: int) -> bytes:
    try:
        with file.open("rb") as opened:
            opened.seek(start if start <= file.stat().st_size else 0)
            return opened.read()
    except OSError:
        return b""


def lost_exposures(night: Night, before: Marks) -> int:
    """Count exposures that the camera began since the injection and that are not in the archive.

    The simulator writes a file for each exposure as it begins, so that this asks nobody whose
    memory may have died. Those begun after the newest frame are still on their way.
    """
    try:
        frames = night.frames()
    except (AllskyError, OSError):
        return -1
    first = _position(frames, before.raw)
    times = [f.time for f in frames[max(0, first - 2) :]]
    begun = sorted(
        (stamp, when) for stamp, when in night.exposures_stamped() if stamp > before.wall - 3.0
    )
    same = timedelta(seconds=SAME_S * night.rate)
    return unmatched([when for _, when in begun], times, same)


def unmatched(begun: Sequence[datetime], taken: Sequence[datetime], same: timedelta) -> int:
    """Count what of ``begun``, up to the last that was taken, has no frame of its own."""
    left, lost, last = list(taken), 0, 0
    for when in begun:
        near = min(left, key=lambda t: abs(t - when), default=None)
        if near is not None and abs(near - when) <= same:
            left.remove(near)
            last = lost
        else:
            lost += 1
    return last


def _position(frames: Sequence[Frame], key: Key | None) -> int:
    return next((i for i, f in enumerate(frames) if (f.night, f.index) == key), 0)
