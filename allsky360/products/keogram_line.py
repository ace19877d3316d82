"""The line of the sky that a keogram shows, and its samples from a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from allsky360.camera.circle import estimate_circle
from allsky360.sky.lens import LensModel

Float = NDArray[np.float64]

MOST_ROWS = 2160
_BLOCK = 8


@dataclass(frozen=True, eq=False)
class Line:
    """Where a column's pixels lie in a picture.

    Attributes
    ----------
    x, y
        ``(rows, 1)`` float32 pixels; far outside where the lens shows nothing.
    """

    x: NDArray[np.float32]
    y: NDArray[np.float32]

    def sample(self, picture: NDArray[Any]) -> NDArray[np.uint8]:
        """Return the column, ``(rows, 3)`` uint8; black where the lens shows nothing."""
        column = cv2.remap(
            picture, self.x, self.y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0
        )
        return np.asarray(column[:, 0], np.uint8)


def row_angles_deg(rows: int, lowest_altitude_deg: float) -> Float:
    """Angle from the zenith of each row, positive toward the azimuth on top, ``(rows,)``."""
    reach = 90.0 - lowest_altitude_deg
    return reach * (1.0 - 2.0 * (np.arange(rows) + 0.5) / rows)


def direction_of(angles_deg: Float, azimuth_deg: float) -> tuple[Float, Float]:
    """Return altitude and azimuth of points on the vertical circle through an azimuth."""
    azimuth = np.where(angles_deg >= 0, azimuth_deg, azimuth_deg + 180.0) % 360.0
    return 90.0 - np.abs(angles_deg), azimuth


def rows_of(lens: LensModel, lowest_altitude_deg: float) -> int:
    """Return how many pixels the picture has along the line, at most ``MOST_ROWS``."""
    reach = np.radians(90.0 - lowest_altitude_deg)
    length = 2.0 * float(lens.radius_px(min(reach, np.radians(lens.max_theta_deg))))
    return int(np.clip(round(length), 16, MOST_ROWS))


def line_through_lens(
    lens: LensModel, rows: int, azimuth_deg: float, lowest_altitude_deg: float
) -> Line:
    """Return the vertical circle through an azimuth, as a lens shows it."""
    altitude, azimuth = direction_of(row_angles_deg(rows, lowest_altitude_deg), azimuth_deg)
    x, y, visible = lens.project(altitude, azimuth)
    return Line(
        np.where(visible, x, -9.0).astype(np.float32)[:, None],
        np.where(visible, y, -9.0).astype(np.float32)[:, None],
    )


def line_without_lens(picture: NDArray[np.uint8], rows: int) -> tuple[Line, str]:
    """Return the picture's vertical through its circle's centre, and words that say so."""
    height, width = picture.shape[:2]
    small = cv2.resize(
        picture, (width // _BLOCK, height // _BLOCK), interpolation=cv2.INTER_AREA
    ).mean(axis=2, dtype=np.float64)
    circle = estimate_circle(small, noise=0.5)
    if circle is None:
        x, top, bottom = (width - 1) / 2, 0.0, height - 1.0
        words = "no lens: the picture's middle column"
    else:
        x = float(np.clip(circle.x * height, 0, width - 1))
        top = max(0.0, (circle.y - circle.radius) * height)
        bottom = min(height - 1.0, (circle.y + circle.radius) * height)
        words = "no lens: the picture's vertical through the centre of its circle"
    share = (np.arange(rows) + 0.5) / rows
    y = top + share * (bottom - top)
    return Line(
        np.full((rows, 1), x, np.float32),
        y.astype(np.float32)[:, None],
    ), words
