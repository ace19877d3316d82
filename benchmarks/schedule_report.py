"""How well a running system kept its schedule: bursts, gaps, open-shutter share.

    python benchmarks/schedule_report.py STORAGE_ROOT [PREFECT_API] [--since ISO] [--until ISO]

Reads the archive (exposure starts and lengths) and, where a Prefect API is given, the capture flow
runs. A slot counts as missed when no exposure began in it; two exposures overlap when one begins
before the other has ended.
"""

from __future__ import annotations

import argparse
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np

from allsky360.archive import Archive


def exposures(root: Path, since: float, until: float) -> np.ndarray:
    """Return (start, length) in seconds of every archived exposure, in order."""
    archive = Archive(root)
    rows = []
    for camera in archive.cameras():
        for night in archive.nights(camera):
            for frame in archive.frames(camera, night):
                rows += [(e.start.timestamp(), e.exposure_s) for e in _exposures(archive, frame)]
    found = np.array(sorted(r for r in rows if since <= r[0] < until))
    if not len(found):
        raise SystemExit(f"no exposures below {root} in that time")
    return found


def _exposures(archive: Archive, frame: object) -> tuple:
    return archive.bracket(frame.ref).exposures  # type: ignore[attr-defined]


def capture_runs(api: str, since: float, until: float) -> list[dict]:
    """Return the capture flow runs that were scheduled in the time."""
    body = {
        "flows": {"name": {"any_": ["capture-burst"]}},
        "sort": "EXPECTED_START_TIME_ASC",
        "limit": 200,
    }
    runs = httpx.post(f"{api}/flow_runs/filter", json=body, timeout=20).json()
    return [r for r in runs if since <= _stamp(r["expected_start_time"]) < until]


def _stamp(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("api", nargs="?")
    parser.add_argument("--slot", type=float, default=60.0)
    parser.add_argument("--since", default="1970-01-01T00:00:00+00:00")
    parser.add_argument("--until", default="2100-01-01T00:00:00+00:00")
    a = parser.parse_args()
    since, until = _stamp(a.since), _stamp(a.until)
    e = exposures(a.root, since, until)
    starts, lengths = e[:, 0], e[:, 1]
    ends = starts + lengths
    elapsed = ends[-1] - starts[0]
    gaps = starts[1:] - ends[:-1]
    slots = Counter((starts // a.slot).astype(int).tolist())
    first, last = min(slots), max(slots)
    missed = [k for k in range(first, last + 1) if k not in slots]
    boundary = (starts[1:] // a.slot) != (starts[:-1] // a.slot)
    print(f"exposures            {len(e)}, median length {np.median(lengths):.3f} s")
    print(f"slots with exposures {len(slots)} of {last - first + 1}; missed {len(missed)}")
    for k in missed:
        print(f"  missed {datetime.fromtimestamp(k * a.slot, UTC):%H:%M:%S}")
    print(f"overlapping          {int((gaps < -1e-3).sum())} (smallest gap {gaps.min():.3f} s)")
    for name, g in (("exposures", gaps), ("bursts", gaps[boundary])):
        print(f"gap between {name:9} median {np.median(g):.3f} s, max {g.max():.3f} s")
    print(f"open-shutter share    {lengths.sum() / elapsed:.4f} of {elapsed:.0f} s")
    if a.api:
        runs = capture_runs(a.api, since, until)
        for name, n in Counter(r["state"]["name"] for r in runs).most_common():
            print(f"capture runs {name:12} {n}")
        late = [
            _stamp(r["start_time"]) - _stamp(r["expected_start_time"])
            for r in runs
            if r["start_time"]
        ]
        if late:
            print(f"start after schedule  median {np.median(late):.2f} s, max {max(late):.2f} s")


if __name__ == "__main__":
    main()
