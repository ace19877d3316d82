"""Faults of a camera, each a class with a ``name`` that status pages, logs and metrics show.

Catch :class:`CameraError` for all of them; :data:`IMAGE_FAULTS` are those where the camera still
answers and only the picture is bad.
"""

from __future__ import annotations

from typing import ClassVar

from allsky360.errors import AllskyError


class CameraError(AllskyError):
    """A fault of the camera, its server or one of its images."""

    name: ClassVar[str] = "camera"


class CameraTimeout(CameraError):
    """The camera did not answer in time; the exposure was aborted."""

    name = "timeout"


class CameraAlert(CameraError):
    """The camera reported Alert: it refused a setting or failed an exposure."""

    name = "alert"


class ExposureAborted(CameraError):
    """The exposure was aborted on our own request."""

    name = "aborted"


class DeviceGone(CameraError):
    """The device, or a property of it that is needed, was removed (unplugged, disconnected)."""

    name = "device-gone"


class ServerGone(CameraError):
    """The INDIGO server cannot be reached, or closed the connection."""

    name = "server-gone"


class UnknownDevice(CameraError):
    """The server has no camera of that name."""

    name = "unknown-device"


class NotConnected(CameraError):
    """Something was asked of a camera that is not open."""

    name = "not-connected"


class DroppedRequest(CameraError):
    """The server ignored a request: it never went Busy."""

    name = "dropped-request"


class ForeignUse(CameraError):
    """Another client uses the camera."""

    name = "foreign-use"


class BadProperty(CameraError):
    """A property or an item is missing, read-only, or does not take that value."""

    name = "bad-property"


class NoImage(CameraError):
    """The exposure ended well but the server has no image to fetch."""

    name = "no-image"


class TruncatedImage(CameraError):
    """The image ends before its last pixel."""

    name = "truncated-image"


class OversizedImage(CameraError):
    """The image, or what its header announces, is larger than any this camera can deliver."""

    name = "oversized-image"


class StaleImage(CameraError):
    """The image is an earlier one."""

    name = "stale-image"


class MislabelledImage(CameraError):
    """The image is not what was asked for: other format, size, depth or exposure time."""

    name = "mislabelled-image"


class UnsupportedImage(CameraError):
    """The data is of no format we read, or of a kind of it we do not read."""

    name = "unsupported-image"


class UnreadableFile(CameraError):
    """A file that holds no exposure we can read."""

    name = "unreadable-file"


IMAGE_FAULTS: tuple[type[CameraError], ...] = (
    NoImage,
    TruncatedImage,
    OversizedImage,
    StaleImage,
    MislabelledImage,
    UnsupportedImage,
)
