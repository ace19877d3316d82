"""The lens model: pixel to altitude and azimuth, and back.

From a direction's east-north-up unit vector (e, n, z), with the optical axis tilted by tn toward
north-south and te toward east-west and an image turned by rot::

    n2 = n cos tn - z sin tn,   z2 = n sin tn + z cos tn
    e2 = e cos te - z2 sin te,  z3 = e sin te + z2 cos te
    theta = acos z3,            phi = atan2(e2, n2)
    r = f (base(theta) + k3 theta^3 + k5 theta^5 + k7 theta^7)
    x = cx + parity r sin(phi + rot),   y = cy - r cos(phi + rot)

Pixels are (x = column, y = row), 0-based, pixel centres, row 0 on top. Parity -1 is the normal
view of someone who looks up (east on the left when north is up), +1 is mirrored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from allsky360.errors import AllskyError

Float = NDArray[np.float64]
Projection = Literal["equidistant", "equisolid", "stereographic", "orthographic"]

_TABLE = 2048
_NEWTON_STEPS = 2


class LensError(AllskyError):
    """Parameters that describe no lens."""


@dataclass(frozen=True)
class LensModel:
    """A camera's geometry.

    Attributes
    ----------
    width, height
        Size of the array the pixels belong to.
    cx, cy
        Where the optical axis meets the sensor, pixels.
    focal_px
        Focal length, pixels (scale at the axis in pixels per radian).
    projection
        The base of the radial function.
    k3, k5, k7
        Coefficients of theta^3, theta^5, theta^7 added to the base.
    rotation_deg
        Turn of the image.
    tilt_north_deg, tilt_east_deg
        Tilt of the optical axis: it points at altitude about 90 - hypot of the two.
    parity
        -1 normal look-up view, +1 mirrored.
    max_theta_deg
        Field: angle from the axis beyond which the lens shows nothing.
    """

    width: int
    height: int
    cx: float
    cy: float
    focal_px: float
    projection: Projection = "equidistant"
    k3: float = 0.0
    k5: float = 0.0
    k7: float = 0.0
    rotation_deg: float = 0.0
    tilt_north_deg: float = 0.0
    tilt_east_deg: float = 0.0
    parity: int = -1
    max_theta_deg: float = 92.0

    def __post_init__(self) -> None:
        """Refuse what has no inverse."""
        if self.parity not in (-1, 1):
            raise LensError(f"parity is {self.parity}.", mend="It must be -1 (normal) or +1.")
        if not self.focal_px > 0:
            raise LensError(f"focal_px is {self.focal_px}.", mend="It must be positive.")
        if not 0 < self.max_theta_deg <= 180:
            raise LensError(f"max_theta_deg is {self.max_theta_deg}.", mend="Take (0, 180].")
        if self.projection not in _BASE:
            raise LensError(
                f"projection is {self.projection!r}.", mend=f"It must be one of {', '.join(_BASE)}."
            )
        theta = np.linspace(0.0, np.radians(self.max_theta_deg), 512)
        if not np.all(np.diff(self.radius_px(theta)) > 0):
            raise LensError(
                f"the radius stops growing inside max_theta_deg = {self.max_theta_deg}.",
                mend="Lower max_theta_deg or the polynomial coefficients.",
            )

    def radius_px(self, theta: ArrayLike) -> Float:
        """Return the distance from (cx, cy) at ``theta`` radians from the axis, pixels."""
        t = np.asarray(theta, dtype=np.float64)
        t2 = t * t
        odd = t * t2 * (self.k3 + t2 * (self.k5 + t2 * self.k7))
        return np.asarray(self.focal_px * (_BASE[self.projection](t) + odd))

    def radius_slope_px(self, theta: ArrayLike) -> Float:
        """Return d radius / d theta, pixels per radian."""
        t = np.asarray(theta, dtype=np.float64)
        t2 = t * t
        odd = t2 * (3 * self.k3 + t2 * (5 * self.k5 + t2 * 7 * self.k7))
        return np.asarray(self.focal_px * (_SLOPE[self.projection](t) + odd))

    def theta(self, radius_px: ArrayLike) -> Float:
        """Return the angle from the axis in radians; NaN beyond the field."""
        r = np.asarray(radius_px, dtype=np.float64)
        nodes, radii = _table(self)
        t = np.interp(r, radii, nodes)
        for _ in range(_NEWTON_STEPS):
            slope = np.maximum(self.radius_slope_px(t), 1e-6 * self.focal_px)
            t = np.clip(t - (self.radius_px(t) - r) / slope, 0.0, nodes[-1])
        return np.where(r <= radii[-1] * (1 + 1e-12), t, np.nan)

    def project(
        self, altitude_deg: ArrayLike, azimuth_deg: ArrayLike
    ) -> tuple[Float, Float, NDArray[np.bool_]]:
        """Return where a direction falls.

        Parameters
        ----------
        altitude_deg, azimuth_deg
            Apparent (refracted) direction, degrees, azimuth from north through east; any shapes
            that broadcast.

        Returns
        -------
        x, y
            Pixels, float64; NaN beyond the field of the lens.
        visible
            Inside the field and on the array.
        """
        alt, az = np.radians(altitude_deg), np.radians(azimuth_deg)
        e, n, z = np.cos(alt) * np.sin(az), np.cos(alt) * np.cos(az), np.sin(alt)
        ct, st = _cos_sin(self.tilt_north_deg)
        n2, z2 = n * ct - z * st, n * st + z * ct
        ct, st = _cos_sin(self.tilt_east_deg)
        e2, z3 = e * ct - z2 * st, e * st + z2 * ct
        rho = np.hypot(e2, n2)
        theta = np.arctan2(rho, z3)  # acos z3, but exact near the axis
        r = self.radius_px(np.minimum(theta, np.radians(self.max_theta_deg)))
        r = np.where(theta <= np.radians(self.max_theta_deg), r, np.nan)
        phi = np.arctan2(e2, n2) + np.radians(self.rotation_deg)
        x = self.cx + self.parity * r * np.sin(phi)
        y = self.cy - r * np.cos(phi)
        with np.errstate(invalid="ignore"):
            on_array = (x >= -0.5) & (x < self.width - 0.5) & (y >= -0.5) & (y < self.height - 0.5)
        return x, y, np.asarray(on_array)

    def unproject(self, x: ArrayLike, y: ArrayLike) -> tuple[Float, Float]:
        """Return the apparent altitude and azimuth in degrees of a pixel; NaN off the field."""
        dx = (np.asarray(x, dtype=np.float64) - self.cx) * self.parity
        dy = self.cy - np.asarray(y, dtype=np.float64)
        theta = self.theta(np.hypot(dx, dy))
        phi = np.arctan2(dx, dy) - np.radians(self.rotation_deg)
        e2, n2, z3 = np.sin(theta) * np.sin(phi), np.sin(theta) * np.cos(phi), np.cos(theta)
        ct, st = _cos_sin(self.tilt_east_deg)
        e, z2 = e2 * ct + z3 * st, -e2 * st + z3 * ct
        ct, st = _cos_sin(self.tilt_north_deg)
        n, z = n2 * ct + z2 * st, -n2 * st + z2 * ct
        altitude = np.degrees(np.arctan2(z, np.hypot(e, n)))
        return altitude, np.degrees(np.arctan2(e, n)) % 360.0

    def solid_angle_sr(self, x: ArrayLike, y: ArrayLike) -> Float:
        """Return the sky area of a pixel at (x, y) in steradians; NaN off the field.

        dOmega = sin(theta) dtheta dphi over the pixel area r dr dphi.
        """
        dx, dy = (
            np.asarray(x, dtype=np.float64) - self.cx,
            np.asarray(y, dtype=np.float64) - self.cy,
        )
        r = np.hypot(dx, dy)
        theta = self.theta(r)
        slope = np.maximum(self.radius_slope_px(theta), 1e-6 * self.focal_px)
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = np.where(r > 1e-6, np.sin(theta) / r, 1.0 / self.focal_px)
        return np.asarray(np.where(np.isnan(theta), np.nan, ratio / slope))

    def pixel_grid(self) -> tuple[Float, Float]:
        """Return x and y of every pixel, ``(height, width)`` each."""
        y, x = np.mgrid[0 : self.height, 0 : self.width].astype(np.float64)
        return x, y

    def cropped(self, left: int, top: int, width: int, height: int) -> LensModel:
        """Return the model of a part of the array."""
        return replace(self, cx=self.cx - left, cy=self.cy - top, width=width, height=height)

    def resized(self, width: int, height: int) -> LensModel:
        """Return the model for the whole picture resized to ``width`` x ``height``.

        Sides may differ by rounding to whole pixels; the focal length takes their geometric mean.
        """
        across, down = width / self.width, height / self.height
        return replace(
            self,
            width=width,
            height=height,
            cx=(self.cx + 0.5) * across - 0.5,
            cy=(self.cy + 0.5) * down - 0.5,
            focal_px=self.focal_px * (across * down) ** 0.5,
        )

    def binned(self, factor: int) -> LensModel:
        """Return the model after combining ``factor`` x ``factor`` pixels."""
        shift = (factor - 1) / 2
        return replace(
            self,
            width=self.width // factor,
            height=self.height // factor,
            cx=(self.cx - shift) / factor,
            cy=(self.cy - shift) / factor,
            focal_px=self.focal_px / factor,
        )

    def moved(self, affine: Float, width: int, height: int) -> LensModel:
        """Return the model after the picture was turned, mirrored, shifted or cut.

        Parameters
        ----------
        affine
            ``(2, 3)``: pixel (x, y) went to ``affine @ (x, y, 1)``; a turn or a mirroring, no
            change of scale.
        width, height
            Of the new picture.

        Raises
        ------
        LensError
            For any other map.
        """
        m = np.asarray(affine, dtype=np.float64)
        turn = m[:, :2]
        if not np.allclose(turn @ turn.T, np.eye(2), atol=1e-6):
            raise LensError("the picture was scaled or sheared.", mend="Use binned() for scale.")
        cx, cy = turn @ (self.cx, self.cy) + m[:, 2]
        mirrored = np.linalg.det(turn) < 0
        parity = -self.parity if mirrored else self.parity
        up = turn @ (0.0, -1.0)  # where the direction of phi + rotation = 0 went
        extra = np.degrees(np.arctan2(parity * up[0], -up[1]))
        return replace(
            self,
            width=width,
            height=height,
            cx=float(cx),
            cy=float(cy),
            parity=parity,
            rotation_deg=float((self.rotation_deg + extra + 180.0) % 360.0 - 180.0),
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values; ``LensModel(**as_dict())`` gives the model back."""
        return asdict(self)


def fisheye(
    width: int,
    height: int,
    *,
    fill: float = 0.98,
    rotation_deg: float = 0.0,
    tilt_north_deg: float = 0.0,
    tilt_east_deg: float = 0.0,
    parity: int = -1,
) -> LensModel:
    """Return a sensible fisheye: the horizon circle fills ``fill`` of the shorter side.

    Its slight negative distortion is what small M12 and CS fisheyes have.
    """
    k3, k5 = -0.008, -0.004
    edge = np.pi / 2
    focal = fill * min(width, height) / 2 / (edge + k3 * edge**3 + k5 * edge**5)
    return LensModel(
        width=width,
        height=height,
        cx=(width - 1) / 2,
        cy=(height - 1) / 2,
        focal_px=float(focal),
        k3=k3,
        k5=k5,
        rotation_deg=rotation_deg,
        tilt_north_deg=tilt_north_deg,
        tilt_east_deg=tilt_east_deg,
        parity=parity,
    )


def _cos_sin(degrees: float) -> tuple[float, float]:
    return float(np.cos(np.radians(degrees))), float(np.sin(np.radians(degrees)))


@lru_cache(maxsize=16)
def _table(lens: LensModel) -> tuple[Float, Float]:
    theta = np.linspace(0.0, np.radians(lens.max_theta_deg), _TABLE)
    return theta, lens.radius_px(theta)


_BASE: dict[str, Callable[[Float], Float]] = {
    "equidistant": lambda t: t,
    "equisolid": lambda t: 2 * np.sin(t / 2),
    "stereographic": lambda t: 2 * np.tan(t / 2),
    "orthographic": np.sin,
}
_SLOPE: dict[str, Callable[[Float], Float]] = {
    "equidistant": lambda t: np.ones_like(t),
    "equisolid": lambda t: np.cos(t / 2),
    "stereographic": lambda t: 1 / np.cos(t / 2) ** 2,
    "orthographic": np.cos,
}
