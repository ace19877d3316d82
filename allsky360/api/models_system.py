"""What the service answers about the installation: safety, storage, parts, settings, products."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Literal

from pydantic import Field

from allsky360.api.models import Answer, PageLinks, Storage


class SafetyInfo(Answer):
    """Whether it is safe to observe; treat `unknown` like `unsafe`."""

    verdict: Literal["safe", "unsafe", "unknown"]
    is_safe: bool
    reason: str = Field(examples=["12 % of the sky is cloudy"])
    age_s: float | None = Field(description="Age of the frame behind it.")
    time: datetime = Field(description="Instant of the answer (the installation's clock).")


class ConfigurationInfo(Answer):
    """The settings this service runs with, read-only; what is secret shows as `***`."""

    settings: dict[str, Any]


class StorageInfo(Storage):
    """Disk space and what the archive holds."""

    root: str | None = Field(description="Folder of the archive; null in public mode.")
    cameras: dict[str, int] = Field(description="Nights of each camera.")


class PartInfo(Answer):
    """One part of the installation."""

    name: Literal["owner", "prefect", "dask", "events"]
    state: Literal["answers", "does not answer"]
    detail: str
    address: str | None


class QueueInfo(Answer):
    """What waits for processing."""

    unprocessed: int = Field(description="Frames of the two newest nights without a picture.")
    oldest: datetime | None = Field(description="Start of the oldest of them.")


class LogLine(Answer):
    """One warning or error of a part's log."""

    part: str
    level: Literal["warning", "error", "critical"]
    text: str


class SystemInfo(Answer):
    """Parts, queue, storage, last errors, links to the other UIs."""

    now: datetime
    version: str
    started: datetime
    parts: list[PartInfo]
    queue: QueueInfo
    storage: StorageInfo
    errors: list[LogLine] = Field(description="Newest last; at most 50.")
    memory_mb: float = Field(description="Resident memory of this process.")
    links: dict[str, str]


class ProductFileInfo(Answer):
    """One file of a product."""

    path: str
    role: Literal["main", "preview", "data"]
    media_type: str
    bytes: int
    width: int | None = None
    height: int | None = None
    duration_s: float | None = None
    href: str


class ProductInfo(Answer):
    """Something made from the frames of a night."""

    kind: str
    name: str
    title: str
    camera: str
    night: date
    version: str
    created_at: datetime
    complete: bool = Field(description="Night closed and every frame in.")
    files: list[ProductFileInfo]
    frames: dict[str, Any] = Field(description="`used`, `first`, `last`, `left_out`.")
    parameters: dict[str, Any]
    provenance: dict[str, Any]
    links: dict[str, str]


class ProductList(Answer):
    """Products of one night."""

    camera: str
    night: date
    products: list[ProductInfo]


class ProductPage(Answer):
    """Products over nights, newest night first."""

    camera: str | None
    products: list[ProductInfo]
    cursor: str | None
    links: PageLinks


class StepInfo(Answer):
    """One step of a frame's processing."""

    number: int
    name: str
    version: int | str | None
    seconds: float | None
    parameters: dict[str, Any] = Field(description="Also what the step measured or decided.")
    picture: str | None = Field(None, description="The picture after it, where it is kept.")


class StepList(Answer):
    """How a frame was processed, in order."""

    id: str
    software: str | None
    parameters_digest: str | None
    steps: list[StepInfo]
    nearest_with_pictures: str | None = Field(
        description="The nearest frame of the night whose step pictures are kept; null where this "
        "one's are, or none are."
    )
    warnings: list[str]


class VariableInfo(Answer):
    """A measurement that can be asked for."""

    name: str = Field(examples=["sky_brightness_mag_arcsec2"])
    units: str = ""
    long_name: str = ""
    sigma: str | None = Field(None, description="Name of its standard deviation.")
    minimum: float | None = Field(None, description="Null unless `ranges` was asked for.")
    maximum: float | None = None
    frames: int | None = Field(None, description="Frames that have it.")


class VariableList(Answer):
    """The measurements of a camera."""

    camera: str | None
    variables: list[VariableInfo]


class SeriesTable(Answer):
    """Measurements along time over any nights."""

    camera: str | None
    start: datetime | None
    end: datetime | None
    frames: int = Field(description="Frames in the range before thinning.")
    thinned: bool
    time: list[datetime]
    ids: list[str]
    variables: dict[str, list[float | None]]
    units: dict[str, str]
