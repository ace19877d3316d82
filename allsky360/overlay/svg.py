"""A scene as SVG, one group a kind, so that a page can show and hide each."""

from __future__ import annotations

from itertools import groupby
from xml.sax.saxutils import escape, quoteattr

from allsky360.overlay.scene import Mark, OverlayScene, Polyline, Text
from allsky360.overlay.style import RGB, STYLES
from allsky360.overlay.text import FAMILY

_FAMILIES = f"'{FAMILY}', 'DejaVu Sans', 'Noto Sans', sans-serif"


def to_svg(scene: OverlayScene) -> str:
    """Return the overlay as one SVG document of the picture's size.

    Texts carry the width they were laid out with, so that they fit with any font. In SVG a pixel's
    centre is at (x + 0.5, y + 0.5).
    """
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{scene.width}" height="{scene.height}" '
        f'viewBox="0 0 {scene.width} {scene.height}">',
        f'<g transform="translate(0.5 0.5)" font-family={quoteattr(_FAMILIES)}>',
    ]
    for kind, lines in groupby(scene.lines, key=lambda line: line.kind):
        parts.append(_stroked(kind, scene.unit_px, "line", [_path(line) for line in lines]))
    for kind, marks in groupby(scene.marks, key=lambda m: m.kind):
        parts.append(_stroked(kind, scene.unit_px, "mark", [_circle(m) for m in marks]))
    for kind, texts in groupby(scene.texts, key=lambda t: t.kind):
        style = STYLES[kind]
        weight = ' font-weight="bold"' if style.bold else ""
        parts.append(
            f'<g class="text {kind}" fill="{_hex(style.colour)}" fill-opacity="{style.ink:g}"'
            f'{weight} stroke="#000" stroke-opacity="{style.halo:g}" stroke-linejoin="round" '
            f'paint-order="stroke">'
        )
        parts += [_text(t) for t in texts]
        parts.append("</g>")
    return "\n".join([*parts, "</g>", "</svg>", ""])


def _hex(colour: RGB) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _stroked(kind: str, unit_px: float, what: str, items: list[str]) -> str:
    style = STYLES[kind]
    dash = f' stroke-dasharray="{8 * unit_px:.2f} {6 * unit_px:.2f}"' if style.dash else ""
    head = (
        f'<g class="{what} {kind}" fill="none" stroke="{_hex(style.colour)}" '
        f'stroke-opacity="{style.opacity:g}" stroke-width="{style.width * unit_px:.2f}" '
        f'stroke-linejoin="round"{dash if what == "line" else ""}>'
    )
    return "\n".join([head, *items, "</g>"])


def _path(line: Polyline) -> str:
    points = " ".join(f"{x:.2f},{y:.2f}" for x, y in line.points)
    return f'<polyline points="{points}"/>'


def _circle(mark: Mark) -> str:
    title = f"<title>{escape(mark.name)}</title>" if mark.name else ""
    return f'<circle cx="{mark.x:.2f}" cy="{mark.y:.2f}" r="{mark.radius_px:.2f}">{title}</circle>'


def _text(text: Text) -> str:
    return (
        f'<text x="{text.x:.2f}" y="{text.y:.2f}" font-size="{text.size_px:.2f}" '
        f'stroke-width="{0.18 * text.size_px:.2f}" textLength="{text.width_px:.2f}" '
        f'lengthAdjust="spacingAndGlyphs">{escape(text.text)}</text>'
    )
