"""The lens model of a picture that is a smaller or larger copy of the solved one."""

from __future__ import annotations

from dataclasses import replace

from allsky360.overlay.options import OverlayError
from allsky360.sky.lens import LensModel

_UNEVEN = 0.01


def fitted(lens: LensModel, width: int, height: int) -> LensModel:
    """Return the model for the whole picture resized to ``width`` x ``height``.

    Raises
    ------
    OverlayError
        When the shapes differ by more than a hundredth: then the picture was cropped.
    """
    across, down = width / lens.width, height / lens.height
    if abs(across / down - 1.0) > _UNEVEN:
        raise OverlayError(
            f"the picture is {width} x {height}, the lens model is for {lens.width} x "
            f"{lens.height}: they have not the same shape.",
            mend="Give the picture this lens was solved for, or a resized copy of all of it.",
        )
    scale = (across * down) ** 0.5
    return replace(
        lens,
        width=width,
        height=height,
        cx=(lens.cx + 0.5) * across - 0.5,
        cy=(lens.cy + 0.5) * down - 0.5,
        focal_px=lens.focal_px * scale,
    )
