"""Repair of hot and dead pixels on the mosaic, before anything smears them.

A defect stands out from all eight like-coloured neighbours and from nothing else: light from a star
spills into the adjacent pixels (of other colours on a mosaic), a defect does not.
"""

from __future__ import annotations

from allsky360.arrays import Array, repair_isolated
from allsky360.imaging.noise import NoiseModel

VERSION = 1


def repair_hot_pixels(
    mosaic: Array, *, sigmas: float, noise: NoiseModel, in_place: bool = False
) -> tuple[Array, int]:
    """Replace isolated outliers by the median of their like-coloured neighbours.

    Parameters
    ----------
    mosaic
        ``(H, W)`` float32, ADU above black; mono sensors too.
    sigmas
        Noise sigmas beyond the most extreme neighbour.
    noise
        Noise model in ADU.
    in_place
        The mosaic is the caller's own and may be written to; saves a copy.

    Returns
    -------
    repaired, count
    """
    if mosaic.ndim != 2:
        raise ValueError(f"hot pixels are repaired on (H, W), got {mosaic.shape}")
    repaired, count = repair_isolated(
        mosaic, sigmas=sigmas, read_var=noise.read_var, shot=noise.shot, in_place=in_place
    )
    return repaired, int(count)
