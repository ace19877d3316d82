"""Archived nights of the simulated sky, small enough for tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path

from allsky360.archive import FrameRef, RawWriter
from allsky360.config import Settings
from allsky360.model import Bracket, Exposure, Site
from allsky360.simulator.sky import SkySource
from allsky360.simulator.source import ExposureRequest, SensorDescription, as_exposure
from allsky360.sky.lens import LensModel, fisheye

SITE = Site("La Palma", 28.7606, -17.8816, 2326.0)
WIDTH, HEIGHT = 720, 560
CAMERA = "Sim Camera 1"
SLUG = "sim-camera-1"
LENS = fisheye(WIDTH, HEIGHT, rotation_deg=37.0, tilt_north_deg=0.8, tilt_east_deg=-0.5)
EXPOSURE_S = 10.0


def moved(lens: LensModel, dx_px: float, rotation_deg: float) -> LensModel:
    """The same lens after the camera was touched."""
    return replace(lens, cx=lens.cx + dx_px, rotation_deg=lens.rotation_deg + rotation_deg)


@lru_cache(maxsize=4)
def source(lens: LensModel, cloud_cover: float) -> SkySource:
    sensor = SensorDescription(width=lens.width, height=lens.height, pixel_um=20.0)
    return SkySource(SITE, sensor, lens, cloud_cover=cloud_cover)


@lru_cache(maxsize=64)
def exposure(start: datetime, lens: LensModel = LENS, cloud_cover: float = 0.0) -> Exposure:
    """One frame as the camera gives it."""
    request = ExposureRequest(start=start, exposure_s=EXPOSURE_S, gain=0.0)
    return as_exposure(source(lens, cloud_cover).expose(request), request, CAMERA)


def hours(first: datetime, count: int, step_h: float = 1.5) -> list[datetime]:
    """Instants of a night's frames."""
    return [first + timedelta(hours=step_h * k) for k in range(count)]


def store(
    root: Path, starts: Sequence[datetime], lens: LensModel = LENS, cloud_cover: float = 0.0
) -> list[FrameRef]:
    """Append frames to an archive."""
    writer = RawWriter(root, CAMERA, SITE)
    try:
        return [writer.append(Bracket((exposure(s, lens, cloud_cover),)), {}) for s in starts]
    finally:
        writer.close()


def settings_for(root: Path) -> Settings:
    return Settings(
        storage={"root": root},  # type: ignore[arg-type]
        site={  # type: ignore[arg-type]
            "name": SITE.name,
            "latitude_deg": SITE.latitude_deg,
            "longitude_deg": SITE.longitude_deg,
            "elevation_m": SITE.elevation_m,
        },
        dask={"gpu": "never"},  # type: ignore[arg-type]
    )
