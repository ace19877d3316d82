"""The report as one self-contained HTML page, and as Markdown for Prefect's UI."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape

from allsky360.archive.products import ProductRecord
from allsky360.report.gather import NightFacts, Sighting

STYLE = """
:root{color-scheme:dark}
body{background:#0b0e14;color:#cdd3de;font:15px/1.55 system-ui,sans-serif;
margin:0 auto;padding:1.5rem;max-width:72rem}
h1{font-size:1.5rem;margin:.2rem 0}h2{font-size:1.1rem;margin:2rem 0 .6rem}
.sub{color:#8b93a3}img{max-width:100%;border-radius:6px}a{color:#8ab4f8}
.numbers{display:grid;grid-template-columns:repeat(auto-fill,minmax(11rem,1fr));gap:.6rem;
margin:1rem 0}.numbers div{background:#11151f;border-radius:8px;padding:.6rem .8rem}
.numbers b{display:block;font-size:1.15rem;font-weight:600}.numbers span{color:#8b93a3}
.pictures{display:grid;grid-template-columns:repeat(auto-fit,minmax(16rem,1fr));gap:.8rem}
figure{margin:0}figcaption{color:#8b93a3;font-size:.85rem}
table{border-collapse:collapse;width:100%}td,th{padding:.25rem .8rem .25rem 0;text-align:left;
vertical-align:top;border-bottom:1px solid #1c2230}th{color:#8b93a3;font-weight:500}
.bad{color:#f7768e}.wide{overflow-x:auto}
"""


def report_page(
    facts: NightFacts,
    numbers: Mapping[str, str],
    plot: bytes,
    pictures: Sequence[tuple[str, bytes]],
    products: Sequence[ProductRecord],
    failed: Mapping[str, str],
    complete: bool,
) -> str:
    """Return the page; nothing in it is loaded from elsewhere but products beside it."""
    t = facts.times
    parts = [
        f"<h1>{escape(facts.device)}, night of {facts.night}</h1>",
        f'<p class="sub">{escape(facts.site.name)} · Sun down {t.sun.words()} · astronomical night '
        f"{t.astronomical.words()} · Moon {t.moon.words()} (UTC) · {facts.version}"
        + ("" if complete else " · the night still goes on, or frames are not processed")
        + "</p>",
        '<div class="numbers">'
        + "".join(
            f"<div><span>{escape(k)}</span><b>{escape(v)}</b></div>" for k, v in numbers.items()
        )
        + "</div>",
        _pictures(pictures),
        f'<h2>Course of the night</h2><img alt="Sky brightness, clouds, stars, exposure and '
        f'temperature over time" src="{_data(plot, "png")}">'
        '<p class="sub">Shaded: day and twilight; red: no frames.</p>',
        _sightings(facts),
        _gaps(facts),
        _products(products, failed),
    ]
    title = escape(f"{facts.device} {facts.night}")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>'
        f"<body>{''.join(parts)}</body></html>"
    )


def _data(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _pictures(pictures: Sequence[tuple[str, bytes]]) -> str:
    if not pictures:
        return ""
    figures = "".join(
        f'<figure><img alt="{escape(words)}" src="{_data(jpeg, "jpeg")}">'
        f"<figcaption>{escape(words)}</figcaption></figure>"
        for words, jpeg in pictures
    )
    return f'<h2>Best frames</h2><div class="pictures">{figures}</div>'


def _sightings(facts: NightFacts) -> str:
    if not facts.sightings:
        return ""
    rows = "".join(_sighting(s) for s in facts.sightings)
    more = sum(facts.sighting_counts.values()) - len(facts.sightings)
    note = f'<p class="sub">and {more} more</p>' if more else ""
    return (
        '<h2>Meteors, satellites, aircraft</h2><div class="wide"><table><tr><th>UTC</th>'
        "<th>what</th><th>altitude, azimuth</th><th>lasted</th><th>magnitude</th><th>frame</th>"
        f"</tr>{rows}</table></div>{note}"
    )


def _sighting(s: Sighting) -> str:
    where = "" if s.altitude_deg is None else f"{s.altitude_deg:.0f}°, {s.azimuth_deg or 0:.0f}°"
    lasted = "" if s.duration_s is None else f"{s.duration_s:.1f} s"
    bright = "" if s.magnitude is None else f"{s.magnitude:.1f}"
    what = f"{s.kind} {s.label}".strip()
    return (
        f"<tr><td>{s.time:%H:%M:%S}</td><td>{escape(what)}</td><td>{where}</td><td>{lasted}</td>"
        f"<td>{bright}</td><td>{s.ref.index}</td></tr>"
    )


def _gaps(facts: NightFacts) -> str:
    parts = []
    if facts.gaps:
        rows = "".join(
            f"<tr><td>{g.begins:%H:%M:%S} to {g.ends:%H:%M:%S}</td><td>{g.minutes:.1f} min</td>"
            f"<td>{escape(g.cause)}</td></tr>"
            for g in facts.gaps
        )
        parts.append(f"<h2>Without frames</h2><table>{rows}</table>")
    if facts.unprocessed:
        by_reason: dict[str, list[int]] = {}
        for index, reason in facts.unprocessed.items():
            by_reason.setdefault(reason, []).append(index)
        rows = "".join(
            f"<tr><td>{len(frames)}</td><td>{escape(spans(frames))}</td><td>{escape(why)}</td></tr>"
            for why, frames in by_reason.items()
        )
        parts.append(f"<h2>Frames without a picture</h2><table>{rows}</table>")
    return "".join(parts)


def _products(products: Sequence[ProductRecord], failed: Mapping[str, str]) -> str:
    rows = []
    for p in products:
        main = p.main()
        name = escape(p.title)
        if main is not None:
            name = f'<a href="{escape(main.path)}">{name}</a>'
        state = "whole" if p.complete else "still growing"
        rows.append(
            f"<tr><td>{name}</td><td>{p.frames.used} frames</td><td>{state}</td>"
            f"<td>{escape(left_out_words(p))}</td></tr>"
        )
    for product, why in failed.items():
        rows.append(
            f'<tr><td>{escape(product)}</td><td></td><td class="bad">failed</td>'
            f"<td>{escape(why)}</td></tr>"
        )
    if not rows:
        return ""
    head = "<tr><th>product</th><th>made from</th><th></th><th>left out</th></tr>"
    return f'<h2>Products</h2><div class="wide"><table>{head}{"".join(rows)}</table></div>'


def left_out_words(product: ProductRecord) -> str:
    """Say which frames a product lacks, by reason."""
    by_reason: dict[str, list[int]] = {}
    for frame in product.frames.left_out:
        by_reason.setdefault(frame.reason, []).append(frame.index)
    return "; ".join(f"{len(v)} ({spans(v)}): {why}" for why, v in by_reason.items())


def spans(frames: Sequence[int], most: int = 6) -> str:
    """Write numbers as spans: ``3, 7-12``."""
    found: list[list[int]] = []
    for i in sorted(frames):
        if found and i == found[-1][1] + 1:
            found[-1][1] = i
        else:
            found.append([i, i])
    words = [str(a) if a == b else f"{a}-{b}" for a, b in found[:most]]
    return ", ".join(words) + (" …" if len(found) > most else "")


def report_markdown(
    facts: NightFacts,
    numbers: Mapping[str, str],
    products: Sequence[ProductRecord],
    failed: Mapping[str, str],
    base_url: str,
) -> str:
    """Return the report for Prefect's UI; pictures come from the read service."""
    api = f"{base_url}/api/v1/nights/{facts.night}/products"
    lines = [f"# {facts.device}, night of {facts.night}", ""]
    if base_url:
        lines += [
            f"[the whole report]({api}/report/files/report.html?camera={facts.camera})",
            "",
            f"![course of the night]({api}/report/files/report.png?camera={facts.camera})",
            "",
        ]
        for p in products:
            shown = next((f for f in p.files if f.role == "preview"), None)
            if shown is not None and p.name != "report":
                url = f"{api}/{p.name}/files/{shown.path}?camera={facts.camera}"
                lines += [f"![{p.title}]({url})", ""]
    lines += ["| | |", "|---|---|", *(f"| {k} | {v} |" for k, v in numbers.items()), ""]
    lines += [f"- without frames {g.begins:%H:%M} to {g.ends:%H:%M}: {g.cause}" for g in facts.gaps]
    for p in products:
        left = left_out_words(p)
        lines.append(
            f"- {p.title}: {p.frames.used} frames" + (f", left out {left}" if left else "")
        )
    lines += [f"- **{name} failed**: {why}" for name, why in failed.items()]
    return "\n".join(lines)
