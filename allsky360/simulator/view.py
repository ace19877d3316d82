"""One simulated camera under one sky: all the renderer needs to know besides the request."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allsky360.model import Site
from allsky360.simulator.clouds import CloudField
from allsky360.simulator.conditions import SkyConditions
from allsky360.simulator.photometry import Band
from allsky360.simulator.scene import Scene
from allsky360.sky.lens import LensModel


@dataclass(frozen=True, eq=False)
class View:
    """A camera, its static maps, and the sky above it.

    Attributes
    ----------
    cfa
        ``(2, 2)`` band index of each pixel of the top-left cell.
    zero_point_e_per_s
        Electrons a second from a V = 0, B-V = 0 star, as if every pixel were green.
    fwhm_px
        Width of a star image.
    """

    site: Site
    lens: LensModel
    scene: Scene
    bands: tuple[Band, ...]
    cfa: NDArray[np.int64]
    conditions: SkyConditions
    clouds: CloudField
    zero_point_e_per_s: float
    fwhm_px: float
    seed: int
