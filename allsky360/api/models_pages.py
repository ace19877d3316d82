"""What the pages ask for beside the rest: a picture's geometry, stars against the lens."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from allsky360.api.models import Answer


class FrameGeometry(Answer):
    """How a frame's stored picture shows the sky."""

    id: str
    camera: str
    time: datetime = Field(description="Middle of the longest exposure.")
    width: int = Field(description="Of the stored picture.")
    height: int
    lens: dict[str, Any] | None = Field(
        description="Fields of the lens model in pixels of the stored picture (centre of the first "
        "pixel at 0, 0); null where none is known."
    )
    reason: str | None = Field(description="Why there is none.")


class StarResidual(Answer):
    """A star found in the frame, and how far from where the lens puts it."""

    hip: int
    v_mag: float
    x: float = Field(description="Where the lens puts it, in the stored picture.")
    y: float
    dx: float = Field(description="Found less expected, pixels of the stored picture.")
    dy: float


class FrameResiduals(Answer):
    """Stars of a frame against the newest lens of its size."""

    id: str
    width: int
    height: int
    median_px: float | None
    scale: int = Field(description="How many times the errors may be drawn to be seen.")
    reason: str | None = Field(description="Why there are none.")
    stars: list[StarResidual]
