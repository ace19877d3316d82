"""Milliseconds, copies, bytes and ratios of every filter, and of the whole default night chain.

One *copy* is the time to copy the float32 RGB frame once into an existing buffer, measured before
every run of a filter: the ratio says how many passes over memory a filter is worth, whatever the
machine, and whatever else it does. Beside it, in brackets, the same by processor time: that of all
threads, shared out over them, over that of the copy. It is what the clock would show if nobody else
used the cores, so the two differ on a busy machine; marks are judged by the clock. The
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
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from allsky360.arrays import Array, to_device
from allsky360.arrays.bands import threads
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
from benchmarks.timing import Times, best, best_beside, best_times, device_name

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
    own_copies: float | None
    gigabytes_s: float
    predecessor: float | None
    reference: str
    ratio: float | None
    good: bool | None


def own(times: Times, copy: Times, backend: str) -> float | None:
    """Copies by processor time; none on a GPU."""
    if backend != "numpy":
        return None
    return times.processor_s / threads() / copy.processor_s


def measure(
    name: str, seconds: float, copy_s: float, frame_bytes: int, own_copies: float | None = None
) -> Row:
    """Judge one time: at most 6 copies, or ten times faster than the predecessor in copies."""
    copies = seconds / copy_s
    old = PREDECESSOR_S.get(name)
    times = old / PREDECESSOR_COPY_S / copies if old else None
    good = copies <= MARK_COPIES or (times is not None and times >= 10.0)
    rate = 2 * frame_bytes / seconds / 1e9
    return Row(name, 1000 * seconds, copies, own_copies, rate, times, "", None, good)


def filter_rows(
    linear: Array,
    copy: Callable[[], object],
    runs: int,
    backend: str,
    names: Sequence[str] = tuple(sorted(FILTERS)),
) -> list[Row]:
    """Time filters with their default settings on one frame."""
    display = stretch(linear)
    given: dict[str, Any] = {
        "mask": None,
        "noise": NoiseModel(4e-4, 2e-4),
        "conditions": Conditions(0.0, 0.03, 20.0, 256.0),
    }
    rows = []
    for name in names:
        chosen = FILTERS[name]
        keywords = EXAMPLES.get(name) or getattr(Settings().processing.filters, name).model_dump()
        image = linear if chosen.domain == "linear" else display

        def run(chosen: Any = chosen, keywords: Any = keywords, image: Any = image) -> Array:
            needs = {k: given[k] for k in chosen.needs}
            if chosen.measure is not None:
                own = {k: keywords[k] for k in chosen.settings_of_measure if k in keywords}
                needs["state"] = chosen.measure(image, **own, **needs)
            return chosen.run(image, **keywords, **needs)

        times, copied = best_beside(run, copy, runs, backend)
        share = own(times, copied, backend)
        row = measure(name, times.wall_s, copied.wall_s, image.nbytes, share)
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
    size: tuple[int, int], copied: Times, runs: int, backend: Any
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
    copy_s = copied.wall_s
    shown: dict[str, dict[str, float]] = {}
    for count in (1, 5):
        bracket: Bracket = bracket_of(size, count)
        steps: dict[str, list[float]] = {}

        def run(bracket: Bracket = bracket, steps: dict[str, list[float]] = steps) -> None:
            developed = develop(bracket, parameters, backend=backend)
            for step in developed.steps:
                steps.setdefault(step.name, []).append(step.seconds)

        times = best_times(run, runs, backend)
        seconds, share = times.wall_s, own(times, copied, backend)
        copies = seconds / copy_s
        name = f"chain, {count} exposure{'s' if count > 1 else ''}"
        good = copies <= CHAIN_MARK_COPIES if count == 5 else None
        rows.append(Row(name, 1000 * seconds, copies, share, 0.0, None, "", None, good))
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
    text += f" ({row.own_copies:.1f})" if row.own_copies is not None else ""
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
    parser.add_argument("--only", choices=sorted(FILTERS), nargs="+", help="these, no chain")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    width, height = (int(n) for n in options.size.split("x"))
    frame = to_device(np.ones((height, width, 3), np.float32), options.backend)
    target = frame + 0.0

    def copy() -> None:
        target[...] = frame

    copied = best_times(copy, 9, options.backend)
    copy_s = copied.wall_s
    where = device_name(options.backend)
    print(f"{width}x{height}, {where}: one copy = {1000 * copy_s:.2f} ms")
    rows: list[Row] = []
    steps: dict[str, dict[str, float]] = {}
    chain_peak = float("nan")
    if not options.only:
        rows, steps = chain_rows((width, height), copied, options.runs, options.backend)
        chain_peak = peak_gib()
        print(f"peak memory, interpreter and libraries included: {chain_peak:.2f} GiB")
    if not options.chain_only:
        linear = to_device(linear_of(height, width), options.backend)
        names = options.only or sorted(FILTERS)
        rows += filter_rows(linear, copy, options.runs, options.backend, names)
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
