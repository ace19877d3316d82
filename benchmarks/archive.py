"""What a raw frame costs on this disk: append, read back, against a plain write of the same bytes.

Run: ``python -m benchmarks.archive [FOLDER] [--frames N]``, FOLDER on the disk in question.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from allsky360.archive import Archive, FrameRef, RawWriter
from allsky360.model import Bracket, Exposure, Site

SHAPES = ((1104, 1608), (2180, 3856))
START = datetime(2026, 11, 22, 22, tzinfo=UTC)
SITE = Site("benchmark", 28.76, -17.88)
SCALARS = {"level": 0.12, "sun_altitude_deg": -40.0}


def bracket(number: int, shape: tuple[int, int]) -> Bracket:
    """Return one 14-bit exposure of read and shot noise, which bounds what can be compressed."""
    rng = np.random.default_rng(number)
    sky = rng.normal(900.0, 30.0, shape).clip(0, 16383).astype(np.uint16)
    start = START + timedelta(seconds=10 * number)
    return Bracket((Exposure(sky, "RGGB", start, 8.0, gain=100.0, camera="Benchmark"),))


def milliseconds(call: Callable[[], object]) -> float:
    """Return how long one call takes."""
    begin = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - begin)


def plain_write(path: Path, data: bytes) -> None:
    """Write and sync a file and its entry, the least a durable frame can cost."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def measure(folder: Path, shape: tuple[int, int], frames: int) -> None:
    """Print one line a step: median and worst of ``frames`` frames."""
    root = folder / f"archive-{shape[0]}"
    brackets = [bracket(k, shape) for k in range(4)]
    writer = RawWriter(root, "Benchmark", SITE)
    reader = Archive(root)
    append: list[float] = []
    newest: list[float] = []
    pixels: list[float] = []
    plain: list[float] = []
    packed: list[float] = []
    refs: list[FrameRef] = []
    for k in range(frames + 1):
        frame = brackets[k % 4]
        append.append(milliseconds(lambda f=frame: refs.append(writer.append(f, SCALARS))))
        newest.append(milliseconds(reader.latest))
        pixels.append(milliseconds(lambda: reader.bracket(refs[-1])))
        raw = frame.exposures[0].pixels.tobytes()
        shard = max(root.rglob("raw/c.*"), key=lambda p: p.stat().st_mtime_ns).read_bytes()
        # alternating with the appends, so that both meet the same disk and the same load
        plain.append(milliseconds(lambda d=raw: plain_write(folder / "plain", d)))
        packed.append(milliseconds(lambda d=shard: plain_write(folder / "plain", d)))
    writer.close()
    size = brackets[0].exposures[0].pixels.nbytes
    print(f"{shape[1]} x {shape[0]}, {size / 1e6:.1f} MB, packed {size / len(shard):.2f} : 1")
    for name, times in (
        ("append, durable", append),
        ("latest() after a commit", newest),
        ("bracket()", pixels),
        ("plain write, raw bytes", plain),
        ("plain write, packed bytes", packed),
    ):
        steady = times[1:]  # the first makes the store
        print(f"  {name:26} median {statistics.median(steady):7.1f} ms   max {max(steady):7.1f} ms")
    print(f"  first append of a night    {append[0]:14.1f} ms")
    ratio = statistics.median(append[1:]) / statistics.median(plain[1:])
    print(f"  append / plain write of the raw bytes: {ratio:.2f}")


def main() -> None:
    """Measure both sensors in a temporary folder below FOLDER."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path.cwd())
    parser.add_argument("--frames", type=int, default=20)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="benchmark-", dir=options.folder))
    try:
        for shape in SHAPES:
            measure(folder, shape, options.frames)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
