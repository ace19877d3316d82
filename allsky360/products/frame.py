"""One processed frame as products see it: the picture, its numbers and where its pixels look."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from allsky360.archive.layout import FrameRef
from allsky360.model import Site
from allsky360.sky.lens import LensModel


def _no_linear() -> NDArray[np.float32] | None:
    return None


@dataclass(frozen=True, eq=False)
class ProductFrame:
    """A frame that products are made of.

    Attributes
    ----------
    ref
        Which frame.
    start
        UTC start of its bracket.
    middle
        UTC middle of its longest exposure.
    exposure_s
        Length of its longest exposure.
    picture
        ``(H, W, 3)`` uint8 sRGB, as stored; growers must not write into it.
    scalars
        What was measured.
    site
        Where the camera stands, None when unknown.
    lens
        Lens model *of the picture*, after its crop, turn and mirroring; None without one.
    lens_serial
        Number of the lens file, 0 without one.
    sensor_lens
        Lens model of the whole frame, as the linear image sees it (before binning).
    linear
        Reads the archive's reduced linear image, ``(h, w, bands)`` float32; None where there is
        none.
    """

    ref: FrameRef
    start: datetime
    middle: datetime
    exposure_s: float
    picture: NDArray[np.uint8]
    scalars: Mapping[str, float] = field(default_factory=dict)
    site: Site | None = None
    lens: LensModel | None = None
    lens_serial: int = 0
    sensor_lens: LensModel | None = None
    linear: Callable[[], NDArray[np.float32] | None] = _no_linear

    @property
    def end(self) -> datetime:
        """UTC end of the longest exposure."""
        return self.middle + timedelta(seconds=0.5 * self.exposure_s)
