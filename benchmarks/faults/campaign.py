"""Runs the night and hurts it, one fault after the other, and keeps every result as it comes."""

from __future__ import annotations

import itertools
import json
import os
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from allsky360.archive import verify_night
from allsky360.errors import AllskyError
from benchmarks.faults.catalogue import Fault, Wound
from benchmarks.faults.night import Night
from benchmarks.faults.observe import EVERY_S, PATIENCE_S, Watch, look, lost_exposures, marks

START_S = 600.0
DRAIN_S = 420.0  # the catch-up flow comes every five minutes
Record = dict[str, Any]


CAPTURE = ("camera", "INDIGO server", "network", "owner", "simulator")
CAPTURE_TOO = ("disk-read-only", "disk-gone", "raw-marker-damaged")


def order(
    faults: Sequence[Fault], repeat: int, seed: int, done: Sequence[Record]
) -> list[tuple[Fault, int]]:
    """List what is still to do: rounds of every fault, each in an order of its own."""
    had: dict[str, int] = {}
    for record in done:
        had[record["fault"]] = had.get(record["fault"], 0) + 1
    todo: list[tuple[Fault, int]] = []
    for number in range(repeat):
        this = list(faults)
        random.Random(f"{seed}-{number}").shuffle(this)
        todo += [(fault, number) for fault in this if had.get(fault.name, 0) <= number]
    return todo


def next_of(todo: list[tuple[Fault, int]], busy: frozenset[str]) -> tuple[Fault, int] | None:
    """Take the next that can be done while parts are busy coming back; None: none can."""
    for at, (fault, _) in enumerate(todo[:60]):
        alone = fault.part in CAPTURE or fault.name in CAPTURE_TOO
        free = alone or (fault.affects and not busy & set(fault.affects))
        if not busy or free:
            return todo.pop(at)
    return None


@dataclass
class Injection:
    """One fault done to the night, and what was seen of it so far."""

    night: Night
    fault: Fault
    number: int
    seed: int
    watch: Watch
    wound: Wound
    known: dict[Any, Any]
    frames_lost: int = 0
    exposures_lost: int = 0
    began: float = field(default_factory=time.monotonic)

    @property
    def over(self) -> bool:
        """Whether all is well, or was not within the time."""
        waited = time.monotonic() - self.began > PATIENCE_S + self.fault.held_s(self.night.rate)
        return self.watch.times.recovery_s is not None or waited

    def count(self) -> None:
        """Look what was lost."""
        after = {(f.night, f.index): f.time for f in self.night.frames()}
        self.frames_lost = sum(after.get(key) != when for key, when in self.known.items())
        self.exposures_lost = lost_exposures(self.night, self.watch.before)

    def record(self) -> Record:
        """Plain values of all of it."""
        times, fault = self.watch.times, self.fault
        well = times.recovery_s is not None
        wall = time.gmtime(self.watch.before.wall)
        return {
            "fault": fault.name,
            "part": fault.part,
            "number": self.number,
            "seed": self.seed,
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", wall),
            "held_s": round(fault.held_s(self.night.rate), 1),
            "while_down": sorted(self.watch.others),
            "detection_s": _rounded(times.detection_s),
            "capture_s": _rounded(times.capture_s),
            "pictures_s": _rounded(times.pictures_s),
            "parts_s": _rounded(times.parts_s),
            "recovery_s": _rounded(times.recovery_s),
            "gap_s": _rounded(times.gap_s),
            "well": well,
            "silent": [] if well else times.silent,
            "exposures_lost": self.exposures_lost,
            "frames_lost": self.frames_lost,
            "note": self.wound.note,
        }


class Campaign:
    """Hurts a running night; parts that come back slowly do so while the camera is hurt."""

    def __init__(self, night: Night, seed: int, results: Results) -> None:
        self.night, self.seed, self.results = night, seed, results
        self.pending: list[Injection] = []
        self.starting = frozenset(night.silent())

    @property
    def busy(self) -> frozenset[str]:
        """Parts that are coming back, or start for the first time."""
        return self.starting | {part for i in self.pending for part in i.fault.affects}

    def inject(self, fault: Fault, number: int) -> None:
        """Hurt the night once and watch until it is well, or until capture is."""
        night = self.night
        chance = random.Random(f"{self.seed}-{number}-{fault.name}")
        self.watch_for(chance.uniform(0.0, 2.5))  # any moment of an exposure
        before = marks(night)
        known = {(f.night, f.index): f.time for f in night.frames()}
        watch, wound = Watch(night, before, fault, self.busy), Wound(chance)
        this = Injection(night, fault, number, self.seed, watch, wound, known)
        fault.hurt(night, wound)
        watch.begun()
        if fault.lift is not None:
            self.watch_for(fault.held_s(night.rate), this)
            fault.lift(night, wound)
            watch.lifted()
        while not this.over and not (fault.affects and watch.times.capture_s is not None):
            self.watch_for(EVERY_S, this)
        this.count()
        if fault.apart:
            wound.note = caught_up(night, before.raw)
        if this.over:
            self.keep(this)
        else:
            self.pending.append(this)

    def watch_for(self, seconds: float, this: Injection | None = None) -> None:
        """Watch the present injection and those that are coming back."""
        end = time.monotonic() + seconds
        while True:
            sight = look(self.night)
            self.starting &= frozenset(sight.silent)
            for injection in (*self.pending, *((this,) if this else ())):
                injection.watch.see(sight)
            for injection in [i for i in self.pending if i.over]:
                self.pending.remove(injection)
                self.keep(injection)
            if time.monotonic() >= end:
                return
            time.sleep(min(EVERY_S, seconds))

    def keep(self, injection: Injection) -> None:
        """Keep the result, and say it."""
        record = injection.record()
        self.results.add(record)
        print(line(record), flush=True)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


class Results:
    """Records of injections and pieces, a line each, kept as they come."""

    def __init__(self, file: Path, go_on: bool) -> None:
        self.file = file
        self.records: list[Record] = []
        file.parent.mkdir(parents=True, exist_ok=True)
        if go_on and file.exists():
            lines = file.read_text(encoding="utf-8").splitlines()
            self.records = [json.loads(line) for line in lines if line.endswith("}")]
        elif file.exists():
            file.rename(file.with_suffix(f".{int(file.stat().st_mtime)}.jsonl"))

    def add(self, record: Record) -> None:
        """Keep one."""
        self.records.append(record)
        with self.file.open("a", encoding="utf-8") as out:
            out.write(json.dumps(record) + "\n")
            out.flush()
            os.fsync(out.fileno())

    def injections(self) -> list[Record]:
        """Those of injections."""
        return [r for r in self.records if "fault" in r]

    def pieces(self) -> list[Record]:
        """Those of pieces: what was found at the end of each run of the system."""
        return [r for r in self.records if "piece" in r]


def possible(faults: Sequence[Fault], night: Night) -> tuple[list[Fault], list[str]]:
    """Split into what this machine allows, and what not."""
    allowed = {"": True, "disk": night.own_disk, "clock": night.can_step_clock}
    can = [f for f in faults if allowed[f.needs]]
    return can, [f.name for f in faults if not allowed[f.needs]]


def steady(night: Night) -> None:
    """Wait until frames come: what does not answer yet is not needed for them."""
    night.until("first frame", lambda: night.newest()[0] and night.owner(), START_S)


def run(
    night: Night,
    faults: Sequence[Fault],
    repeat: int,
    seed: int,
    results: Results,
    for_s: float,
) -> None:
    """Hurt a running night until everything was done or the time is over."""
    steady(night)
    can, cannot = possible(faults, night)
    if cannot:
        print(f"not possible on this machine: {', '.join(cannot)}")
    todo, campaign = order(can, repeat, seed, results.injections()), Campaign(night, seed, results)
    end = time.monotonic() + for_s
    while (todo or campaign.pending) and time.monotonic() < end:
        chosen = next_of(todo, campaign.busy)
        if chosen is None:
            campaign.watch_for(EVERY_S)
        else:
            campaign.inject(*chosen)
            if not campaign.pending:
                campaign.starting |= frozenset(night.silent())
    while campaign.pending:
        campaign.watch_for(EVERY_S)


def line(record: Record) -> str:
    """One injection in one line."""
    words = f"{record['at'][11:19]} {record['fault']:<26} seen {_s(record['detection_s'])}"
    words += f"  capture {_s(record['capture_s'])}  pictures {_s(record['pictures_s'])}"
    words += f"  parts {_s(record['parts_s'])}  gap {_s(record['gap_s'])}"
    words += f"  lost {record['exposures_lost']} in flight, {record['frames_lost']} committed"
    if not record["well"]:
        words += f"  NOT WELL {record['silent']}"
    return f"{words}  {record['note']}"


def _s(seconds: float | None) -> str:
    return "   -  " if seconds is None else f"{seconds:5.1f}s"


def drained(night: Night, patience_s: float = DRAIN_S) -> tuple[int, int, list[str]]:
    """Wait for the catch-up; return frames, those left unprocessed, and damaged raw ones."""
    end = time.monotonic() + patience_s
    while True:
        frames = night.frames()
        # the newest are on their way
        left = [f for f in frames[:-6] if not f.processed]
        damaged = [f"{f.night}/{f.index}" for f in left if not _readable(night, f)]
        if len(left) == len(damaged) or time.monotonic() > end:
            return len(frames), len(left) - len(damaged), damaged
        time.sleep(5)


def caught_up(night: Night, before: tuple[str, int] | None) -> str:
    """Wait until what was taken since then is processed; say how many, and in what order."""
    taken = [(f.night, f.index) for f in night.frames()]
    taken = taken[taken.index(before) + 1 if before in taken else 0 :]
    end = time.monotonic() + DRAIN_S
    while time.monotonic() < end:
        done = {(f.night, f.index) for f in night.frames() if f.processed}
        if done.issuperset(taken):
            break
        time.sleep(2)
    left = sum(key not in done for key in taken)
    stamps = [s for key, s in night.processed_at().items() if key in set(taken)]
    late = sum(b < a for a, b in itertools.pairwise(stamps))
    return (
        f"{len(taken)} frames since, {left} not processed, {late} processed before an earlier one"
    )


def _readable(night: Night, frame: Any) -> bool:
    from datetime import date

    from allsky360.archive import Archive, FrameRef

    archive = Archive(night.data)
    ref = FrameRef(archive.cameras()[0], date.fromisoformat(frame.night), frame.index)
    try:
        archive.bracket(ref)
    except (AllskyError, OSError, ValueError, RuntimeError):
        return False
    return True


def verify(night: Night) -> list[str]:
    """Check every night with its CRCs; return what is an error."""
    found = []
    for folder in sorted(night.data.glob("*/2026-*")):
        found += [f"{folder.name}: {p}" for p in verify_night(folder) if p.severity == "error"]
    return found
