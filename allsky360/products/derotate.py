"""Where the sky that a picture shows now stood at another instant, through the lens model.

From the pixels of the picture at the reference: their apparent directions are freed of refraction,
turned by the Earth's rotation (precession and nutation with it), lifted by refraction again and
projected into the frame. Aberration is the same for both within a night to 0.3 arcsec.

This is done on every eighth pixel and interpolated linearly in between: the second derivative of
the map is about 1 / focal length, so that the error is 8^2 / 8 / f, a hundredth of a pixel.
"""

from __future__ import annotations

from datetime import datetime

import cv2
import numpy as np
from numpy.typing import NDArray

from allsky360.model import Site
from allsky360.sky.catalogue import altaz_of, horizon_vectors
from allsky360.sky.ephemeris import horizon_rotation
from allsky360.sky.lens import LensModel
from allsky360.sky.refraction import pressure_mbar, refraction_deg, unrefraction_deg

STEP = 8
_OUTSIDE = -1.0e4


class Derotation:
    """Maps from the pixels of a reference picture into pictures taken at other times.

    Parameters
    ----------
    lens
        Of the reference picture.
    site
        Where the camera stands.
    reference
        Instant of the reference.
    min_altitude_deg
        Apparent altitude in a frame below which it is not used.
    """

    def __init__(
        self, lens: LensModel, site: Site, reference: datetime, min_altitude_deg: float = 0.0
    ) -> None:
        self.lens, self.site, self.min_altitude_deg = lens, site, min_altitude_deg
        self._pressure = pressure_mbar(site.elevation_m)
        # nodes at 8 k + 3.5 from k = -1 on: where cv2.resize by eight takes its samples
        self._columns, self._rows = (-(-n // STEP) + 2 for n in (lens.width, lens.height))
        x = (np.arange(self._columns) - 1) * STEP + (STEP - 1) / 2
        y = (np.arange(self._rows) - 1) * STEP + (STEP - 1) / 2
        altitude, azimuth = lens.unproject(*np.meshgrid(x, y))
        true = altitude - unrefraction_deg(altitude, pressure_mbar=self._pressure)
        toward = horizon_vectors(true, azimuth)
        self._icrs = toward @ horizon_rotation(site, reference)  # rows are transposed columns

    def map_to(
        self, when: datetime, lens: LensModel | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return where each pixel of the reference lies in a frame taken at ``when``.

        Parameters
        ----------
        when
            Middle of the frame's exposure.
        lens
            Of the frame; that of the reference where left out.

        Returns
        -------
        x, y
            ``(H, W)`` float32; far outside (below -1000) where the frame does not show it.
        """
        altitude, azimuth = altaz_of(self._icrs @ horizon_rotation(self.site, when).T)
        altitude = altitude + refraction_deg(altitude, pressure_mbar=self._pressure)
        x, y, _ = (lens or self.lens).project(altitude, azimuth)
        shown = np.isfinite(x) & (altitude >= self.min_altitude_deg)
        # a pixel counts where all four nodes around it do: one far outside pulls it out
        return (
            self._full(np.where(shown, x, _OUTSIDE * STEP * STEP)),
            self._full(np.where(shown, y, _OUTSIDE * STEP * STEP)),
        )

    def _full(self, nodes: NDArray[np.float64]) -> NDArray[np.float32]:
        whole = cv2.resize(
            nodes.astype(np.float32),
            (self._columns * STEP, self._rows * STEP),
            interpolation=cv2.INTER_LINEAR,
        )
        h, w = self.lens.height, self.lens.width
        return np.ascontiguousarray(whole[STEP : STEP + h, STEP : STEP + w])


def resample(
    picture: NDArray[np.float32], x: NDArray[np.float32], y: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Sample a picture cubically at a map; NaN where it does not show anything."""
    return np.asarray(
        cv2.remap(
            picture, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT,
            borderValue=(np.nan,) * 4,
        ),
        np.float32,
    )  # fmt: skip
