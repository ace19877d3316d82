"""What the service answers about the sky: bodies, twilight, lens, pixels, stars, maps."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Literal

from pydantic import Field

from allsky360.api.models import Answer


class BodyInfo(Answer):
    """Sun, Moon or a planet as seen from the site; angles in degrees."""

    name: str = Field(examples=["Moon"])
    altitude_deg: float = Field(description="Apparent (refracted).")
    azimuth_deg: float = Field(description="From north through east.")
    ra_deg: float = Field(description="ICRS.")
    dec_deg: float
    v_mag: float | None
    diameter_arcsec: float
    distance_au: float
    illumination: float = Field(description="Lit fraction of the disc, 0 to 1.")
    elongation_deg: float = Field(description="Distance from the Sun.")


class Ephemeris(Answer):
    """The sky of the site at one instant."""

    time: datetime
    night: date
    phase: str = Field(examples=["nautical twilight"])
    sidereal_time_h: float
    moon_phase_deg: float = Field(description="0 new, 90 first quarter, 180 full.")
    bodies: list[BodyInfo]


class EphemerisTrack(Answer):
    """Sun and Moon along time, one value an instant."""

    time: list[datetime]
    sun_altitude_deg: list[float]
    sun_azimuth_deg: list[float]
    moon_altitude_deg: list[float]
    moon_azimuth_deg: list[float]
    moon_illumination: list[float]


class Span(Answer):
    """A stretch of time."""

    begins: datetime
    ends: datetime


class DarknessInfo(Answer):
    """When the Sun is below a limit; null where it does not pass it on that side of midnight."""

    limit_deg: float
    course: Literal["crosses", "always above", "always below"]
    begins: datetime | None
    ends: datetime | None


class BandInfo(Span):
    """A stretch of one phase, for the shading of charts."""

    phase: Literal["day", "civil twilight", "nautical twilight", "astronomical twilight", "night"]


class NightTimesInfo(Answer):
    """The boundaries of one night, from local mean noon to the next."""

    night: date
    begins: datetime
    ends: datetime
    sun: DarknessInfo = Field(description="Sun's upper limb below the horizon.")
    civil: DarknessInfo
    nautical: DarknessInfo
    astronomical: DarknessInfo
    midnight: datetime = Field(description="Lowest Sun.")
    midnight_sun_deg: float
    moon_rises: list[datetime]
    moon_sets: list[datetime]
    moon_illumination: float = Field(description="At midnight.")
    dark: list[Span] = Field(description="Sun below -18 degrees and Moon down.")
    dark_h: float
    bands: list[BandInfo] = Field(description="The whole night cut by phase, in order.")


class NightsTimes(Answer):
    """The boundaries of several nights."""

    nights: list[NightTimesInfo]


class RingInfo(Answer):
    """Residuals of held-out stars between two altitudes."""

    altitude_deg: tuple[float, float]
    stars: int
    rms_px: float | None
    median_px: float | None


class LensInfo(Answer):
    """One lens file: the model, how it was found, and how well it fits."""

    camera: str
    serial: int
    solved: datetime
    frames: list[datetime] = Field(description="Mid-exposures it was solved from.")
    model: dict[str, Any] = Field(description="Fields of the lens model; pixels of the raw frame.")
    sigma: dict[str, float | None]
    stars: int
    held_out_stars: int
    held_out_rms_px: float | None
    held_out_median_px: float | None
    rings: list[RingInfo]
    software: str
    warnings: list[str]


class LensNight(Answer):
    """What came of one night's calibration."""

    night: date
    outcome: Literal["written", "kept", "refused"]
    reason: str
    message: str
    tried: datetime
    frames: int
    used: int
    serial: int = Field(description="Lens file that counts since; 0 where there is none.")
    rms_px: float | None
    drift: dict[str, Any] | None


class LensHistory(Answer):
    """A camera's lens files and what came of each night."""

    camera: str
    serials: list[int] = Field(description="Newest last; GET /api/v1/lens?serial=N shows one.")
    nights: list[LensNight]


class PixelInfo(Answer):
    """What one pixel of a picture looks at."""

    x: float = Field(description="In the picture of `width` x `height`.")
    y: float
    width: int
    height: int
    altitude_deg: float | None = Field(description="Apparent; null off the lens's field.")
    azimuth_deg: float | None
    ra_deg: float | None = Field(description="ICRS; null below the horizon too.")
    dec_deg: float | None
    constellation: str | None = Field(description="IAU abbreviation.")
    sky_brightness_mag_arcsec2: float | None = Field(
        description="Of the sky cell it lies in; null where it was not measured."
    )
    cloud_state: Literal["clear", "cloudy", "unknown"] | None
    cloud_chance: float | None
    transparency: float | None


class StarOfFrame(Answer):
    """One catalogue star in one frame."""

    hip: int
    name: str = Field(examples=["Vega"])
    v_mag: float
    b_v: float | None
    ra_deg: float
    dec_deg: float
    altitude_deg: float | None
    azimuth_deg: float | None
    x: float | None = Field(description="Expected place in the stored picture; null off it.")
    y: float | None
    flux: float | None = Field(description="full_well / s, not corrected; null: not measured.")
    flux_sigma: float | None
    loss_mag: float | None = Field(description="Light lost beyond clear air.")
    flags: int | None = Field(
        description="Bits: 1 saturated, 2 blended, 4 edge, 8 masked, 16 near a planet."
    )


class FrameStars(Answer):
    """The catalogue stars of one frame, brightest first."""

    id: str
    camera: str
    time: datetime
    width: int | None = Field(description="Size of the stored picture that x and y refer to.")
    height: int | None
    stars: list[StarOfFrame]


class StarItem(Answer):
    """A catalogue star that has light curves."""

    hip: int
    name: str
    v_mag: float
    b_v: float | None
    ra_deg: float
    dec_deg: float
    measured: int | None = Field(None, description="Frames of the night in which it was measured.")
    links: dict[str, str]


class StarList(Answer):
    """Stars measured in a night, brightest first."""

    camera: str
    night: date
    stars: list[StarItem]


class LightCurve(Answer):
    """One star along time."""

    hip: int
    name: str
    v_mag: float
    b_v: float | None
    camera: str
    time: list[datetime]
    ids: list[str]
    flux: list[float | None] = Field(description="full_well / s, not corrected for extinction.")
    flux_sigma: list[float | None]
    loss_mag: list[float | None]
    flags: list[int | None]
    thinned: bool


class SkyMap(Answer):
    """Numbers on sky cells for one frame."""

    id: str
    camera: str
    time: datetime
    name: str = Field(examples=["clouds"])
    units: str
    long_name: str
    altitude_deg: list[float] = Field(description="Centres of the cells.")
    azimuth_deg: list[float]
    solid_angle_sr: list[float]
    values: list[float | None]


class MapItem(Answer):
    """A map that a frame has."""

    name: Literal["clouds", "cloud-chance", "transparency", "brightness"]
    variable: str
    units: str
    long_name: str
    links: dict[str, str]


class FrameMaps(Answer):
    """The maps of one frame."""

    id: str
    maps: list[MapItem]


class TrackPoint(Answer):
    """One end of a trail."""

    time: datetime
    x: float
    y: float
    altitude_deg: float | None
    azimuth_deg: float | None


class TransientInfo(Answer):
    """A meteor, satellite or aircraft found in one frame."""

    id: str
    kind: Literal["meteor", "satellite", "aircraft", "unknown"]
    label: str
    frame: str = Field(description="Id of the frame.", examples=["2026-11-22/000017"])
    camera: str
    night: date
    time: datetime
    start: TrackPoint
    end: TrackPoint
    duration_s: float | None
    peak_snr: float | None
    magnitude: float | None
    magnitude_sigma: float | None
    links: dict[str, str]


class TransientPage(Answer):
    """Transients, a page at a time."""

    camera: str | None
    transients: list[TransientInfo]
    cursor: str | None
    links: dict[str, str | None]
