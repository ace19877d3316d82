"""What rows of stars and sky cells add to the write of a processed frame, in time and in bytes.

Run: ``python -m benchmarks.archive_rows [FOLDER] [--frames N]``. The marks,
15 ms and 100 kB, are for half the catalogue above the horizon; all of it up is shown beside.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from allsky360.archive import Archive, Axis, FrameRef, ProcessedWriter, RawWriter, Row
from allsky360.model import Bracket, Exposure, Site

START = datetime(2026, 11, 22, 22, tzinfo=UTC)
SITE = Site("benchmark", 28.76, -17.88)
STARS, UP, CELLS = 9000, 4500, 3000
MOST_MS, MOST_BYTES = 15.0, 100_000
JPEG = b"\xff\xd8\xff\xd9"


def rows(number: int, stars: Axis, cells: Axis, up: int) -> dict[str, Row]:
    """Return three values a star, ``up`` of them measured, and two maps of the sky."""
    rng = np.random.default_rng(number)
    risen = np.sort(rng.choice(STARS, up, replace=False))
    made = {}
    for name, values in (
        ("star_flux", rng.lognormal(1.0, 1.2, up)),
        ("star_flux_sigma", rng.lognormal(-1.0, 0.4, up)),
        ("star_extinction", rng.normal(0.2, 0.05, up)),
    ):
        whole = np.full(STARS, np.nan, np.float32)
        whole[risen] = values
        made[name] = Row(stars, whole, {"units": "1"})
    chance = rng.random(CELLS, np.float32)
    made["cloud_chance"] = Row(cells, chance, {"units": "1"})
    count = rng.integers(0, 12, CELLS).astype(np.uint16)
    made["cell_count"] = Row(cells, count, {"units": "1"})
    return made


def measure(root: Path, frames: int, up: int) -> tuple[float, int]:
    """Return milliseconds and bytes that rows add to a frame; print them and reads."""
    stars = Axis("star", {"star": (np.arange(1, STARS + 1, dtype=np.int32), {})})
    cells = Axis("cell", {"cell": (np.arange(CELLS, dtype=np.int32), {})})
    writers = {}
    for camera in ("plain", "rows"):  # two cameras, in turn: both meet the same load
        writer = RawWriter(root, camera, SITE)
        for k in range(frames):
            pixels = np.full((8, 8), k, np.uint16)
            start = START + timedelta(seconds=10 * k)
            ref = writer.append(Bracket((Exposure(pixels, "RGGB", start, 8.0, camera=camera),)), {})
        writer.close()
        writers[camera] = ProcessedWriter(root, camera, ref.night)
    # what the image costs is the same for both, and small here, so as not to hide the difference
    linear = np.random.default_rng(0).normal(0.1, 0.01, (64, 64, 3)).astype(np.float32)
    spent: dict[str, list[float]] = {"plain": [], "rows": []}
    busy: dict[str, list[float]] = {"plain": [], "rows": []}
    for k in range(frames):
        made = rows(k, stars, cells, up)
        for camera in sorted(writers, reverse=bool(k % 2)):  # the disk favours neither
            given = made if camera == "rows" else {}
            begin, work = time.perf_counter(), time.process_time()
            writers[camera].write(
                FrameRef(camera, ref.night, k),
                time=START + timedelta(seconds=10 * k),
                linear=linear,
                picture_jpeg=JPEG,
                scalars={f"m{i}_deg": float(k) for i in range(30)},
                provenance={},
                rows=given,
            )
            spent[camera].append(1e3 * (time.perf_counter() - begin))
            busy[camera].append(1e3 * (time.process_time() - work))
    store = writers["rows"].store
    size = sum(p.stat().st_size for n in made for p in (store / n).glob("c.*")) // frames
    steady = {c: np.array(t[1:]) for c, t in spent.items()}  # the first makes the store
    low, added, high = np.percentile(steady["rows"] - steady["plain"], (25, 50, 75))
    print(f"{up} of {STARS} stars x 3, {CELLS} cells x 2, {frames} frames")
    for camera, t in steady.items():
        print(f"  write, {camera:6} min {t.min():6.1f} ms   median {np.median(t):6.1f} ms")
    print(f"  rows add {added:.1f} ms (quartiles of pairs {low:.1f} to {high:.1f})")
    cpu = np.percentile(np.subtract(busy["rows"], busy["plain"])[1:], (25, 50, 75))
    print(f"  of processor time {cpu[1]:.1f} ms ({cpu[0]:.1f} to {cpu[2]:.1f})")
    print(f"  and {size / 1e3:.1f} kB a frame")
    begin = time.perf_counter()
    Archive(root).series("rows", ref.night, "star_flux", 77)
    print(f"  series(), a frame {(time.perf_counter() - begin) / frames * 1e3:8.2f} ms")
    took: dict[str, list[float]] = {"plain": [], "rows": []}
    for _ in range(40):
        for camera, times in took.items():
            begin = time.perf_counter()
            Archive(root).frames(camera, ref.night)
            times.append(1e3 * (time.perf_counter() - begin))
    best = {camera: min(times) for camera, times in took.items()}
    ratio = best["rows"] / best["plain"]
    print(f"  frames() of the night, rows / plain: {ratio:.2f} ({best['plain']:.1f} ms plain)")
    return float(added), size


def main() -> None:
    """Measure half the stars up, and as the worst all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path.cwd())
    parser.add_argument("--frames", type=int, default=100)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="benchmark-", dir=options.folder))
    try:
        added, size = measure(folder / "half", options.frames, UP)
        measure(folder / "all", options.frames, STARS)
    finally:
        shutil.rmtree(folder)
    if added > MOST_MS or size > MOST_BYTES:
        sys.exit(f"rows may add {MOST_MS} ms and {MOST_BYTES} bytes to a frame")


if __name__ == "__main__":
    main()
