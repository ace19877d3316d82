"""One typed settings tree, read from one commented TOML file and the environment.

Order of authority: environment (``ALLSKY360_SITE__LATITUDE_DEG=48.1``), then the file, then the
defaults below. Every key is documented by its ``description``; ``allsky360 config init`` writes
them all, ``allsky360 config check`` names every error at once.
"""

from __future__ import annotations

import os
import tomllib
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from allsky360.clock import REAL_CLOCK, Clock, rehearsal
from allsky360.config_alarms import AlarmSettings
from allsky360.config_api import ApiSettings
from allsky360.config_filters import FilterSettings, ProfilesSettings
from allsky360.config_logging import LoggingSettings
from allsky360.config_objects import ObjectsSettings
from allsky360.config_offsite import OffsiteSettings
from allsky360.config_overlay import OverlaySettings
from allsky360.config_products import ProductsSettings
from allsky360.config_retention import RetentionSettings
from allsky360.config_section import Section
from allsky360.config_steps import check_geometry, check_steps
from allsky360.config_text import explain_errors, explain_stray_environment
from allsky360.errors import SettingsError
from allsky360.model import Site, as_utc

ENV_PREFIX = "ALLSKY360_"
ENV_FILE = "ALLSKY360_CONFIG"
ENV_THREADS = "ALLSKY360_THREADS"
"""Cores one image may use, read by ``arrays.bands``; no part of the tree."""
DEMO_FOLDER = "demo"
"""First letters of the folders below ``storage.root`` that a demo keeps its archives in."""
DEFAULT_FILE = Path("allsky360.toml")

Port = Annotated[int, Field(ge=1, le=65535)]
Corner = Annotated[int, Field(ge=0, le=65535)]
Side = Annotated[int, Field(ge=2, le=65535)]


class SiteSettings(Section):
    """Where the camera stands."""

    name: str = Field("", description="Name shown on pictures and pages.")
    latitude_deg: float | None = Field(None, ge=-90, le=90, description="North positive.")
    longitude_deg: float | None = Field(None, ge=-180, le=180, description="East positive.")
    elevation_m: float = Field(0.0, ge=-500, le=9000, description="Height above sea level.")


class StorageSettings(Section):
    """Where the archive lies."""

    root: Path = Field(Path("allsky360-data"), description="Folder of the archive.")
    min_free_gb: float = Field(
        1.0,
        ge=0,
        le=10_000,
        description="Capture pauses, and says so, when less disk space than this is left.",
    )


class CoolerSettings(Section):
    """Sensor cooling."""

    enabled: bool = Field(False, description="Switch the cooler on after each connect.")
    target_c: float = Field(-10.0, ge=-60, le=40, description="Set point of the sensor.")


class CameraSettings(Section):
    """The camera, as its INDIGO server names it."""

    host: str = Field("", description="Camera server. Empty: start the built-in simulator.")
    port: Port = Field(7624, description="Port of the camera server.")
    protocol: Literal["indigo", "indi"] = Field(
        "indigo", description="What the server speaks; indi for one that speaks only INDI 1.7."
    )
    device: str = Field("", description="Device name; empty takes the only camera on the server.")
    image_format: Literal["RAW", "FITS"] = Field(
        "RAW", description="Format asked of an INDIGO server; INDI ones deliver FITS."
    )
    mode: str = Field("", description="CCD_MODE item to select (label or name); empty keeps it.")
    bits_per_pixel: int = Field(16, ge=8, le=32, description="Depth asked of the camera.")
    binning: int = Field(1, ge=1, le=8, description="Pixels combined per axis.")
    roi: tuple[Corner, Corner, Side, Side] | None = Field(
        None, description="left, top, width, height in unbinned pixels; left out: whole sensor."
    )
    offset: float | None = Field(None, ge=0, le=100_000, description="Camera offset (black level).")
    gain_unit_db: float = Field(
        0.1,
        gt=0,
        le=20,
        description="Decibels per unit of the camera's gain setting (0.1 for ZWO and most CMOS).",
    )
    bayer_pattern: Literal["", "RGGB", "BGGR", "GRBG", "GBRG", "MONO"] = Field(
        "", description="Overrides what the camera reports; empty trusts it."
    )
    saturation_adu: float | None = Field(
        None, gt=0, le=65535, description="Level of a full pixel; left out: from the image depth."
    )
    black_level_adu: float = Field(
        0.0,
        ge=0,
        le=65535,
        description="Pedestal of a dark pixel, used while no bias or dark master exists.",
    )
    timeout_s: float = Field(
        75.0, ge=5, le=600, description="Grace after the exposure before it counts as lost."
    )
    cooler: CoolerSettings = Field(default_factory=CoolerSettings)


class PeriodSettings(Section):
    """Exposure control for one period of the day."""

    enabled: bool = Field(True, description="Capture in this period at all.")
    target: float = Field(
        0.12,
        gt=0.0,
        lt=0.9,
        description="Wanted median of the longest exposure, as a fraction of saturation.",
    )
    min_exposure_s: float = Field(0.000032, gt=0, le=3600, description="Shortest exposure.")
    max_exposure_s: float = Field(30.0, gt=0, le=3600, description="Longest exposure.")
    min_gain: float = Field(0.0, ge=0, le=100_000, description="Lowest gain, camera units.")
    max_gain: float = Field(200.0, ge=0, le=100_000, description="Highest gain, camera units.")
    exposures: int = Field(1, ge=1, le=5, description="Exposures in a bracket.")
    step_ev: float = Field(
        2.0, gt=0, le=6, description="EV between neighbouring exposures of a bracket."
    )
    every_s: float = Field(
        0.0,
        ge=0,
        le=3600,
        description="Least time from the start of one bracket to the next; 0: back to back.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> PeriodSettings:
        if self.min_exposure_s > self.max_exposure_s:
            raise ValueError("min_exposure_s must not exceed max_exposure_s")
        if self.min_gain > self.max_gain:
            raise ValueError("min_gain must not exceed max_gain")
        return self


PERIODS: dict[str, dict[str, Any]] = {
    "day": {"target": 0.30, "max_exposure_s": 1.0, "max_gain": 0.0, "every_s": 15.0},
    "twilight": {"target": 0.20, "max_exposure_s": 10.0, "exposures": 3, "every_s": 10.0},
    "night": {"target": 0.12, "max_exposure_s": 10.0, "exposures": 1},
}
"""What each period starts from; a key in the file changes that key only."""


class ExposureSettings(Section):
    """Exposure control. The period follows from the Sun's altitude."""

    start_exposure_s: float = Field(
        1.0, gt=0, le=3600, description="First exposure after a start with nothing remembered."
    )
    start_gain: float = Field(0.0, ge=0, le=100_000, description="First gain after a start.")
    day_above_deg: float = Field(0.0, ge=-18, le=20, description="Sun altitude where day begins.")
    night_below_deg: float = Field(
        -12.0, ge=-18, le=20, description="Sun altitude where night begins; twilight in between."
    )
    day: PeriodSettings = Field(default_factory=lambda: PeriodSettings(**PERIODS["day"]))
    twilight: PeriodSettings = Field(default_factory=lambda: PeriodSettings(**PERIODS["twilight"]))
    night: PeriodSettings = Field(default_factory=lambda: PeriodSettings(**PERIODS["night"]))

    @model_validator(mode="before")
    @classmethod
    def _keep_the_rest(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {
            name: PERIODS[name] | value if name in PERIODS and isinstance(value, dict) else value
            for name, value in data.items()
        }

    @model_validator(mode="after")
    def _ordered(self) -> ExposureSettings:
        if self.night_below_deg > self.day_above_deg:
            raise ValueError("night_below_deg must not exceed day_above_deg")
        return self


class CaptureSettings(Section):
    """The capture schedule."""

    slot_s: int = Field(
        60,
        ge=20,
        le=3600,
        description="Length of a burst; the schedule starts one burst every slot.",
    )
    retries: int = Field(
        5, ge=0, le=100, description="Times a burst asks a faulty camera again within its slot."
    )
    retry_delay_s: float = Field(2.0, ge=0.1, le=600, description="Pause before asking again.")
    alone_after_s: float = Field(
        10.0,
        ge=0,
        le=86400,
        description="Time without a burst asked for, as while Prefect is down, after which the"
        " camera's owner captures by itself until the next one. 0: never.",
    )


class WhiteBalanceSettings(Section):
    """White balance of the display branch."""

    mode: Literal["manual", "grey-sky", "stars"] = Field(
        "grey-sky",
        description="manual: the gains below, always; grey-sky: by day only, the sky's at night;"
        " stars: those that make a Sun-like star white (needs a lens), grey-sky until known.",
    )
    red: float = Field(1.35, gt=0, le=8, description="Gain of red that makes daylight white.")
    blue: float = Field(1.65, gt=0, le=8, description="Gain of blue that makes daylight white.")


class ProcessingSettings(Section):
    """From raw to the picture."""

    dark_root: Path | None = Field(
        None,
        description="Folder with master bias, dark and flat FITS files; left out: 'masters' in the"
        " archive, where 'darks take' puts them, once it is there, and for its own frames only.",
    )
    debayer: Literal["edge-aware", "bilinear"] = Field("edge-aware", description="Demosaic method.")
    hot_pixel_sigma: float = Field(
        8.0, ge=3, le=100, description="Noise sigmas above all like-coloured neighbours to repair."
    )
    banding: Literal["keep", "rows", "rows and columns"] = Field(
        "keep", description="Whose levels are measured and taken off, for sensors with banding."
    )
    white_balance: WhiteBalanceSettings = Field(default_factory=WhiteBalanceSettings)
    tone_time_s: float = Field(
        1800.0, ge=0, le=86400, description="Time in which the picture's tone follows the sky."
    )
    profile: Literal["auto", "clear", "moonlit", "cloudy", "day"] = Field(
        "auto", description="Steps the picture is made by; auto follows Sun, Moon and clouds."
    )
    profiles: ProfilesSettings = Field(default_factory=ProfilesSettings)
    filters: FilterSettings = Field(default_factory=FilterSettings)
    jpeg_quality: int = Field(92, ge=10, le=100, description="Quality of display pictures.")
    step_pictures_every: int = Field(
        20,
        ge=0,
        le=100_000,
        description="Of every so many frames small pictures of each step are kept, to be looked at "
        "side by side; 0: of none.",
    )
    live_ahead: int = Field(
        4,
        ge=1,
        le=1000,
        description="Frames of a burst that may wait for processing; where it is slower than"
        " capture, further ones are processed later, in order.",
    )

    @model_validator(mode="after")
    def _steps_are_filters(self) -> ProcessingSettings:
        steps = {name: getattr(self.profiles, name) for name in type(self.profiles).model_fields}
        for name in steps:
            check_steps(name, steps[name], self.filters)
        check_geometry(steps, self.filters)
        return self


class SafetySettings(Section):
    """When the sky counts as safe for observing; only clouds are judged."""

    unsafe_above: float = Field(
        0.4, ge=0, le=1, description="Cloudy share of the sky above which it is unsafe."
    )
    safe_below: float = Field(
        0.25, ge=0, le=1, description="Cloudy share below which it may become safe again."
    )
    max_unknown: float = Field(
        0.5, ge=0, lt=1, description="Share of the sky that may remain untold."
    )
    safe_after: int = Field(3, ge=1, le=1000, description="Clear frames in a row before safe.")
    max_age_s: float = Field(
        300.0, gt=0, le=86400, description="Age from which the last frame says nothing."
    )

    @model_validator(mode="after")
    def _ordered(self) -> SafetySettings:
        if self.safe_below > self.unsafe_above:
            raise ValueError("safe_below must not exceed unsafe_above")
        return self


class TransientSettings(Section):
    """Meteors, satellites and aircraft: streaks that the frame before did not have."""

    enabled: bool = Field(True, description="Search every frame taken in the dark.")
    min_altitude_deg: float = Field(
        8.0, ge=0, le=80, description="Lowest part of the sky searched, where the lens is known."
    )
    max_pause_s: float = Field(
        180.0,
        gt=0,
        le=3600,
        description="Frames further apart than this are not compared.",
    )
    min_significance: float = Field(
        7.0, ge=5, le=100, description="Significance of a streak's whole light, sigmas."
    )
    tle_file: Path | None = Field(
        None,
        description="File of two-line elements, with or without names: satellites in it get their "
        "names. Read again when it changes; elements older than 15 days count for nothing.",
    )


class PrefectSettings(Section):
    """The Prefect server that `allsky360 up` starts, or one that already runs."""

    url: str = Field(
        "", description="API address of a server run elsewhere; empty: start one here."
    )
    host: str = Field("127.0.0.1", description="Address our own server binds to.")
    port: Port = Field(4200, description="Port of our own server and its UI.")
    retention_days: int = Field(
        14, ge=1, le=3650, description="Flow runs older than this leave Prefect's database."
    )
    database_file: Path | None = Field(
        None,
        description="File with the address of a PostgreSQL database for our own server "
        "(postgresql://user:password@host/name); left out: SQLite in the data folder.",
    )
    auth_file: Path | None = Field(
        None,
        description="File with name:password that the server asks for and its clients give; "
        "needed where host is not loopback.",
    )


class DaskSettings(Section):
    """The cluster that processes frames."""

    scheduler: str = Field(
        "", description="Address of a running scheduler (tcp://host:8786); empty: start one here."
    )
    gpu: Literal["auto", "never"] = Field("auto", description="Use GPUs where a driver is found.")
    workers: int = Field(1, ge=1, le=256, description="CPU workers; with GPUs it is one a GPU.")
    threads_per_worker: int = Field(1, ge=1, le=64, description="Frames a CPU worker does at once.")
    memory_limit: str = Field("4GiB", description="Memory of one CPU worker.")
    host: str = Field("127.0.0.1", description="Address our own scheduler binds to.")
    port: Port = Field(8786, description="Port of our own scheduler.")
    dashboard_port: Port = Field(8787, description="Port of Dask's dashboard.")


class OwnerSettings(Section):
    """The camera owner's local control service."""

    host: str = Field("127.0.0.1", description="Address it binds to.")
    port: Port = Field(8361, description="Port it binds to.")


class SimulatorSettings(Section):
    """The built-in camera server with a real sky."""

    host: str = Field("127.0.0.1", description="Address it binds to.")
    port: Port = Field(7625, description="Port it binds to.")
    width: int = Field(1608, ge=64, le=16384, description="Sensor width in pixels.")
    height: int = Field(1104, ge=64, le=16384, description="Sensor height in pixels.")
    seed: int = Field(1, ge=0, le=2**31 - 1, description="Seed of clouds and noise.")
    cloud_cover: float = Field(0.15, ge=0, le=1, description="Fraction of the sky under cloud.")
    zenith_mag_arcsec2: float = Field(
        21.3, ge=16, le=22.2, description="Moonless sky brightness at the zenith."
    )
    truth_dir: Path | None = Field(
        None, description="Folder for one truth file per frame; left out: none is written."
    )
    replay_dir: Path | None = Field(
        None, description="Serve the FITS, RAW, DNG, PNG or TIFF frames of this folder instead."
    )


class ClockSettings(Section):
    """A rehearsal clock; leave it alone for real observing."""

    start: datetime | None = Field(
        None, description="UTC instant the rehearsal begins at; left out: the real time."
    )
    rate: float = Field(1.0, gt=0, le=10_000, description="Simulated seconds per real second.")
    anchor: datetime | None = Field(
        None, description="Real instant at which it is `start`; set by `allsky360 up`."
    )


class Settings(BaseSettings):
    """The whole tree."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
    )

    site: SiteSettings = Field(default_factory=SiteSettings)
    storage: StorageSettings = Field(default_factory=StorageSettings)
    retention: RetentionSettings = Field(default_factory=RetentionSettings)
    camera: CameraSettings = Field(default_factory=CameraSettings)
    exposure: ExposureSettings = Field(default_factory=ExposureSettings)
    capture: CaptureSettings = Field(default_factory=CaptureSettings)
    processing: ProcessingSettings = Field(default_factory=ProcessingSettings)
    overlay: OverlaySettings = Field(default_factory=OverlaySettings)
    safety: SafetySettings = Field(default_factory=SafetySettings)
    transients: TransientSettings = Field(default_factory=TransientSettings)
    products: ProductsSettings = Field(default_factory=ProductsSettings)
    objects: ObjectsSettings = Field(default_factory=ObjectsSettings)
    offsite: OffsiteSettings = Field(default_factory=OffsiteSettings)
    alarms: AlarmSettings = Field(default_factory=AlarmSettings)
    logging: LoggingSettings = Field(default_factory=LoggingSettings)
    owner: OwnerSettings = Field(default_factory=OwnerSettings)
    prefect: PrefectSettings = Field(default_factory=PrefectSettings)
    dask: DaskSettings = Field(default_factory=DaskSettings)
    api: ApiSettings = Field(default_factory=ApiSettings)
    simulator: SimulatorSettings = Field(default_factory=SimulatorSettings)
    clock: ClockSettings = Field(default_factory=ClockSettings)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over the file (which arrives as init arguments)."""
        return env_settings, init_settings


def settings_file(path: Path | None = None) -> Path | None:
    """Find the settings file: the argument, ``ALLSKY360_CONFIG``, else ``./allsky360.toml``.

    Returns None when nothing was named and no default file lies in the working folder.
    """
    if path is None and os.environ.get(ENV_FILE):
        path = Path(os.environ[ENV_FILE])
    if path is not None:
        return path
    return DEFAULT_FILE if DEFAULT_FILE.exists() else None


def load_settings(path: Path | None = None) -> Settings:
    """Read and validate the settings as a whole.

    Parameters
    ----------
    path
        Settings file; default see :func:`settings_file`.

    Raises
    ------
    SettingsError
        Naming file, key, value, allowed range and nearest valid key of every error at once.
    """
    file = settings_file(path)
    data: dict[str, Any] = {}
    if file is not None:
        try:
            data = tomllib.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise SettingsError(
                f"cannot read the settings file {file}: {error.strerror}.",
                mend="Write one with 'allsky360 config init'.",
            ) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError(
                f"{file} is not valid TOML: {error}.", mend="Mend that line."
            ) from error
    problems = explain_stray_environment(Settings, os.environ, ENV_PREFIX, {ENV_FILE, ENV_THREADS})
    settings: Settings | None = None
    try:
        settings = Settings(**data)
    except ValidationError as error:
        problems += explain_errors(Settings, error, data, file, ENV_PREFIX)
    if problems or settings is None:
        raise SettingsError("\n".join(problems))
    return settings


def site_from(settings: Settings) -> Site:
    """Return the site; refuse when it is not set, since night and Sun depend on it."""
    s = settings.site
    if s.latitude_deg is None or s.longitude_deg is None:
        raise SettingsError(
            "site.latitude_deg and site.longitude_deg are not set.",
            mend="Write them into the settings file; day, night and every star depend on them.",
        )
    return Site(s.name, s.latitude_deg, s.longitude_deg, s.elevation_m)


def clock_from(settings: Settings) -> Clock:
    """Return the clock every part of this installation reads."""
    c = settings.clock
    if c.start is None:
        return REAL_CLOCK
    return rehearsal(as_utc(c.start), c.rate, as_utc(c.anchor) if c.anchor else None)
