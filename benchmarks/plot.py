"""The tables and the drawing of docs/performance.md, from what benchmarks.filters measured.

``--run`` measures first, at 3856x2180 and 2280x2180, in processes of their own, and keeps the
records in ``benchmarks/results``; without it the records that are there are drawn again. Records of
a GPU (``python -m benchmarks.filters --backend cupy --json benchmarks/results/NAME.json``) are
drawn beside them. What stands between the markers in the page is replaced, nothing else.

Run: python -m benchmarks.plot [--run]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from html import escape
from pathlib import Path
from typing import Any

from benchmarks.filters import CHAIN_MARK_COPIES, MARK_COPIES

PAGE = Path("docs/performance.md")
DRAWING = Path("docs/pictures/performance.svg")
RESULTS = Path("benchmarks/results")
SIZES = ("3856x2180", "2280x2180")
BEGIN, END = "<!-- measured: written by benchmarks.plot -->", "<!-- end of measured -->"

Record = dict[str, Any]
BAR, WIDTH, LEFT, ROOM = 16, 860, 180, 250
COLOURS = ("#4e79a7", "#f28e2b", "#59a14f", "#b07aa1", "#76b7b2", "#edc948", "#e15759", "#9c755f")


def measure(size: str) -> None:
    """Measure one size on the CPU; a missed mark shows in the table and stops nothing."""
    target = RESULTS / f"cpu-{size}.json"
    command = [sys.executable, "-m", "benchmarks.filters", "--size", size, "--json", str(target)]
    done = subprocess.run(command, check=False)
    if done.returncode not in (0, 1) or not target.exists():
        raise SystemExit(f"benchmarks.filters --size {size} failed")


def records() -> dict[str, Record]:
    """Read what was measured, the largest frame first."""
    found = {p.stem: json.loads(p.read_text()) for p in sorted(RESULTS.glob("*.json"))}
    return dict(sorted(found.items(), key=lambda kv: (-kv[1]["size"][0], kv[0])))


# -- text -----------------------------------------------------------------------------------------


def section(record: Record) -> str:
    """Table of one record."""
    width, height = record["size"]
    lines = [
        f"### {width}×{height}, {record['where']}",
        "",
        f"One copy of the float32 RGB frame ({12 * width * height / 1e6:.0f} MB): "
        f"{record['copy_ms']:.1f} ms. Largest memory of the process while the chains ran: "
        f"{record['peak_gib']:.2f} GiB. Python {record['python']}, NumPy {record['numpy']}, "
        f"{record['machine']}.",
        "",
        "| | ms | copies | by processor time | GB/s | predecessor | compared with | |",
        "|---|---:|---:|---:|---:|---:|---|---|",
    ]
    lines += [row_text(row) for row in record["rows"]]
    for name, steps in record.get("steps_ms", {}).items():
        parts = [f"{step} {ms / record['copy_ms']:.1f}" for step, ms in steps.items()]
        lines += ["", f"Copies of the steps, {name}: {', '.join(parts)}."]
    return "\n".join(lines)


def row_text(row: Record) -> str:
    """One row of a table."""
    chain = row["name"].startswith("chain")
    rate = "" if chain else f"{row['gigabytes_s']:.1f}"
    old = f"{row['predecessor']:.0f}×" if row["predecessor"] else ""
    versus = f"{row['reference']}: {row['ratio']:.1f}×" if row["ratio"] is not None else ""
    verdict = {True: "kept", False: "**missed**", None: ""}[row["good"]]
    own = row.get("own_copies")
    work = "" if own is None else f"{own:.1f}"
    ms, copies = f"{row['ms']:.1f}", f"{row['copies']:.1f}"
    cells = [row["name"], ms, copies, work, rate, old, versus, verdict]
    return "| " + " | ".join(cells) + " |"


# -- drawing --------------------------------------------------------------------------------------


def text(x: float, y: float, words: str, anchor: str = "start") -> str:
    """One line of text."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def box(x: float, y: float, width: float, colour: str, title: str = "") -> str:
    """One bar."""
    shape = f'x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" height="{BAR - 3}"'
    return f'<rect {shape} fill="{colour}"><title>{escape(title)}</title></rect>'


def mark(x: float, top: float, bottom: float, words: str) -> list[str]:
    """Draw a dashed line at a mark."""
    line = f'x1="{x:.1f}" x2="{x:.1f}" y1="{top:.1f}" y2="{bottom:.1f}"'
    return [
        f'<line {line} stroke="#888" stroke-dasharray="3 3"/>',
        text(x, top - 4, words, "middle"),
    ]


def drawing(record: Record) -> str:
    """Draw one record: the chains by their steps, and every filter, in copies."""
    copy_ms = record["copy_ms"]
    chains = [r for r in record["rows"] if r["name"].startswith("chain")]
    filters = [r for r in record["rows"] if r not in chains]
    filters.sort(key=lambda r: -r["copies"])
    span = WIDTH - LEFT - ROOM
    parts, y = [], 44.0
    width, height = record["size"]
    heading = f"Copies of the {width}×{height} float RGB frame, {record['where']}"
    parts.append(text(10, 18, heading))
    scale = span / max([CHAIN_MARK_COPIES, *(r["copies"] for r in chains)])
    foot = y + BAR * len(chains) + 2
    parts += mark(LEFT + CHAIN_MARK_COPIES * scale, y, foot, f"mark {CHAIN_MARK_COPIES:g}")
    for row in chains:
        parts.append(text(LEFT - 6, y + BAR - 5, row["name"], "end"))
        x = float(LEFT)
        for number, (step, ms) in enumerate(
            record.get("steps_ms", {}).get(row["name"], {}).items()
        ):
            long = ms / copy_ms * scale
            parts.append(box(x, y, long, COLOURS[number % len(COLOURS)], f"{step}: {ms:.0f} ms"))
            if long > 7 * len(step):
                parts.append(text(x + 3, y + BAR - 5, step))
            x += long
        parts.append(text(x + 5, y + BAR - 5, f"{row['copies']:.0f} copies, {row['ms']:.0f} ms"))
        y += BAR
    y += 40.0
    scale = span / max([MARK_COPIES, *(r["copies"] for r in filters)])
    foot = y + BAR * len(filters)
    parts += mark(LEFT + MARK_COPIES * scale, y, foot, f"mark {MARK_COPIES:g}")
    for row in filters:
        parts.append(text(LEFT - 6, y + BAR - 5, row["name"], "end"))
        colour = COLOURS[6] if row["good"] is False else COLOURS[0]
        parts.append(box(LEFT, y, row["copies"] * scale, colour, f"{row['ms']:.1f} ms"))
        words = f"{row['copies']:.1f} copies, {row['ms']:.0f} ms"
        if row["predecessor"]:
            words += f"; predecessor {row['predecessor']:.0f}×"
        parts.append(text(LEFT + row["copies"] * scale + 5, y + BAR - 5, words))
        y += BAR
    style = 'font-family="sans-serif" font-size="11" fill="#222"'
    # Words that a line crosses stay readable.
    halo = "text { stroke: #fff; stroke-width: 3px; stroke-linejoin: round; paint-order: stroke }"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 14:.0f}" {style}>',
            f"<style>{halo}</style>",
            '<rect width="100%" height="100%" fill="#fff"/>',
            *parts,
            "</svg>\n",
        ]
    )


def main() -> int:
    """Measure where asked, and write page and drawing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", action="store_true", help="measure first; some minutes")
    parser.add_argument("--size", choices=SIZES, action="append", help="measure this size only")
    options = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    if options.run:
        for size in options.size or SIZES:
            measure(size)
    found = records()
    if not found:
        raise SystemExit(f"nothing measured in {RESULTS}; run with --run")
    page = PAGE.read_text()
    head, rest = page.split(BEGIN, 1)
    tail = rest.split(END, 1)[1]
    body = "\n\n".join(section(r) for r in found.values())
    PAGE.write_text(f"{head}{BEGIN}\n\n{body}\n\n{END}{tail}")
    DRAWING.write_text(drawing(next(iter(found.values()))))
    print(f"{PAGE} and {DRAWING} from {', '.join(found)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
