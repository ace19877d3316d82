"""Stars of one frame against the lens, measured anew from the raw exposure.

The stars' places are not archived. They are found on the greens of the mosaic, the photosites
between filled by their four neighbours, and compared in the pixels of the stored picture. An
8 Mpixel frame takes some seconds and 150 MB for that long; the answer is kept.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from allsky360.api.addresses import frame_id
from allsky360.api.geometry import View
from allsky360.api.models_pages import FrameResiduals, StarResidual
from allsky360.api.service import Service
from allsky360.api.store import FrameInfo
from allsky360.lenses import current_lens
from allsky360.model import Exposure
from allsky360.sky.catalogue import load_catalogue
from allsky360.sky.lens import LensModel
from allsky360.sky.match import Matches, match_stars
from allsky360.sky.stars import EDGE, HOT, SATURATED, TRAILED, StarList, find_stars

MAX_V = 5.5
MIN_ALTITUDE_DEG = 8.0
RADIUS_PX = 2.5
SHOWN_PX = 20.0
"""Length a typical error is drawn with, on a picture 2000 pixels wide."""


def frame_residuals(service: Service, frame: FrameInfo, view: View) -> FrameResiduals:
    """Find the frame's stars and say how far they lie from where the newest lens puts them."""
    exposure = service.store.bracket(frame).exposures[0]
    height, width = exposure.pixels.shape[:2]
    lens = current_lens(service.store.root, frame.camera, width, height)
    size = (view.lens.width, view.lens.height)
    if lens is None:
        return _none(frame, size, "There is no lens for frames of this size.")
    stars = find_stars(green_plane(exposure))
    raw = lens.lens
    pairs = match_stars(
        stars,
        raw,
        view.site,
        view.when,
        max_v=MAX_V,
        radius_px=RADIUS_PX,
        min_altitude_deg=MIN_ALTITUDE_DEG,
    )
    good = (stars.flags[pairs.star] & (SATURATED | HOT | EDGE | TRAILED)) == 0
    x, y, dx, dy = _in_picture(view.lens, raw, stars, pairs)
    good &= np.isfinite(x + y + dx + dy)
    if not good.any():
        return _none(frame, size, "No star was found in this frame: cloud, Moon or twilight.")
    catalogue = load_catalogue(MAX_V)
    median = float(np.median(np.hypot(dx[good], dy[good])))
    scale = int(np.clip(SHOWN_PX * size[0] / 2000.0 / max(median, 1e-3), 1, 200))
    return FrameResiduals(
        id=frame_id(frame),
        width=size[0],
        height=size[1],
        median_px=round(median, 3),
        scale=scale,
        reason=None,
        stars=[
            StarResidual(
                hip=int(catalogue.hip[pairs.catalogue[i]]),
                v_mag=round(float(catalogue.v_mag[pairs.catalogue[i]]), 2),
                x=round(float(x[i]) + 0.5, 2),
                y=round(float(y[i]) + 0.5, 2),
                dx=round(float(dx[i]), 3),
                dy=round(float(dy[i]), 3),
            )
            for i in np.flatnonzero(good)
        ],
    )


def green_plane(exposure: Exposure) -> NDArray[np.float32]:
    """Return the green light of a raw exposure, ``(H, W)`` float32, 1 = saturated.

    Bilinear: every other photosite is the mean of its four green neighbours.
    """
    import cv2

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


def _none(frame: FrameInfo, size: tuple[int, int], reason: str) -> FrameResiduals:
    return FrameResiduals(
        id=frame_id(frame),
        width=size[0],
        height=size[1],
        median_px=None,
        scale=1,
        reason=reason,
        stars=[],
    )
