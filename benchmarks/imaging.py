"""Seconds and memory copies of each step of the chain at 3856x2180.

One copy is the time to copy the float32 RGB frame (101 MB) once on the same machine: the ratio says
how many passes a step is worth, whatever the machine.

Run: python -m benchmarks.imaging
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np

from allsky360.imaging.encode import encode_jpeg
from allsky360.imaging.parameters import ChainParameters
from allsky360.imaging.pipeline import Developed, develop
from allsky360.model import Bracket, Exposure

WIDTH, HEIGHT = 3856, 2180
BLACK, SATURATION = 500, 60_000


def exposure(exposure_s: float, seed: int) -> Exposure:
    """A raw RGGB frame: image circle, gradient, stars, noise (made cheaply)."""
    rng = np.random.default_rng(seed)
    rows, columns = np.ogrid[:HEIGHT, :WIDTH]
    radius2 = ((rows - HEIGHT / 2) ** 2 + (columns - WIDTH / 2) ** 2) / (HEIGHT / 2) ** 2
    light = np.where(radius2 < 0.96, 3000.0 * (1.0 + 0.5 * radius2), 0.0).astype(np.float32)
    for _ in range(3000):
        y, x = rng.integers(4, HEIGHT - 4), rng.integers(4, WIDTH - 4)
        yy, xx = np.mgrid[-3:4, -3:4]
        light[y - 3 : y + 4, x - 3 : x + 4] += 10.0 ** rng.uniform(3, 6) * np.exp(
            -0.5 * (yy**2 + xx**2) / 0.9**2
        )
    light[0::2, 0::2] *= 0.6
    light[1::2, 1::2] *= 0.7
    light *= exposure_s / 10.0
    light += np.sqrt(light + 9.0) * rng.standard_normal(light.shape, dtype=np.float32) + BLACK
    raw = np.clip(light, 0, SATURATION).astype(np.uint16)
    return Exposure(raw, "RGGB", datetime(2026, 1, 1, tzinfo=UTC), exposure_s,
                    saturation_adu=SATURATION)  # fmt: skip


def best(action: Callable[[], object], runs: int) -> float:
    """Shortest of several runs in seconds."""
    seconds = []
    for _ in range(runs):
        begin = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def main() -> None:
    """Print one table for one exposure and one for a bracket of five."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    frame = np.ones((HEIGHT, WIDTH, 3), np.float32)
    target = np.empty_like(frame)
    copy = best(lambda: np.copyto(target, frame), max(runs, 5))
    print(f"{WIDTH}x{HEIGHT}, {os.cpu_count()} cores, one copy = {1000 * copy:.1f} ms")
    parameters = ChainParameters(black_level_adu=BLACK)
    for count in (1, 5):
        bracket = Bracket(tuple(exposure(10.0 / 4**k, k) for k in range(count)))
        develop(bracket, parameters)  # compiles
        results: list[tuple[float, Developed]] = []
        for _ in range(runs):
            begin = time.perf_counter()
            developed = develop(bracket, parameters)
            results.append((time.perf_counter() - begin, developed))
        print(f"\n{count} exposure{'s' if count > 1 else ''}")
        for k, step in enumerate(results[0][1].steps):
            seconds = min(r.steps[k].seconds for _, r in results)
            print(f"  {step.name:<12} {1000 * seconds:8.1f} ms {seconds / copy:7.1f} copies")
        total = min(s for s, _ in results)
        print(f"  {'develop':<12} {1000 * total:8.1f} ms {total / copy:7.1f} copies")
        picture = results[0][1].picture
        jpeg = best(lambda p=picture: encode_jpeg(p), runs)  # type: ignore[misc]
        print(f"  {'jpeg':<12} {1000 * jpeg:8.1f} ms {jpeg / copy:7.1f} copies")


if __name__ == "__main__":
    main()
