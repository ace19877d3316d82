"""Overlays of a frame: which layers were asked for, laid out for a picture of some size."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Query
from pydantic import AfterValidator

from allsky360.api.geometry import View
from allsky360.api.parameters import split_list
from allsky360.api.store import FrameInfo
from allsky360.config_overlay import OverlaySettings
from allsky360.overlay.layout import layout
from allsky360.overlay.scene import OverlayScene

LAYERS: tuple[str, ...] = (
    "star_names",
    "designations",
    "planets",
    "sun_moon",
    "constellation_lines",
    "constellation_names",
    "constellation_boundaries",
    "cardinal_points",
    "altaz_grid",
    "equatorial_grid",
    "ecliptic",
    "meridian",
    "poles",
    "text",
)
DESIGNATIONS_MAX_V = 4.0
"""Faintest star shown with its letter or number where the settings name none."""
Kind = Literal["svg", "png"]


def _known_layers(text: str) -> str:
    unknown = set(split_list(text)) - set(LAYERS)
    if unknown:
        raise ValueError(
            f"no layer is called {', '.join(sorted(unknown))[:80]}; take {', '.join(LAYERS)}"
        )
    return text


_ANY = "|".join(LAYERS)
_PATTERN = {"pattern": f"^(?:(?:{_ANY})(?:,(?:{_ANY}))*)?$"}

LayersQuery = Annotated[
    str | None,
    Query(
        max_length=300,
        description=f"Layers, comma-separated, of: {', '.join(LAYERS)}. Left out: those of the "
        "settings; empty: none.",
        examples=["constellation_lines,planets"],
        json_schema_extra=_PATTERN,
    ),
    AfterValidator(lambda text: text if text is None else _known_layers(text)),
]
BurnQuery = Annotated[
    str | None,
    Query(
        max_length=300,
        description="Draw these overlay layers into the picture (as `layers` of overlay.svg); "
        "`default` takes those of the settings; empty: none.",
        examples=["constellation_lines,star_names"],
        json_schema_extra={"pattern": f"^(?:default|(?:{_ANY})(?:,(?:{_ANY}))*)?$"},
    ),
    AfterValidator(lambda text: text if text in (None, "default") else _known_layers(text)),
]


def options_of(settings: OverlaySettings, layers: str | None) -> OverlaySettings:
    """Return the settings with just the layers asked for; None leaves them as they are."""
    if layers is None or layers == "default":
        return settings
    wanted = set(split_list(layers))
    switches = {n: n in wanted for n in LAYERS if n not in ("designations", "text")}
    return settings.model_copy(
        update=switches
        | {
            "designations_max_v": (settings.designations_max_v or DESIGNATIONS_MAX_V)
            if "designations" in wanted
            else None,
            "text": settings.text if "text" in wanted else "",
        }
    )


def scene_of(
    view: View, frame: FrameInfo, options: OverlaySettings, width: int, height: int
) -> OverlayScene:
    """Lay out the overlay for a frame's picture of ``width`` x ``height``."""
    about = {"exposure_s": max(frame.exposures_s, default=None), "gain": frame.gain}
    return layout(
        view.sized(width, height), view.site, view.when, options, about | dict(frame.scalars)
    )
