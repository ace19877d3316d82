"""How each kind of thing looks: colour, opacity, and widths in units of the scene."""

from __future__ import annotations

from dataclasses import dataclass

RGB = tuple[int, int, int]


@dataclass(frozen=True)
class Style:
    """The look of a kind.

    ``opacity`` and ``width`` (scene units) are those of lines and marks, ``ink`` and ``size`` those
    of text, ``halo`` the opacity of the dark rim behind it.
    """

    colour: RGB
    opacity: float = 1.0
    width: float = 1.2
    size: float = 13.0
    bold: bool = False
    ink: float = 0.95
    halo: float = 0.6
    dash: bool = False


#: Drawn in this order: what comes later lies on top.
STYLES: dict[str, Style] = {
    "boundary": Style((185, 140, 205), 0.6, 1.0, dash=True),
    "altaz": Style((90, 190, 125), 0.55, 1.0, size=10.5),
    "equatorial": Style((100, 150, 235), 0.55, 1.0, size=10.5),
    "meridian": Style((110, 210, 130), 0.6, 1.1, size=10.5),
    "ecliptic": Style((230, 190, 70), 0.6, 1.1, size=10.5, dash=True),
    "horizon": Style((130, 150, 160), 0.55, 1.2),
    "constellation": Style((125, 175, 240), 0.75, 1.3, size=12.0),
    "pole": Style((120, 220, 140), 0.9, 1.2, size=11.5),
    "star": Style((255, 255, 255), 0.75, 1.1, size=12.5),
    "designation": Style((200, 205, 215), 0.7, 1.0, size=10.5, ink=0.85),
    "planet": Style((255, 190, 110), 0.95, 1.4, size=13.5, bold=True),
    "sun": Style((255, 220, 90), 0.95, 1.8, size=14.5, bold=True),
    "moon": Style((225, 230, 255), 0.95, 1.6, size=14.5, bold=True),
    "cardinal": Style((255, 120, 100), 0.95, 1.2, size=21.0, bold=True),
    "block": Style((235, 235, 235), 0.95, 1.0, size=15.0, halo=0.7),
}
MIN_TEXT_PX = 8.0
