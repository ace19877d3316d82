"""A camera by its settings, whatever its server speaks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from allsky360.camera.indi import IndiDialect
from allsky360.camera.indigo import IndigoCamera
from allsky360.camera.indigo.dialect import Dialect, IndigoDialect
from allsky360.clock import Clock
from allsky360.config import CameraSettings

Protocol = Literal["indigo", "indi"]


def dialect_of(protocol: Protocol) -> Callable[[], Dialect]:
    """Return what makes the dialect of each connection."""
    return IndiDialect if protocol == "indi" else IndigoDialect


def camera_of(host: str, port: int, settings: CameraSettings, clock: Clock) -> IndigoCamera:
    """Return the camera of the settings; it is not opened yet.

    INDI cameras deliver FITS: their native format says neither shape nor depth.
    """
    if settings.protocol == "indi":
        settings = settings.model_copy(update={"image_format": "FITS"})
    speak = dialect_of(settings.protocol)
    return IndigoCamera(host, port, settings.device, settings, clock, speak=speak)
