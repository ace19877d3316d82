"""``make faults``, or ``python -m benchmarks.faults [--repeat N] [--only NAME …] [--continue]``.

Runs ``allsky360 up`` with small frames and the sky's clock at five times its speed, hurts it at
random moments, and says for each fault when it was noticed, when all was well again, and what was
lost. Every result is kept as it comes, so that ``--continue`` goes on where a run was cut off.
Filling disks and mounting needs root, stepping the clock needs a C compiler; without, those faults
are left out and named.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from pathlib import Path

from benchmarks.faults.campaign import DRAIN_S, Results, drained, run, verify
from benchmarks.faults.catalogue import BY_NAME, FAULTS
from benchmarks.faults.night import RATE, Night
from benchmarks.faults.table import table


def main() -> None:
    """Run the campaign, or what is left of it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    folder = Path(tempfile.gettempdir()) / "allsky360-faults"
    parser.add_argument("--folder", type=Path, default=folder, help="everything lies below it")
    parser.add_argument("--repeat", type=int, default=10, help="injections of each fault")
    parser.add_argument("--only", nargs="+", choices=sorted(BY_NAME), metavar="NAME")
    parser.add_argument("--without", nargs="+", choices=sorted(BY_NAME), metavar="NAME", default=[])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=RATE, help="of the sky's clock")
    parser.add_argument("--minutes", type=float, default=1e6, help="stop to inject after so many")
    parser.add_argument("--drain-s", type=float, default=DRAIN_S, help="wait for the catch-up")
    parser.add_argument("--continue", action="store_true", dest="go_on")
    parser.add_argument("--list", action="store_true", help="name the faults, run nothing")
    parser.add_argument("--table", action="store_true", help="print what is there, run nothing")
    options = parser.parse_args()
    if options.list:
        for fault in FAULTS:
            print(f"{fault.name:<26} {fault.part:<18} {fault.needs}")
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the system is stopped on the way out
    results = Results(options.folder / "results.jsonl", options.go_on or options.table)
    if not options.table:
        ordinary = [f for f in FAULTS if not f.apart]
        chosen = [BY_NAME[n] for n in options.only] if options.only else ordinary
        chosen = [f for f in chosen if f.name not in options.without]
        with Night(options.folder, rate=options.rate) as night:
            run(night, chosen, options.repeat, options.seed, results, 60 * options.minutes)
            frames, left, damaged = drained(night, options.drain_s)
            problems = verify(night)
        piece = {
            "piece": len(results.pieces()) + 1,
            "frames": frames,
            "left_unprocessed": left,
            "damaged_by_us": damaged,
            "verify_errors": problems,
        }
        results.add(piece)
    print(table(results.injections()))
    for piece in results.pieces():
        print(
            f"piece {piece['piece']}: {piece['frames']} frames in the archive, "
            f"{piece['left_unprocessed']} of them not processed at its end, "
            f"{len(piece['damaged_by_us'])} damaged by the campaign itself, "
            f"{len(piece['verify_errors'])} errors found by verify"
        )
        for problem in piece["verify_errors"][:20]:
            print("   ", problem)
    summary = {"injections": results.injections(), "pieces": results.pieces()}
    out = options.folder / "results.json"
    out.write_text(json.dumps(summary, indent=1), encoding="utf-8")
    print(f"all of it: {out}")


if __name__ == "__main__":
    main()
