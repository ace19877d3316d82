"""The lens model of a picture that is a smaller or larger copy of the solved one."""

from __future__ import annotations

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
    return lens.resized(width, height)
