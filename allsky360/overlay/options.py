"""What the overlay shows, and the text block's template."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from allsky360.errors import AllskyError

Corner = Literal["top-left", "top-right", "bottom-left", "bottom-right"]
CORNERS: tuple[Corner, ...] = ("top-left", "top-right", "bottom-left", "bottom-right")

DEFAULT_TEXT = (
    "{site}\n"
    "{time:%Y-%m-%d %H:%M:%S} UTC\n"
    "Sun {sun_altitude_deg:+.1f}°  Moon {moon_altitude_deg:+.1f}° {moon_illumination:.0%}"
)
ABSENT = "–"


class OverlayError(AllskyError):
    """Options or a template nothing can be drawn from."""


@dataclass(frozen=True)
class OverlayOptions:
    """What to show.

    Attributes
    ----------
    star_names
        Proper names of the stars to ``star_names_max_v``.
    designations_max_v
        Bayer or Flamsteed designations of the other stars to this V; None for none.
    planets, sun_moon
        Planets to ``planets_max_v``; Sun and Moon with their discs.
    constellation_lines, constellation_names, constellation_boundaries
        The figures, their names, the IAU boundaries.
    cardinal_points
        N, E, S, W at the horizon, and the horizon itself.
    altaz_grid, equatorial_grid, ecliptic, meridian, poles
        Lines and marks; equator and ecliptic of date; poles: celestial poles and zenith.
    horizon_deg
        Nothing in the sky is drawn below this apparent altitude.
    size
        Factor on every text and line width.
    text, text_corner
        Template of the text block (see :func:`fill_template`), and where it stands.
    """

    star_names: bool = True
    star_names_max_v: float = 2.6
    designations_max_v: float | None = None
    planets: bool = True
    planets_max_v: float = 6.0
    sun_moon: bool = True
    constellation_lines: bool = True
    constellation_names: bool = True
    constellation_boundaries: bool = False
    cardinal_points: bool = True
    altaz_grid: bool = False
    equatorial_grid: bool = False
    ecliptic: bool = False
    meridian: bool = False
    poles: bool = False
    horizon_deg: float = 0.0
    size: float = 1.0
    text: str = DEFAULT_TEXT
    text_corner: Corner = "top-left"

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        if self.text_corner not in CORNERS:
            raise OverlayError(
                f"text_corner is {self.text_corner!r}.", mend=f"Take one of {', '.join(CORNERS)}."
            )
        if not 0.2 <= self.size <= 5.0:
            raise OverlayError(f"size is {self.size}.", mend="Take 0.2 to 5.")
        if not -5.0 <= self.horizon_deg < 90.0:
            raise OverlayError(f"horizon_deg is {self.horizon_deg}.", mend="Take -5 to below 90.")


class _Fields(string.Formatter):
    """Plain names only, so that a template reaches no attribute of anything."""

    def __init__(self) -> None:
        self.seen = self.filled = 0

    def get_field(
        self, field_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[Any, str]:
        """Look a field up by its plain name."""
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", field_name):
            raise OverlayError(
                f"{{{field_name}}} in the overlay text is no field name.",
                mend="Write {name} or {name:format}; double a brace to show it.",
            )
        self.seen += 1
        value = kwargs.get(field_name)
        self.filled += value is not None
        return value, field_name

    def format_field(self, value: Any, format_spec: str) -> str:
        """Format a value; a missing one is a dash whatever its format."""
        if value is None:
            return ABSENT
        if re.search(r"\d{3}", format_spec):
            raise OverlayError(f"the format {format_spec!r} in the overlay text is too wide.")
        return str(format(value, format_spec))


def fill_template(template: str, fields: Mapping[str, Any]) -> list[str]:
    """Return the lines of a text block.

    ``{name}`` or ``{name:format}`` takes a field (Python's format language, for ``time`` that of
    strftime). A field that has no value shows as a dash; a line none of whose fields has one is
    left out.

    Raises
    ------
    OverlayError
        For a template Python cannot read, or a format that does not fit its value.
    """
    lines = []
    for number, line in enumerate(template.splitlines(), 1):
        formatter = _Fields()
        try:
            text = formatter.vformat(line, (), fields)
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise OverlayError(
                f"line {number} of the overlay text, {line!r}: {error}.",
                mend="Write {name} or {name:format}; double a brace to show it.",
            ) from error
        if formatter.seen == 0 or formatter.filled:
            lines.append(text)
    return lines
