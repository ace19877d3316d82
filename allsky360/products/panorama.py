"""Panoramas, little planets and windows of a picture, with ticks in true azimuth.

For the night: those of its best frame. For one picture, as the API and the command line use it:
:func:`render_view` and :func:`jpeg_of_view`.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from allsky360.config_products import PanoramaSettings
from allsky360.overlay.text import width_px
from allsky360.products.canvas import INK, Canvas
from allsky360.products.files import write_jpeg, write_preview
from allsky360.products.frame import ProductFrame
from allsky360.products.gpano import gpano_xmp
from allsky360.products.grower import Draft, NightContext
from allsky360.products.panorama_map import View, apply_map, panorama_view, view_map
from allsky360.sky.ephemeris import sun_moon
from allsky360.sky.lens import LensModel

_POINTS = {0: "N", 45: "NE", 90: "E", 135: "SE", 180: "S", 225: "SW", 270: "W", 315: "NW"}


def render_view(
    picture: NDArray[np.uint8], lens: LensModel, view: View, *, ticks: bool = False
) -> NDArray[np.uint8]:
    """Return a view of an all-sky picture.

    Parameters
    ----------
    picture
        ``(H, W, 3)`` uint8.
    lens
        Of this picture: after its crop, turn and mirroring.
    view
        What to show.
    ticks
        Draw azimuths every 10 degrees and compass points at the horizon.

    Returns
    -------
    ndarray
        ``(view.height, view.width, 3)`` uint8; black where the picture shows nothing.
    """
    out = np.asarray(apply_map(picture, view_map(lens, view)), np.uint8)
    return with_ticks(out, view) if ticks else out


def with_ticks(image: NDArray[np.uint8], view: View) -> NDArray[np.uint8]:
    """Draw ticks of azimuth upward from the horizon, or from the lower edge above it."""
    canvas = Canvas(view.width, view.height)
    canvas.paste(image, 0, 0)
    unit = max(7.0, min(view.width / 110.0, view.height / 22.0))
    low = (
        max(0.0, view.bottom_deg) if view.projection in ("equirectangular", "cylindrical") else 0.0
    )
    for azimuth in range(0, 360, 10):
        point = _POINTS.get(azimuth)
        if point is None and unit * 110 < 700 and azimuth % 30:
            continue  # too small for every tick
        lengths = (0.0, 1.6) if azimuth % 30 == 0 or point else (0.0, 0.8)
        x, y = (float(v) for v in view.pixels(low, azimuth))
        up_x, up_y = (float(v) for v in view.pixels(low + 1.0, azimuth))
        if not np.isfinite([x, y, up_x, up_y]).all():
            continue
        norm = float(np.hypot(up_x - x, up_y - y))
        if norm == 0 or norm > view.width / 4:
            continue
        ux, uy = (up_x - x) / norm, (up_y - y) / norm
        x0, y0 = x + ux * lengths[0] * unit, y + uy * lengths[0] * unit
        x1, y1 = x + ux * lengths[1] * unit, y + uy * lengths[1] * unit
        canvas.line(x0, y0, x1, y1, (10, 12, 16), 5)
        canvas.line(x0, y0, x1, y1, INK, 2)
        label = point or (f"{azimuth}°" if azimuth % 30 == 0 else "")
        size = (1.5 if point else 1.0) * unit
        _label(canvas, x1 + ux * 1.1 * unit, y1 + uy * 1.1 * unit, label, size, bool(point))
    return canvas.pixels()


def _label(canvas: Canvas, x: float, y: float, text: str, size: float, bold: bool) -> None:
    if not text:
        return
    half = 0.5 * width_px(text, size, bold) + 2
    x = min(max(x, half), canvas.image.width - half)  # whole letters at the seam
    for dx, dy in ((-1, -1), (1, -1), (-1, 1), (1, 1)):
        canvas.text(x + dx, y + dy, text, size, anchor="mm", colour=(10, 12, 16), bold=bold)
    canvas.text(x, y, text, size, anchor="mm", bold=bold)


def jpeg_of_view(
    picture: NDArray[np.uint8],
    lens: LensModel,
    view: View,
    *,
    ticks: bool = False,
    quality: int = 90,
    when: datetime | None = None,
) -> bytes:
    """Return a view as JPEG; an equirectangular one says that it is a 360 degree photo."""
    more: dict[str, Any] = {}
    if view.projection == "equirectangular":
        more["xmp"] = gpano_xmp(view, when)
    out = io.BytesIO()
    image = Image.fromarray(render_view(picture, lens, view, ticks=ticks))
    image.save(out, "JPEG", quality=quality, subsampling="4:2:0", **more)
    return out.getvalue()


def worth(frame: ProductFrame) -> float:
    """Return how much of the night sky a frame shows; larger is better.

    Dark and clear counts: clouds as their share, the Sun from -18 degrees on, the Moon with its lit
    fraction while it is up; where stars were matched, their number decides between equals.
    """
    s = frame.scalars
    sun, moon, lit = (
        s.get(n) for n in ("sun_altitude_deg", "moon_altitude_deg", "moon_illumination")
    )
    if frame.site is not None and (sun is None or moon is None or lit is None):
        track = sun_moon(frame.site, frame.middle)
        sun, moon, lit = track.sun_altitude_deg, track.moon_altitude_deg, track.moon_illumination
    value = 0.0
    if sun is not None:
        value -= float(np.clip((sun + 18.0) / 6.0, 0.0, 6.0))
    if moon is not None and lit is not None and moon > -2:
        value -= float(lit)
    value -= 2.0 * s.get("cloud_fraction", 0.5)
    return value + min(s.get("stars_matched", 0.0), 10_000.0) / 20_000.0


class Panorama:
    """Keeps the night's best frame and unwraps it; see ``allsky360.products.grower.Grower``."""

    name = "panorama"
    takes_late = True

    def __init__(self, settings: PanoramaSettings) -> None:
        self.settings = settings
        self.parameters: Mapping[str, Any] = settings.model_dump(mode="json", exclude={"enabled"})

    def open(self, context: NightContext, work: Path, saved: Path | None) -> None:
        """Begin, or go on."""
        self.context = context
        self.rank: tuple[float, int] | None = None
        self.picture: NDArray[np.uint8] | None = None
        self.lens: LensModel | None = None
        self.lens_serial = 0
        self.when: datetime | None = None
        if saved is None:
            return
        state = json.loads((saved / "panorama.json").read_text())
        if state["lens"] is not None:
            self.rank = (float(state["worth"]), -int(state["index"]))
            self.lens, self.lens_serial = LensModel(**state["lens"]), int(state["lens_serial"])
            self.when = datetime.fromisoformat(state["when"])
            self.picture = np.load(saved / "picture.npy")

    def add(self, frame: ProductFrame) -> str | None:
        """Keep the frame where it is better than all before; the earlier of equals."""
        if frame.lens is None:
            return "there is no lens for its picture"
        rank = (worth(frame), -frame.ref.index)
        if self.rank is None or rank > self.rank:
            self.picture, self.lens = frame.picture, frame.lens
            self.rank, self.when, self.lens_serial = rank, frame.middle, frame.lens_serial
        return None

    def save(self, folder: Path) -> None:
        """Write the best picture so far."""
        state: dict[str, Any] = {"lens": None}
        if self.picture is not None and self.lens and self.when and self.rank:
            np.save(folder / "picture.npy", self.picture)
            state = {
                "lens": self.lens.as_dict(),
                "lens_serial": self.lens_serial,
                "when": self.when.isoformat(),
                "worth": self.rank[0],
                "index": -self.rank[1],
            }
        (folder / "panorama.json").write_text(json.dumps(state))

    def finish(self, *, complete: bool) -> Sequence[Draft]:
        """Unwrap it, and make its little planet."""
        if self.picture is None or self.lens is None or self.when is None or self.rank is None:
            return ()
        s, folder = self.settings, self.context.folder
        strip = panorama_view(
            self.lens,
            width_px=s.width_px,
            azimuth_deg=s.centre_azimuth_deg,
            bottom_deg=s.lowest_altitude_deg,
        )
        side = max(256, min(4096, round(strip.width / 2.4)))
        planet = View("little-planet", side, side, azimuth_deg=0.0, field_deg=280.0)
        drafts = []
        for kind, name, title, view in (
            ("panorama", "panorama", "Panorama", strip),
            ("little-planet", "little-planet", "Little planet", planet),
        ):
            picture = render_view(self.picture, self.lens, view, ticks=s.ticks)
            xmp = gpano_xmp(view, self.when) if view is strip else None
            files = (
                write_jpeg(folder, f"{name}.jpg", picture, quality=s.quality, xmp=xmp),
                write_preview(folder, f"{name}-preview.jpg", picture),
            )
            about = {
                **self.parameters,
                "frame": -self.rank[1],
                "time": self.when.isoformat(),
                "view": view.as_dict(),
            }
            serial = {"lens_serial": self.lens_serial or None}
            drafts.append(Draft(kind, name, title, files, about, serial))
        return drafts
