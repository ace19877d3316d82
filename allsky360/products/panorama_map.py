"""Where the pixels of a panorama, a little planet or a window come from in an all-sky picture.

A :class:`View` says which direction each of its pixels looks in; with the lens model of the picture
that becomes a map, float32 x and y in the picture for each pixel of the view, which
:func:`apply_map` samples. Maps are kept by what they depend on, so that a night's frames share one.

Views, pixel centres at whole numbers, row 0 on top:

    equirectangular   azimuth grows to the right by 360 degrees over the width, altitude falls by
                      the same scale downward
    cylindrical       the same azimuths; rows are tan(altitude), so that uprights near the horizon
                      keep their shape
    little planet     stereographic from the zenith's opposite: the nadir in the middle, or with
                      ``inside_out`` the zenith
    window            rectilinear (gnomonic): what an ordinary camera would see in a direction
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from allsky360.errors import AllskyError
from allsky360.sky.lens import LensModel

Float = NDArray[np.float64]
Projection = Literal["equirectangular", "cylindrical", "little-planet", "window"]

MAX_SIDE = 16_384
MAX_PIXELS = 64_000_000


class ViewError(AllskyError):
    """A view that cannot be made."""


@dataclass(frozen=True)
class View:
    """A picture of directions.

    Attributes
    ----------
    projection
        See this module's head.
    width, height
        Pixels.
    azimuth_deg
        In the middle of the picture (equirectangular, cylindrical, window); at the top (little
        planet).
    altitude_deg
        Of the middle of a window.
    top_deg, bottom_deg
        Altitudes at the upper and lower edge (equirectangular, cylindrical).
    field_deg
        Across the width of a window; from edge to edge of a little planet, measured through its
        middle, so that 180 ends at the horizon.
    roll_deg
        Turn of a window, clockwise.
    inside_out
        Little planet with the zenith in the middle.
    """

    projection: Projection
    width: int
    height: int
    azimuth_deg: float = 180.0
    altitude_deg: float = 30.0
    top_deg: float = 90.0
    bottom_deg: float = 0.0
    field_deg: float = 90.0
    roll_deg: float = 0.0
    inside_out: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        w, h = self.width, self.height
        if not (2 <= w <= MAX_SIDE and 2 <= h <= MAX_SIDE and w * h <= MAX_PIXELS):
            raise ViewError(
                f"a view of {w}x{h} pixels is not made.",
                mend=f"Sides of 2 to {MAX_SIDE}, {MAX_PIXELS // 1_000_000} Mpix at most.",
            )
        numbers = (
            self.azimuth_deg, self.altitude_deg, self.top_deg, self.bottom_deg, self.field_deg,
            self.roll_deg,
        )  # fmt: skip
        if not np.isfinite(numbers).all():
            raise ViewError("an angle of the view is no number.")
        if not -90 <= self.bottom_deg < self.top_deg <= 90:
            raise ViewError(
                f"the view reaches from {self.bottom_deg} to {self.top_deg} degrees.",
                mend="-90 <= bottom < top <= 90.",
            )
        if self.projection == "cylindrical" and max(self.top_deg, -self.bottom_deg) > 85:
            raise ViewError(
                "a cylinder cannot reach the zenith.",
                mend="End it at 85 degrees, or take equirectangular.",
            )
        limit = 170.0 if self.projection == "window" else 350.0
        if self.projection in ("window", "little-planet") and not 0 < self.field_deg <= limit:
            raise ViewError(
                f"a field of {self.field_deg} degrees is not made.", mend=f"Take (0, {limit:g}]."
            )
        if self.projection not in ("equirectangular", "cylindrical", "little-planet", "window"):
            raise ViewError(f"{self.projection!r} is no projection.")

    def directions(self, x: Any, y: Any) -> tuple[Float, Float]:
        """Return altitude and azimuth in degrees at pixels of the view."""
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        if self.projection in ("equirectangular", "cylindrical"):
            return self._strip(x, y)
        u, v = x - (self.width - 1) / 2, (self.height - 1) / 2 - y
        if self.projection == "little-planet":
            return self._planet(u, v)
        return self._window(u, v)

    def pixels(self, altitude_deg: Any, azimuth_deg: Any) -> tuple[Float, Float]:
        """Return where directions fall in the view; NaN where it does not show them."""
        alt, az = np.asarray(altitude_deg, np.float64), np.asarray(azimuth_deg, np.float64)
        if self.projection in ("equirectangular", "cylindrical"):
            turn = (az - self.azimuth_deg + 180.0) % 360.0
            x = turn / 360.0 * self.width - 0.5
            if self.projection == "cylindrical":
                top, bottom = np.tan(np.radians([self.top_deg, self.bottom_deg]))
                y = (top - np.tan(np.radians(alt))) / (top - bottom) * self.height - 0.5
            else:
                y = (self.top_deg - alt) / (self.top_deg - self.bottom_deg) * self.height - 0.5
            inside = (alt <= self.top_deg) & (alt >= self.bottom_deg)
            return np.where(inside, x, np.nan), np.where(inside, y, np.nan)
        if self.projection == "little-planet":
            away = 90.0 - alt if self.inside_out else 90.0 + alt
            r = np.tan(np.radians(away) / 2) * self._planet_scale()
            turn = np.radians(az - self.azimuth_deg) * (-1 if self.inside_out else 1)
            u, v = r * np.sin(turn), r * np.cos(turn)
        else:
            e, n, z = _unit(alt, az)
            right, up, ahead = self._axes()
            depth = e * ahead[0] + n * ahead[1] + z * ahead[2]
            f = self._focal_px()
            with np.errstate(divide="ignore", invalid="ignore"):
                u = np.where(depth > 1e-9, f * (e * right[0] + n * right[1] + z * right[2]) / depth,
                             np.nan)  # fmt: skip
                v = np.where(depth > 1e-9, f * (e * up[0] + n * up[1] + z * up[2]) / depth, np.nan)
        x, y = u + (self.width - 1) / 2, (self.height - 1) / 2 - v
        with np.errstate(invalid="ignore"):
            inside = (np.abs(u) <= self.width / 2) & (np.abs(v) <= self.height / 2)
        return np.where(inside, x, np.nan), np.where(inside, y, np.nan)

    def _strip(self, x: Float, y: Float) -> tuple[Float, Float]:
        azimuth = (self.azimuth_deg + ((x + 0.5) / self.width - 0.5) * 360.0) % 360.0
        share = (y + 0.5) / self.height
        if self.projection == "cylindrical":
            top, bottom = np.tan(np.radians([self.top_deg, self.bottom_deg]))
            altitude = np.degrees(np.arctan(top + (bottom - top) * share))
        else:
            altitude = self.top_deg + (self.bottom_deg - self.top_deg) * share
        return np.broadcast_arrays(altitude, azimuth)  # type: ignore[return-value]

    def _planet_scale(self) -> float:
        """Pixels per unit of tan(angle / 2)."""
        return min(self.width, self.height) / 2 / float(np.tan(np.radians(self.field_deg) / 4))

    def _planet(self, u: Float, v: Float) -> tuple[Float, Float]:
        away = 2 * np.degrees(np.arctan(np.hypot(u, v) / self._planet_scale()))
        turn = np.degrees(np.arctan2(u, v))
        if self.inside_out:  # looking up: east is on the left when north is on top
            return 90.0 - away, (self.azimuth_deg - turn) % 360.0
        return away - 90.0, (self.azimuth_deg + turn) % 360.0

    def _focal_px(self) -> float:
        return self.width / 2 / float(np.tan(np.radians(self.field_deg) / 2))

    def _axes(self) -> tuple[Float, Float, Float]:
        """Return right, up and ahead of a window as east-north-up vectors."""
        alt, az = np.radians(self.altitude_deg), np.radians(self.azimuth_deg)
        ahead = np.array([np.cos(alt) * np.sin(az), np.cos(alt) * np.cos(az), np.sin(alt)])
        right = np.array([np.cos(az), -np.sin(az), 0.0])
        up = np.cross(right, ahead)
        c, s = np.cos(np.radians(self.roll_deg)), np.sin(np.radians(self.roll_deg))
        return c * right - s * up, s * right + c * up, ahead

    def _window(self, u: Float, v: Float) -> tuple[Float, Float]:
        right, up, ahead = self._axes()
        f = self._focal_px()
        e, n, z = (u * right[k] + v * up[k] + f * ahead[k] for k in range(3))
        return np.degrees(np.arctan2(z, np.hypot(e, n))), np.degrees(np.arctan2(e, n)) % 360.0

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def _unit(alt_deg: Float, az_deg: Float) -> tuple[Float, Float, Float]:
    alt, az = np.radians(alt_deg), np.radians(az_deg)
    return np.cos(alt) * np.sin(az), np.cos(alt) * np.cos(az), np.sin(alt)


@dataclass(frozen=True, eq=False)
class ViewMap:
    """A view's map into a picture.

    Attributes
    ----------
    x, y
        ``(height, width)`` float32 pixels of the picture; far outside where the lens shows nothing.
    seen
        ``(height, width)`` bool: the picture shows this direction.
    digest
        Hash of lens and view, for names of files and for caches.
    """

    x: NDArray[np.float32]
    y: NDArray[np.float32]
    seen: NDArray[np.bool_]
    digest: str


def map_digest(lens: LensModel, view: View) -> str:
    """Return the hash that names the map of a lens and a view."""
    text = json.dumps([1, lens.as_dict(), view.as_dict()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@lru_cache(maxsize=3)
def view_map(lens: LensModel, view: View) -> ViewMap:
    """Return the map of a view into pictures of a lens; the last three are kept.

    Parameters
    ----------
    lens
        Of the picture: after its crop, turn and mirroring.
    view
        What to show.
    """
    x = np.empty((view.height, view.width), np.float32)
    y = np.empty_like(x)
    seen = np.empty(x.shape, np.bool_)

    def rows(start: int, stop: int) -> None:
        columns, lines = np.meshgrid(np.arange(view.width), np.arange(start, stop))
        px, py, visible = lens.project(*view.directions(columns, lines))
        x[start:stop] = np.where(visible, px, -9.0)
        y[start:stop] = np.where(visible, py, -9.0)
        seen[start:stop] = visible

    step = max(1, 262_144 // view.width)  # temporaries of some megabytes, whatever the size
    for start in range(0, view.height, step):
        rows(start, min(view.height, start + step))
    for array in (x, y, seen):
        array.setflags(write=False)
    return ViewMap(x, y, seen, map_digest(lens, view))


def apply_map(picture: NDArray[Any], where: ViewMap) -> NDArray[Any]:
    """Sample a picture ``(H, W)`` or ``(H, W, C)`` of any type at a map; black where unseen."""
    return np.asarray(
        cv2.remap(
            picture,
            where.x,
            where.y,
            cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=0,
        )
    )


def panorama_size(lens: LensModel, *, top_deg: float, bottom_deg: float) -> tuple[int, int]:
    """Return width and height of an equirectangular strip that keeps what the lens resolves.

    The scale is the lens's own along the radius at 45 degrees from its axis, so that the width is
    about pi times the diameter of the circle over two; sides are multiples of 8 (video).
    """
    per_degree = float(lens.radius_slope_px(np.radians(45.0))) * np.pi / 180.0
    width = min(MAX_SIDE, max(64, round(per_degree * 360.0 / 8) * 8))
    height = max(8, round(width * (top_deg - bottom_deg) / 360.0 / 8) * 8)
    return width, height


def panorama_view(
    lens: LensModel,
    *,
    width_px: int = 0,
    azimuth_deg: float = 180.0,
    top_deg: float = 90.0,
    bottom_deg: float = -5.0,
) -> View:
    """Return the equirectangular strip of a lens.

    Parameters
    ----------
    lens
        Of the picture.
    width_px
        0 takes what the lens resolves.
    azimuth_deg
        In the middle.
    top_deg, bottom_deg
        Edges. The height follows from the width, so that a degree is as long as it is wide, to
        half a row.
    """
    width, height = panorama_size(lens, top_deg=top_deg, bottom_deg=bottom_deg)
    if width_px:
        width = width_px
        height = max(2, round(width * (top_deg - bottom_deg) / 360.0))
    return View(
        "equirectangular", width, height, azimuth_deg, top_deg=top_deg, bottom_deg=bottom_deg
    )


def view_from(content: Mapping[str, Any]) -> View:
    """Read :meth:`View.as_dict` back; ViewError where it is none."""
    try:
        return View(**content)
    except TypeError as error:
        raise ViewError(f"not a view: {error}.") from error
