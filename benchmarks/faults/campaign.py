"""Runs the night and hurts it, one fault after the other, and keeps every result as it comes."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from allsky360.archive import verify_night
from allsky360.errors import AllskyError
from benchmarks.faults.catalogue import Fault, Wound
from benchmarks.faults.night import Night
from benchmarks.faults.observe import Watch, lost_exposures, marks

START_S = 600.0
DRAIN_S = 420.0  # the catch-up flow comes every five minutes
Record = dict[str, Any]


def order(
    faults: Sequence[Fault], repeat: int, seed: int, done: Sequence[Record]
) -> Iterator[tuple[Fault, int]]:
    """Yield what is still to do: rounds of every fault, each in an order of its own."""
    had: dict[str, int] = {}
    for record in done:
        had[record["fault"]] = had.get(record["fault"], 0) + 1
    for number in range(repeat):
        this = list(faults)
        random.Random(f"{seed}-{number}").shuffle(this)
        # a clock that is put forward is put back by the other
        yield from ((fault, number) for fault in this if had.get(fault.name, 0) <= number)


def inject(night: Night, fault: Fault, number: int, seed: int) -> Record:
    """Hurt the night once and watch until it is well."""
    chance = random.Random(f"{seed}-{number}-{fault.name}")
    time.sleep(chance.uniform(0.0, 2.5))  # any moment of an exposure
    before = marks(night)
    known = {(f.night, f.index): f.time for f in night.frames()}
    watch, wound = Watch(night, before, fault), Wound(chance)
    fault.hurt(night, wound)
    watch.begun()
    if fault.lift is not None:
        watch.hold(fault.hold_s)
        fault.lift(night, wound)
        watch.lifted()
    well = watch.until_well()
    after = {(f.night, f.index): f.time for f in night.frames()}
    times = watch.times
    return {
        "fault": fault.name,
        "part": fault.part,
        "number": number,
        "seed": seed,
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(before.wall)),
        "held_s": fault.hold_s,
        "detection_s": _rounded(times.detection_s),
        "capture_s": _rounded(times.capture_s),
        "pictures_s": _rounded(times.pictures_s),
        "parts_s": _rounded(times.parts_s),
        "recovery_s": _rounded(times.recovery_s),
        "gap_s": _rounded(times.gap_s),
        "well": well,
        "silent": times.silent if not well else [],
        "exposures_lost": lost_exposures(night, before),
        "frames_lost": sum(after.get(key) != when for key, when in known.items()),
        "note": wound.note,
    }


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
    """Wait until frames come and every part answers."""
    night.until("first frame", lambda: night.newest()[0], START_S)
    night.until("every part", lambda: not night.silent(), START_S)


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
    end = time.monotonic() + for_s
    for fault, number in order(can, repeat, seed, results.injections()):
        if time.monotonic() > end:
            break
        record = inject(night, fault, number, seed)
        results.add(record)
        print(line(record), flush=True)
        if not record["well"]:
            steady(night)


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
