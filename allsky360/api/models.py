"""What the service answers, as pydantic models: the OpenAPI document is made from them."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Answer(BaseModel):
    """Base of every answer."""

    model_config = ConfigDict(ser_json_inf_nan="null")


class Link(Answer):
    """One link."""

    href: str = Field(examples=["/api/v1/nights/2026-11-22"])


class PageLinks(Answer):
    """Links of a page."""

    self: str
    next: str | None = Field(None, description="Next page; null on the last one.")


class Index(Answer):
    """The entrance."""

    name: str = "allsky360"
    version: str
    site: SiteInfo | None
    links: dict[str, str]


class SiteInfo(Answer):
    """Where the camera stands."""

    name: str
    latitude_deg: float
    longitude_deg: float = Field(description="East positive.")
    elevation_m: float


class Camera(Answer):
    """A camera with frames in the archive."""

    slug: str = Field(description="Name in addresses and folders.", examples=["zwo-asi294mc"])
    nights: int
    links: dict[str, str]


class CameraDetail(Camera):
    """One camera: its device, its nights, its newest frame."""

    device: str = Field(description="Name of the device.", examples=["ZWO ASI294MC"])
    first_night: date | None
    last_night: date | None
    newest_frame: str | None = Field(description="Id of the newest captured frame.")


class Cameras(Answer):
    """All cameras of the archive."""

    cameras: list[Camera]


class NightQuality(Answer):
    """What a night was like, for a calendar. Shares and extremes are those of its dark frames.

    A frame is dark with the Sun below -12 degrees; null where nothing was measured.
    """

    frames: int
    processed: int
    dark_frames: int = Field(description="Frames with the Sun below -12 degrees.")
    first_frame: datetime
    last_frame: datetime
    clear_share: float | None = Field(description="Mean share of the sky that was clear.")
    cloud_share: float | None = Field(description="Mean cloudy share of what could be told.")
    best_sky_brightness_mag_arcsec2: float | None = Field(
        description="Darkest sky: the 95th percentile, so that one odd frame does not count."
    )
    best_limiting_mag: float | None
    moon_illumination: float | None = Field(description="Mean over the night.")
    transients: int
    products: list[str] = Field(description="Names of the night's products.")
    thumbnail: str | None = Field(
        None, description="Small picture from the middle of its dark frames."
    )


class NightItem(Answer):
    """A night in the list."""

    night: date
    camera: str
    quality: NightQuality | None = Field(
        description="Null where the night's numbers cannot be read."
    )
    links: dict[str, str]


class NightPage(Answer):
    """Nights, newest first."""

    camera: str | None
    nights: list[NightItem]
    cursor: str | None = Field(description="Position after this page.")
    links: PageLinks


class NightDetail(NightItem):
    """A night: how many frames, and from when to when."""

    begins: datetime | None = Field(description="Local mean noon, UTC; null without a site.")
    frames: int
    processed: int
    first_frame: datetime | None
    last_frame: datetime | None
    variables: list[str] = Field(description="Names of the measurements of its frames.")
    favourite: bool = Field(description="Kept whole, whatever its age.")
    removed: list[str] = Field(description="Kinds of data that retention has taken out.")


class FrameLinks(Answer):
    """Where a frame's parts are."""

    self: str
    night: str
    picture: str | None = Field(description="Stored picture; null until processed.")
    thumbnail: str | None
    raw: list[str] = Field(description="FITS files, one an exposure.")


class Frame(Answer):
    """One frame: what one bracket became."""

    id: str = Field(examples=["2026-11-22/000017"])
    camera: str
    night: date
    index: int
    time: datetime = Field(description="UTC start of the bracket.")
    local_time: str | None = Field(
        description="Local mean solar time (UTC + longitude / 15 h); no zone; null without a site.",
        examples=["2026-11-22T18:48:28"],
    )
    processed: bool
    processed_at: datetime | None
    revision: str | None = Field(
        description="Changes when the frame is processed again; picture addresses that carry it "
        "may be cached for ever."
    )
    exposures_s: list[float] = Field(description="Exposure times, longest first.")
    gain: float | None
    measurements: dict[str, float | None] = Field(
        description="Every scalar of raw capture and processing."
    )
    links: FrameLinks


class ExposureInfo(Answer):
    """One exposure of a frame."""

    index: int
    exposure_s: float
    raw: str = Field(description="FITS file.")


class Neighbours(Answer):
    """The frames before and after in the same night."""

    previous: str | None
    next: str | None


class FrameDetail(Frame):
    """A frame with everything that is known about it."""

    sky: SkyInfo | None = Field(description="Sun and Moon at that time; null without a site.")
    exposures: list[ExposureInfo]
    provenance: dict[str, Any]
    neighbours: Neighbours


class SkyInfo(Answer):
    """Sun and Moon, topocentric, degrees, without refraction."""

    sun_altitude_deg: float
    sun_azimuth_deg: float
    moon_altitude_deg: float
    moon_azimuth_deg: float
    moon_illumination: float = Field(description="Lit fraction of the disc, 0 to 1.")


class SparseFrame(Answer):
    """A frame of which only some `fields` were asked for."""

    model_config = ConfigDict(extra="allow", ser_json_inf_nan="null")

    id: str


class FramePage(Answer):
    """Frames in order of capture (or newest first)."""

    camera: str | None
    frames: list[Frame | SparseFrame]
    cursor: str | None = Field(
        description="Position after this page, also on the last page: ask again with it for what "
        "was captured since."
    )
    links: PageLinks


class Series(Answer):
    """Measurements of a night along time."""

    camera: str
    night: date
    time: list[datetime]
    index: list[int]
    variables: dict[str, list[float | None]]
    frames: int = Field(description="Frames of the night before thinning.")


class FrameMark(Answer):
    """Which frame, and when."""

    id: str
    camera: str
    time: datetime
    age_s: float


class Storage(Answer):
    """Disk space below the archive."""

    reachable: bool
    free_gb: float | None
    total_gb: float | None
    min_free_gb: float
    low: bool


class Status(Answer):
    """How the installation is doing now."""

    now: datetime = Field(description="The installation's clock (simulated in a rehearsal).")
    clock_rate: float
    state: Literal["live", "stale", "fault", "paused", "waiting"]
    message: str
    stale_after_s: float
    last_frame: FrameMark | None = Field(description="Newest captured frame.")
    last_picture: FrameMark | None = Field(description="Newest processed frame.")
    unprocessed: int = Field(description="Frames of the newest night that wait for processing.")
    frames_tonight: int
    night: date | None
    owner: dict[str, Any] | None = Field(description="The camera owner's own status.")
    storage: Storage
    sky: SkyInfo | None
    site: SiteInfo | None
    links: dict[str, str]


class Health(Answer):
    """Alive."""

    status: Literal["ok"] = "ok"
    version: str


class Check(Answer):
    """One readiness check."""

    name: str
    ok: bool
    detail: str


class Readiness(Answer):
    """Whether requests can be served."""

    status: Literal["ready", "not-ready"]
    checks: list[Check]


for _model in (Index, FrameDetail, Status):
    _model.model_rebuild()
