"""Division by a flat: what lens and sensor do to even light is undone.

The flat is brought to a mean of 1 in the middle of the frame, for each colour of the mosaic apart,
so that neither scale nor white balance change. Where it falls below :data:`LEAST` (outside the
image circle), and where it is no number, nothing is divided: there is no light to correct, only
noise to blow up.

Dividing is linear, so it may come after the HDR merge, and must: a divided pixel saturates at a
level of its own, which a merge could not know.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from allsky360.arrays import Array
from allsky360.arrays.generic import on_device_of
from allsky360.imaging.master import Master, MasterMismatch, Masters
from allsky360.model import Exposure

VERSION = 1

LEAST = 0.05

MIDDLE = 0.2
"""Half side of the square in the middle that is brought to 1, as a share of the short side."""


@dataclass(frozen=True, eq=False)
class Flat:
    """A flat made ready.

    Attributes
    ----------
    factor
        Shape of the exposure, float32: what to multiply by.
    name
        File it came from.
    """

    factor: NDArray[np.float32]
    name: str


def flat_for(exposure: Exposure, masters: Masters | None) -> Flat | None:
    """Return the flat that fits an exposure, None where there is no flat at all.

    Gain, exposure time and temperature do not matter to a flat; size, binning and camera do.

    Raises
    ------
    MasterMismatch
        There are flats, but none fits; every reason is named.
    """
    flats = [m for m in (masters.frames if masters else ()) if m.kind == "flat"]
    reasons = []
    for master in flats:
        wrong = _misfit(master, exposure)
        if not wrong:
            return _prepared(master, exposure.pattern is not None)
        reasons.append(f"{master.name} {wrong}")
    if reasons:
        raise MasterMismatch(
            f"No flat fits: {'; '.join(reasons)}.",
            mend="Take flats with these camera settings, or move them out of the folder.",
        )
    return None


def divide(image: Array, factor: Array) -> Array:
    """Divide an image by a flat.

    Parameters
    ----------
    image
        ``(H, W)`` or ``(H, W, 3)`` float32, pedestal off.
    factor
        :attr:`Flat.factor` on the same device.
    """
    return image * factor


def _misfit(master: Master, exposure: Exposure) -> str:
    if tuple(master.pixels.shape) != exposure.pixels.shape:
        have, want = master.pixels.shape, exposure.pixels.shape
        return f"is {have[1]}x{have[0]}, the exposure {want[1]}x{want[0]}"
    if master.binning != exposure.binning:
        return f"is binned {master.binning}, the exposure {exposure.binning}"
    if master.camera and exposure.camera and master.camera != exposure.camera:
        return f"is of {master.camera!r}, the exposure of {exposure.camera!r}"
    return ""


@lru_cache(maxsize=2)
def _prepared(master: Master, mosaic: bool) -> Flat:
    flat = master.array()
    factor = np.ones(flat.shape, np.float32)
    for part, out in zip(_colours(flat, mosaic), _colours(factor, mosaic), strict=True):
        h, w = part.shape
        half = max(1, int(MIDDLE * min(h, w)))
        middle = part[h // 2 - half : h // 2 + half, w // 2 - half : w // 2 + half]
        middle = np.sort(middle[np.isfinite(middle)])
        level = float(np.mean(middle[middle.size // 50 :], dtype=float)) if middle.size else 0.0
        if not level > 0:
            raise MasterMismatch(
                f"{master.name} is dark in its middle.", mend="Take the flat anew, with light."
            )
        lit = (part > LEAST * level) & np.isfinite(part)
        np.divide(np.float32(level), part, out=out, where=lit)
    return Flat(factor, master.name)


def _colours(plane: NDArray[np.float32], mosaic: bool) -> Iterator[NDArray[np.float32]]:
    """Views of the pixels of each colour."""
    if plane.ndim == 3:
        yield from (plane[..., c] for c in range(plane.shape[2]))
    elif mosaic:
        yield from (plane[y::2, x::2] for y in (0, 1) for x in (0, 1))
    else:
        yield plane


def on_device(flat: Flat, like: Array) -> Array:
    """Return the factor on the device of another array."""
    return on_device_of(like, flat.factor)
