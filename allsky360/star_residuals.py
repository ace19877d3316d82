"""Stars of one frame against the lens, measured anew from the raw exposure.

The stars' places are not archived. They are found on the greens of the mosaic, the photosites
between filled by their four neighbours, and compared in the pixels of the stored picture.

The read service runs this module as a process of its own (``python -m allsky360.star_residuals``,
the question as JSON on standard input): finding stars takes seconds and a few hundred megabytes,
which the system has back when the answer is there.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from allsky360.archive import Archive, FrameRef
from allsky360.lenses import current_lens
from allsky360.model import Exposure, Site
from allsky360.sky.catalogue import load_catalogue
from allsky360.sky.lens import LensModel
from allsky360.sky.match import Matches, match_stars
from allsky360.sky.stars import EDGE, HOT, SATURATED, TRAILED, StarList, find_stars

MAX_V = 5.5
MIN_ALTITUDE_DEG = 8.0
RADIUS_PX = 2.5
SHOWN_PX = 20.0
"""Length a typical error is drawn with, on a picture 2000 pixels wide."""

NO_LENS = "There is no lens for frames of this size."
NO_STARS = "No star was found in this frame: cloud, Moon or twilight."


@dataclass(frozen=True)
class Residuals:
    """Stars found in a frame and how far from where the newest lens of its size puts them.

    Attributes
    ----------
    stars
        ``hip``, ``v_mag``; ``x``, ``y``: where the lens puts it in the stored picture, pixels from
        its corner; ``dx``, ``dy``: found less expected.
    median_px
        Median length of the errors; None where there is no star.
    scale
        How many times the errors may be drawn to be seen.
    reason
        Why there is no star; None where there are some.
    """

    stars: tuple[Mapping[str, float], ...] = ()
    median_px: float | None = None
    scale: int = 1
    reason: str | None = None


def star_residuals(
    root: Path, ref: FrameRef, picture: LensModel, site: Site, when: datetime
) -> Residuals:
    """Find a frame's stars in its longest exposure and compare them with the newest lens.

    Parameters
    ----------
    root, ref
        The frame.
    picture
        Lens of the stored picture.
    site, when
        Where the camera stands; UTC middle of the exposure.
    """
    exposure = Archive(root).bracket(ref).exposures[0]
    height, width = exposure.pixels.shape[:2]
    content = current_lens(root, ref.camera, width, height)
    if content is None:
        return Residuals(reason=NO_LENS)
    stars = find_stars(green_plane(exposure))
    raw = content.lens
    pairs = match_stars(
        stars,
        raw,
        site,
        when,
        max_v=MAX_V,
        radius_px=RADIUS_PX,
        min_altitude_deg=MIN_ALTITUDE_DEG,
    )
    good = (stars.flags[pairs.star] & (SATURATED | HOT | EDGE | TRAILED)) == 0
    x, y, dx, dy = _in_picture(picture, raw, stars, pairs)
    good &= np.isfinite(x + y + dx + dy)
    if not good.any():
        return Residuals(reason=NO_STARS)
    catalogue = load_catalogue(MAX_V)
    median = float(np.median(np.hypot(dx[good], dy[good])))
    found = tuple(
        {
            "hip": int(catalogue.hip[pairs.catalogue[i]]),
            "v_mag": round(float(catalogue.v_mag[pairs.catalogue[i]]), 2),
            "x": round(float(x[i]) + 0.5, 2),
            "y": round(float(y[i]) + 0.5, 2),
            "dx": round(float(dx[i]), 3),
            "dy": round(float(dy[i]), 3),
        }
        for i in np.flatnonzero(good)
    )
    scale = int(np.clip(SHOWN_PX * picture.width / 2000.0 / max(median, 1e-3), 1, 200))
    return Residuals(found, round(median, 3), scale)


def green_plane(exposure: Exposure) -> NDArray[np.float32]:
    """Return the green light of a raw exposure, ``(H, W)`` float32, 1 = saturated.

    Bilinear: every other photosite is the mean of its four green neighbours.
    """
    pixels = exposure.pixels
    if pixels.ndim == 3:
        return np.asarray(pixels[..., 1], np.float32) / np.float32(exposure.saturation_adu)
    plane = np.asarray(pixels, np.float32) / np.float32(exposure.saturation_adu)
    if exposure.pattern is None:
        return plane
    for i, colour in enumerate(exposure.pattern):
        if colour != "G":
            plane[i // 2 :: 2, i % 2 :: 2] = 0.0
    kernel = np.array([[0, 0.25, 0], [0.25, 1, 0.25], [0, 0.25, 0]], np.float32)
    return np.asarray(
        cv2.filter2D(plane, -1, kernel, borderType=cv2.BORDER_REFLECT_101), np.float32
    )


def _in_picture(
    picture: LensModel, raw: LensModel, stars: StarList, pairs: Matches
) -> tuple[NDArray[np.float64], ...]:
    """Expected places in the stored picture and found less expected, whatever its turn."""
    x, y, _ = picture.project(pairs.altitude_deg, pairs.azimuth_deg)
    there = raw.unproject(
        np.asarray(stars.x, np.float64)[pairs.star], np.asarray(stars.y, np.float64)[pairs.star]
    )
    found_x, found_y, _ = picture.project(*there)
    expected = raw.unproject(*raw.project(pairs.altitude_deg, pairs.azimuth_deg)[:2])
    back_x, back_y, _ = picture.project(*expected)
    return x, y, found_x - back_x, found_y - back_y


def main() -> None:
    """Answer one question from standard input on standard output.

    ``{"root", "frame": [camera, night, index], "picture": {…}, "site": [name, latitude_deg,
    longitude_deg, elevation_m], "when"}``; the answer has the fields of :class:`Residuals`.
    """
    asked = json.load(sys.stdin)
    camera, night, index = asked["frame"]
    found = star_residuals(
        Path(asked["root"]),
        FrameRef(camera, date.fromisoformat(night), index),
        LensModel(**asked["picture"]),
        Site(*asked["site"]),
        datetime.fromisoformat(asked["when"]),
    )
    json.dump(vars(found), sys.stdout)


if __name__ == "__main__":
    main()
