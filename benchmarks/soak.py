"""``python -m benchmarks.soak``: a simulated week of the whole system, hurt at random, measured.

``allsky360 up`` on a small disk of its own, the sky's clock so fast that ``--days`` pass in
``--hours``, frames small, day and night captured alike. Every minute or so a part is killed or the
camera misbehaves. Every twenty seconds memory and open files of every part are written to
``samples.jsonl``, so that a run that is cut off has its figures too (``--report`` prints them).

At the end: memory of each part on the last day against the second, the same for open files, the
pause between frames day by day, frames lost, and the products of every night that is over. The
processes of flow runs live for a minute and are left out.

``--hours 1`` is right for a machine of its own; on a slow or crowded one fewer frames come, and the
number that came is printed.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import random
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psutil

from allsky360.archive import Archive
from allsky360.archive.products import read_products
from allsky360.errors import AllskyError
from benchmarks.faults.campaign import drained, steady, verify
from benchmarks.faults.catalogue import BY_NAME, Wound
from benchmarks.faults.night import Night

SAMPLE_S = 20.0
PARTS = ("owner", "simulator", "api", "prefect", "dask", "runner")
HURTS = (
    *("owner-killed", "simulator-killed", "api-killed", "prefect-killed", "dask-killed"),
    *("runner-killed", "burst-killed", "worker-killed", "server-drops-connection"),
    *("image-garbage", "image-truncated", "image-stale", "exposure-alert", "camera-unplugged"),
    *("foreign-abort", "foreign-settings", "stream-garbage", "body-breaks-off"),
)
PRODUCTS_WAIT_S = 1500.0  # the flow that makes them comes every quarter of an hour
Record = dict[str, Any]


def main() -> None:
    """Run the week, or report what there is."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    folder = Path(tempfile.gettempdir()) / "allsky360-soak"
    parser.add_argument("--folder", type=Path, default=folder)
    parser.add_argument("--days", type=float, default=7.0, help="of the sky's clock")
    parser.add_argument("--frames", type=int, default=10_500, help="wanted in that time")
    parser.add_argument("--hours", type=float, default=1.0, help="of the wall's")
    parser.add_argument("--fault-every-s", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", action="store_true", help="print what is there, run nothing")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    samples = Samples(options.folder / "samples.jsonl")
    if not options.report:
        rate = options.days * 24.0 / options.hours
        exposure_s = 0.8 * options.days * 86_400.0 / options.frames  # the rest is read-out
        with Night(options.folder, settings_for(exposure_s), rate) as night:
            run(night, options, samples)
            finish(night, samples)
    print(report(samples.records))


def settings_for(exposure_s: float) -> dict[str, str]:
    """Settings over those of the fault campaign: one pace by day and by night, tiny frames."""
    pace = {}
    for period in ("DAY", "TWILIGHT", "NIGHT"):
        pace[f"ALLSKY360_EXPOSURE__{period}__MIN_EXPOSURE_S"] = f"{exposure_s:.1f}"
        pace[f"ALLSKY360_EXPOSURE__{period}__MAX_EXPOSURE_S"] = f"{exposure_s:.1f}"
        pace[f"ALLSKY360_EXPOSURE__{period}__EXPOSURES"] = "1"
        pace[f"ALLSKY360_EXPOSURE__{period}__MAX_GAIN"] = "0"
    return pace | {
        "ALLSKY360_SIMULATOR__WIDTH": "160",
        "ALLSKY360_SIMULATOR__HEIGHT": "120",
        "ALLSKY360_RETENTION__LOW_FREE_PERCENT": "0",
        "ALLSKY360_CAPTURE__RETRIES": "20",
        "ALLSKY360_TRANSIENTS__ENABLED": "false",
    }


class Samples:
    """Records, a line each, kept as they come."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.records: list[Record] = []
        if file.exists():
            self.records = [json.loads(line) for line in file.read_text().splitlines() if line]

    def add(self, **record: Any) -> None:
        """Keep one."""
        self.records.append(record)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a", encoding="utf-8") as out:
            out.write(json.dumps(record) + "\n")


def run(night: Night, options: argparse.Namespace, samples: Samples) -> None:
    """Let the days pass: sample, and hurt now and then."""
    steady(night)
    began, chance = time.monotonic(), random.Random(options.seed)
    next_hurt = began + options.fault_every_s
    end = began + options.hours * 3600.0
    samples.add(begin=time.time(), rate=night.rate, days=options.days)
    while time.monotonic() < end:
        with contextlib.suppress(AllskyError, OSError):
            samples.add(**sample(night, (time.monotonic() - began) * night.rate / 86_400.0))
        if time.monotonic() >= next_hurt:
            next_hurt += options.fault_every_s * chance.uniform(0.5, 1.5)
            hurt(night, chance, samples)
        time.sleep(SAMPLE_S)


def hurt(night: Night, chance: random.Random, samples: Samples) -> None:
    """Do one fault, and let the system see to it alone."""
    fault = BY_NAME[chance.choice(HURTS)]
    told = ""
    try:
        fault.hurt(night, Wound(chance))
        if fault.hold_s and fault.lift is not None:
            time.sleep(fault.hold_s)
            fault.lift(night, Wound(chance))
    except Exception as error:  # noqa: BLE001  (the part is down from the fault before)
        told = f"{type(error).__name__}: {error}"
    samples.add(hurt=fault.name, at=time.time(), told=told)


def sample(night: Night, day: float) -> Record:
    """Memory and open files of each part, and how many frames there are."""
    archive, frames, waiting = Archive(night.data), 0, 0
    for camera in archive.cameras():
        for date in archive.nights(camera):
            frames += archive.count(camera, date)
        for date in archive.nights(camera)[-2:]:
            waiting += len(archive.unprocessed(camera, date))
    parts = {}
    for part in PARTS:
        pid = night.pid(part)
        if pid is None:
            continue
        with contextlib.suppress(psutil.Error):
            parts[part] = measure([psutil.Process(pid), *_lasting_children(night, part)])
    with contextlib.suppress(psutil.Error):
        parts["up"] = measure([psutil.Process(night.process.pid)])
    return {"day": round(day, 4), "at": time.time(), "frames": frames, "waiting": waiting,
            "parts": parts}  # fmt: skip


def _lasting_children(night: Night, part: str) -> list[psutil.Process]:
    return [] if part == "runner" else night.children(part)


def measure(processes: Sequence[psutil.Process]) -> dict[str, float]:
    """Memory of processes in MiB, and their open file descriptors."""
    memory = files = 0
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            memory += process.memory_info().rss
            files += process.num_fds()
    return {"mib": round(memory / 2**20, 1), "files": files}


def finish(night: Night, samples: Samples) -> None:
    """Let what waits be processed and every product be made; then look at all of it."""
    frames, left, damaged = drained(night, PRODUCTS_WAIT_S)
    end = time.monotonic() + PRODUCTS_WAIT_S
    while (missing := missing_products(night)) and time.monotonic() < end:
        time.sleep(15)
    samples.add(
        end=time.time(), frames=frames, left_unprocessed=left, damaged=damaged,
        missing_products=missing, verify_errors=verify(night), cadence=cadence(night),
        exposures=len(night.exposures_stamped()),
    )  # fmt: skip


def missing_products(night: Night) -> list[str]:
    """Name what one night that is over has and another has not."""
    archive, had = Archive(night.data), {}
    for camera in archive.cameras():
        for date in archive.nights(camera)[:-1]:
            version = archive.version(camera, date)
            records = read_products(archive.root, camera, date, version)
            had[f"{date}"] = {r.name for r in records}
    wanted = set().union(*had.values()) | {"report", "keogram", "startrails", "timelapse"}
    return sorted(f"{date} {name}" for date, names in had.items() for name in wanted - names)


def cadence(night: Night) -> dict[str, list[float]]:
    """Median and 99th percentile of the pause between frames of each night, wall seconds."""
    times: dict[str, list[datetime]] = {}
    for frame in night.frames():
        times.setdefault(frame.night, []).append(frame.time)
    found = {}
    for date, each in times.items():
        wall = timedelta(seconds=night.rate)
        steps = sorted((b - a) / wall for a, b in itertools.pairwise(each))
        if steps:
            late = steps[len(steps) * 99 // 100]
            found[date] = [round(statistics.median(steps), 2), round(late, 2)]
    return found


def report(records: Sequence[Record]) -> str:
    """Write the figures."""
    taken = [r for r in records if "parts" in r]
    hurts = [r["hurt"] for r in records if "hurt" in r]
    if not taken:
        return "no samples yet"
    last = int(max(r["day"] for r in taken))
    lines = [
        f"{taken[-1]['frames']} frames in {taken[-1]['day']:.2f} simulated days, "
        f"{(taken[-1]['at'] - taken[0]['at']) / 60:.0f} minutes, {len(hurts)} faults, "
        f"{taken[-1]['waiting']} frames waiting at the end of it",
        "",
        "| part | MiB day 2 | MiB last day | ratio | files day 2 | files last day |",
        "|---|---|---|---|---|---|",
    ]
    for part in ("up", *PARTS):
        row = [part]
        second, latest = (_of_day(taken, part, day) for day in (1, last))
        if not second or not latest:
            continue
        a, b = (statistics.median(s["mib"] for s in each) for each in (second, latest))
        row += [f"{a:.1f}", f"{b:.1f}", f"{b / a:.3f}"]
        row += [f"{statistics.median(s['files'] for s in each):.0f}" for each in (second, latest)]
        lines.append("| " + " | ".join(row) + " |")
    for end in (r for r in records if "end" in r):
        lines += [
            "",
            f"at the end: {end['frames']} frames of {end['exposures']} exposures begun, "
            f"{end['left_unprocessed']} not processed, {len(end['damaged'])} unreadable, "
            f"{len(end['verify_errors'])} errors found by verify",
            f"missing products: {', '.join(end['missing_products']) or 'none'}",
            f"pause between frames, median and 99 %: {end['cadence']}",
        ]
    return "\n".join(lines)


def _of_day(taken: Sequence[Record], part: str, day: int) -> list[Record]:
    return [r["parts"][part] for r in taken if int(r["day"]) == day and part in r["parts"]]


if __name__ == "__main__":
    main()
