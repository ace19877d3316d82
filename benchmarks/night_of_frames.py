"""A night of simulated raw frames with its lens, in an archive: what benchmarks of nights read."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from allsky360.archive import RawWriter
from allsky360.archive.durable import make_folder
from allsky360.config import Settings, SiteSettings, StorageSettings
from allsky360.lenses import lens_folder
from allsky360.model import Bracket, Site
from allsky360.simulator.sky import SkySource
from allsky360.simulator.source import ExposureRequest, as_exposure
from allsky360.sky.lens_file import LensFile, write_lens

SITE = Site("La Palma", 28.7606, -17.8816, 2326.0)
CAMERA = "simulated"
START = datetime(2026, 11, 13, 22, 0, tzinfo=UTC)
NIGHT = date(2026, 11, 13)


def settings_for(root: Path, **changes: object) -> Settings:
    """Return settings of an archive at the simulator's site."""
    site = SiteSettings(
        name=SITE.name, latitude_deg=SITE.latitude_deg, longitude_deg=SITE.longitude_deg,
        elevation_m=SITE.elevation_m,
    )  # fmt: skip
    return Settings(site=site, storage=StorageSettings(root=root), **changes)  # type: ignore[arg-type]


def make_night(
    root: Path,
    frames: int,
    *,
    size: tuple[int, int] = (640, 480),
    start: datetime = START,
    every_s: float = 30.0,
    cloud_cover: float = 0.1,
    exposure_s: float = 10.0,
    distinct: int = 0,
) -> date:
    """Expose and store ``frames`` frames of a sky; ``size`` is width, height.

    ``distinct`` renders only so many and stores them again and again, for long nights; their stars
    do not turn, so that such a night has no lens.

    Returns
    -------
    date
        The night.
    """
    simulator = {"width": size[0], "height": size[1], "cloud_cover": cloud_cover}
    source = SkySource.from_settings(Settings(simulator=simulator), SITE)  # type: ignore[arg-type]
    if not distinct:
        folder = lens_folder(root, CAMERA)
        make_folder(folder)
        content = LensFile(source.lens, CAMERA, 1, start, SITE, (start,), {})
        write_lens(folder / "0001.json", content)
    shots = {}
    writer = RawWriter(root, CAMERA, SITE)
    try:
        for k in range(frames):
            when = start + timedelta(seconds=every_s * k)
            number = k % distinct if distinct else k
            request = ExposureRequest(start=when, exposure_s=exposure_s, gain=0.0)
            shot = shots.get(number) or source.expose(request)
            if distinct:
                shots[number] = shot
            ref = writer.append(Bracket((as_exposure(shot, request, CAMERA),)), {})
    finally:
        writer.close()
    return ref.night
