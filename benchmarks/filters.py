"""Milliseconds, copies, bytes and ratios of every filter, and of the whole default night chain.

One *copy* is the time to copy the float32 RGB frame once into an existing buffer, measured before
every run of a filter: the ratio says how many passes over memory a filter is worth, whatever the
machine, and whatever else it does. The
references (OpenCV, scikit-image, scipy, colour-demosaicing) run in the same process on the same
pixels; those that are not installed are left out and named. ``--backend cupy`` times the GPU.

Run: python -m benchmarks.filters [--json FILE] [--size 3856x2180]
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from allsky360.arrays import Array, to_device
from allsky360.config import Settings
from allsky360.imaging.filters.filter import Conditions
from allsky360.imaging.filters.registry import FILTERS
from allsky360.imaging.filters.stretch import stretch
from allsky360.imaging.noise import NoiseModel
from allsky360.imaging.parameters import ChainParameters, parameters_from
from allsky360.imaging.pipeline import develop
from allsky360.model import Bracket
from benchmarks import references
from benchmarks.scenes import bracket_of, linear_of
from benchmarks.timing import best, best_beside, device_name

PREDECESSOR_S = {
    "acdnr": 20.1,
    "multiscale_median": 13.8,
    "sharpen": 12.0,
    "hdr-merge": 10.7,
    "clarity": 4.0,
    "dehaze": 2.0,
    "debayer": 1.0,
    "stretch": 0.55,
    "gamma": 0.49,
    "saturation": 0.39,
}
"""The C program's own code with -O3 and OpenMP on 2 cores at 3856x2180 (copy 18 ms), seconds."""
PREDECESSOR_COPY_S = 0.018
MARK_COPIES = 6.0
CHAIN_MARK_COPIES = 150.0


@dataclass(frozen=True)
class Row:
    """One measurement."""

    name: str
    ms: float
    copies: float
    gigabytes_s: float
    predecessor: float | None
    reference: str
    ratio: float | None
    good: bool | None


def measure(name: str, seconds: float, copy_s: float, frame_bytes: int) -> Row:
    """Judge one time: at most 6 copies, or ten times faster than the predecessor in copies."""
    copies = seconds / copy_s
    old = PREDECESSOR_S.get(name)
    times = old / PREDECESSOR_COPY_S / copies if old else None
    good = copies <= MARK_COPIES or (times is not None and times >= 10.0)
    rate = 2 * frame_bytes / seconds / 1e9
    return Row(name, 1000 * seconds, copies, rate, times, "", None, good)


def filter_rows(linear: Array, copy: Callable[[], object], runs: int, backend: str) -> list[Row]:
    """Time every registered filter with its default settings on one frame."""
    display = stretch(linear)
    given: dict[str, Any] = {
        "mask": None,
        "noise": NoiseModel(4e-4, 2e-4),
        "conditions": Conditions(0.0, 0.03, 20.0, 256.0),
    }
    rows = []
    for name in sorted(FILTERS):
        chosen = FILTERS[name]
        keywords = EXAMPLES.get(name) or getattr(Settings().processing.filters, name).model_dump()
        image = linear if chosen.domain == "linear" else display

        def run(chosen: Any = chosen, keywords: Any = keywords, image: Any = image) -> Array:
            needs = {k: given[k] for k in chosen.needs}
            if chosen.measure is not None:
                own = {k: keywords[k] for k in chosen.settings_of_measure if k in keywords}
                needs["state"] = chosen.measure(image, **own, **needs)
            return chosen.run(image, **keywords, **needs)

        seconds, copy_s = best_beside(run, copy, runs, backend)
        row = measure(name, seconds, copy_s, image.nbytes)
        reference = references.FILTERS.get(name) if backend == "numpy" else None
        if reference is not None:
            label, make = reference
            action = make(linear if chosen.domain == "linear" else display)
            if action is not None:
                ratio = best(action, 1, backend) / (row.ms / 1000)
                row = Row(**(asdict(row) | {"reference": label, "ratio": ratio}))
        rows.append(row)
        print(line(row), flush=True)
    return rows


EXAMPLES: dict[str, dict[str, Any]] = {
    "crop": {"left": 100, "top": 100, "width": 2000, "height": 1900},
    "rotate": {"angle_deg": 30.0},
    "flip": {"horizontal": True},
    "mask": {"shape": "circle", "soft_px": 8.0},
}
"""Keywords for filters that do nothing by default."""


def chain_rows(
    size: tuple[int, int], copy_s: float, runs: int, backend: Any
) -> tuple[list[Row], dict[str, dict[str, float]]]:
    """Time the default night chain, mosaic in memory to 8-bit picture in memory.

    Returns
    -------
    rows, steps
        The chains, and the two steps of the front end that have a predecessor; milliseconds of
        every step of each chain.
    """
    parameters: ChainParameters = parameters_from(
        Settings(camera={"black_level_adu": 500.0})  # type: ignore[arg-type]
    )
    rows: list[Row] = []
    shown: dict[str, dict[str, float]] = {}
    for count in (1, 5):
        bracket: Bracket = bracket_of(size, count)
        steps: dict[str, list[float]] = {}

        def run(bracket: Bracket = bracket, steps: dict[str, list[float]] = steps) -> None:
            developed = develop(bracket, parameters, backend=backend)
            for step in developed.steps:
                steps.setdefault(step.name, []).append(step.seconds)

        seconds = best(run, runs, backend)
        copies = seconds / copy_s
        name = f"chain, {count} exposure{'s' if count > 1 else ''}"
        good = copies <= CHAIN_MARK_COPIES if count == 5 else None
        rows.append(Row(name, 1000 * seconds, copies, 0.0, None, "", None, good))
        print(line(rows[-1]), flush=True)
        shown[name] = {step: 1000 * min(times) for step, times in steps.items()}
        for step, ms in shown[name].items():
            print(f"    {step:<22}{ms:9.1f} ms{ms / 1000 / copy_s:8.1f} copies")
    frame_bytes = 12 * size[0] * size[1]
    for step in ("hdr-merge", "debayer"):
        rows.append(measure(step, shown[name][step] / 1000, copy_s, frame_bytes))
        print(line(rows[-1]), flush=True)
    return rows, shown


def line(row: Row) -> str:
    """One row as text."""
    text = f"{row.name:<22}{row.ms:9.1f} ms{row.copies:8.1f} copies"
    if row.predecessor:
        text += f"  predecessor x{row.predecessor:.0f}"
    if row.ratio is not None:
        text += f"  {row.reference} x{row.ratio:.1f}"
    return text + ("" if row.good is None or row.good else "  MISSED")


def peak_gib() -> float:
    """Largest resident memory of this process so far, GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


def main() -> int:
    """Print the table; exit code 1 where a mark is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="3856x2180")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--backend", choices=["numpy", "cupy"], default="numpy")
    parser.add_argument("--chain-only", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    width, height = (int(n) for n in options.size.split("x"))
    frame = to_device(np.ones((height, width, 3), np.float32), options.backend)
    target = frame + 0.0

    def copy() -> None:
        target[...] = frame

    copy_s = best(copy, 9, options.backend)
    where = device_name(options.backend)
    print(f"{width}x{height}, {where}: one copy = {1000 * copy_s:.2f} ms")
    rows, steps = chain_rows((width, height), copy_s, options.runs, options.backend)
    chain_peak = peak_gib()
    print(f"peak memory of the process, interpreter and libraries included: {chain_peak:.2f} GiB")
    if not options.chain_only:
        linear = to_device(linear_of(height, width), options.backend)
        rows += filter_rows(linear, copy, options.runs, options.backend)
        for name in references.MISSING:
            print(f"not installed, so not compared: {name}")
    if options.json:
        record = {
            "size": [width, height],
            "copy_ms": 1000 * copy_s,
            "where": where,
            "machine": platform.machine(),
            "python": platform.python_version(),
            "numpy": np.__version__,
            "peak_gib": chain_peak,
            "rows": [asdict(r) for r in rows],
            "steps_ms": steps,
        }
        options.json.write_text(json.dumps(record, indent=1) + "\n")
    return 1 if any(r.good is False for r in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
