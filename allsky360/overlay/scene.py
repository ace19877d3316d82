"""An overlay as plain data: lines, marks and texts in pixels, ready to be drawn anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Box = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Polyline:
    """An open path, ``points`` ``(N, 2)`` x, y in pixels."""

    kind: str
    points: Float


@dataclass(frozen=True)
class Mark:
    """A ring or disc at (x, y)."""

    kind: str
    x: float
    y: float
    radius_px: float
    name: str = ""


@dataclass(frozen=True)
class Text:
    """One line of text; (x, y) is the left end of its baseline.

    ``width_px`` is its advance in the packaged font, ``box`` what it covers (left, top, right,
    bottom).
    """

    kind: str
    text: str
    x: float
    y: float
    size_px: float
    width_px: float
    box: Box


@dataclass(frozen=True, eq=False)
class OverlayScene:
    """Everything to draw over one picture.

    Attributes
    ----------
    width, height
        Of the picture; pixel centres have whole numbers, row 0 on top.
    unit_px
        Length every line width and text size is a multiple of (a thousandth of the sky's width).
    lines, marks, texts
        In drawing order.
    """

    width: int
    height: int
    unit_px: float
    lines: tuple[Polyline, ...]
    marks: tuple[Mark, ...]
    texts: tuple[Text, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values, pixels rounded to hundredths."""
        return {
            "width": self.width,
            "height": self.height,
            "unit_px": round(self.unit_px, 4),
            "lines": [
                {"kind": line.kind, "points": np.round(line.points, 2).tolist()}
                for line in self.lines
            ],
            "marks": [
                {
                    "kind": m.kind,
                    "name": m.name,
                    "x": round(m.x, 2),
                    "y": round(m.y, 2),
                    "radius_px": round(m.radius_px, 2),
                }
                for m in self.marks
            ],
            "texts": [
                {
                    "kind": t.kind,
                    "text": t.text,
                    "x": round(t.x, 2),
                    "y": round(t.y, 2),
                    "size_px": round(t.size_px, 2),
                }
                for t in self.texts
            ],
        }
