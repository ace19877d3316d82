"""What the owner needs of a camera and of an archive: the seams tests put their own parts into."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from typing import Protocol

from allsky360.model import Bracket, Exposure, FrameType

Range = tuple[float, float]


class CameraAbilities(Protocol):
    """The part of a camera's capabilities that bounds exposure control."""

    @property
    def exposure_s(self) -> Range | None:
        """Shortest and longest exposure."""
        ...

    @property
    def gain(self) -> Range | None:
        """Lowest and highest gain; None for a camera without gain."""
        ...


class Camera(Protocol):
    """One camera; every fault is a :class:`allsky360.camera.errors.CameraError`."""

    @property
    def device(self) -> str:
        """Name of the camera."""
        ...

    @property
    def capabilities(self) -> CameraAbilities:
        """What it can do, once it is open."""
        ...

    @property
    def is_open(self) -> bool:
        """Whether it can be asked for an exposure, as far as is known."""
        ...

    async def open(self) -> None:
        """Connect and apply the settings."""
        ...

    async def expose(
        self, exposure_s: float, *, gain: float | None = None, frame_type: FrameType = "light"
    ) -> Exposure:
        """Take one exposure and fetch its image."""
        ...

    async def abort(self) -> None:
        """Abort the running exposure, which then fails with ``ExposureAborted``."""
        ...

    async def close(self) -> None:
        """Let go of the camera."""
        ...


class StoredFrame(Protocol):
    """Where a bracket went."""

    @property
    def camera(self) -> str:
        """Camera as the archive names it."""
        ...

    @property
    def night(self) -> date:
        """Night it belongs to."""
        ...

    @property
    def index(self) -> int:
        """Its number within the night."""
        ...


class Writer(Protocol):
    """The raw archive of one camera."""

    def append(self, bracket: Bracket, scalars: Mapping[str, float]) -> StoredFrame:
        """Store a bracket; durable when it returns."""
        ...

    def close(self) -> None:
        """Flush and close."""
        ...


CameraFactory = Callable[[], Camera]
WriterFactory = Callable[[str], Writer]
