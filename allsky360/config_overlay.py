"""What is drawn over pictures: the ``[overlay]`` table."""

from __future__ import annotations

import re
import string
from typing import Literal

from pydantic import Field, field_validator

from allsky360.config_section import Section

Corner = Literal["top-left", "top-right", "bottom-left", "bottom-right"]

DEFAULT_TEXT = (
    "{site}\n"
    "{time:%Y-%m-%d %H:%M:%S} UTC\n"
    "Sun {sun_altitude_deg:+.1f}°  Moon {moon_altitude_deg:+.1f}° {moon_illumination:.0%}"
)


class OverlaySettings(Section):
    """What is drawn over the picture once the lens model is known."""

    burn_in: bool = Field(False, description="Draw it into the pictures that are stored.")
    star_names: bool = Field(True, description="Proper names of bright stars.")
    star_names_max_v: float = Field(2.6, ge=-2, le=8, description="Faintest star named, V.")
    designations_max_v: float | None = Field(
        None,
        ge=-2,
        le=8,
        description="Faintest star shown with its Bayer letter or Flamsteed number, V.",
    )
    planets: bool = Field(True, description="Planets with their names.")
    planets_max_v: float = Field(6.0, ge=-5, le=9, description="Faintest planet shown, V.")
    sun_moon: bool = Field(True, description="Sun and Moon.")
    constellation_lines: bool = Field(True, description="Figures of the constellations.")
    constellation_names: bool = Field(True, description="Names of the constellations.")
    constellation_boundaries: bool = Field(False, description="IAU boundaries.")
    cardinal_points: bool = Field(True, description="N, E, S, W and the horizon.")
    altaz_grid: bool = Field(False, description="Grid of altitude and azimuth.")
    equatorial_grid: bool = Field(False, description="Grid of right ascension and declination.")
    ecliptic: bool = Field(False, description="The ecliptic.")
    meridian: bool = Field(False, description="The local meridian.")
    poles: bool = Field(False, description="Celestial poles and zenith.")
    horizon_deg: float = Field(
        0.0, ge=-5, lt=90, description="Nothing is drawn below this apparent altitude."
    )
    size: float = Field(1.0, ge=0.2, le=5, description="Factor on text size and line width.")
    text: str = Field(
        DEFAULT_TEXT,
        description="Text block: {name} or {name:format} takes a field; empty shows none.",
    )
    text_corner: Corner = Field("top-left", description="Where the text block stands.")

    @field_validator("text")
    @classmethod
    def _readable(cls, text: str) -> str:
        for _, name, _, _ in string.Formatter().parse(text):
            if name is not None and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
                raise ValueError(
                    f"{{{name}}} is no field; write {{name}}, and {{{{ to show a brace"
                )
        return text
