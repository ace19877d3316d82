"""Frames to look at: skies of the simulator, and real frames where their folder is at hand.

A *look* is a bracket with what is known about its sky and the places worth a close look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path

import numpy as np

from allsky360.camera.files import read_exposures
from allsky360.imaging.display import SkyHints
from allsky360.model import Bracket, Site
from allsky360.simulator.conditions import SkyConditions
from allsky360.simulator.sky import SkySource
from allsky360.simulator.source import ExposureRequest, as_exposure

LA_PALMA = Site("La Palma", 28.7606, -17.8816, 2326.0)
TARGET = 0.12
"""Share of full well that the sky is exposed to."""
LONGEST_S = 20.0
NIGHT_GAIN = 150.0
"""Gain (0.1 dB) where the longest exposure leaves the sky dark."""


@dataclass(frozen=True, eq=False)
class Look:
    """One bracket to look at.

    Attributes
    ----------
    name
        For labels and file names.
    bracket
        Its exposures.
    black_level_adu
        Pedestal, 0 where it is not known.
    hints
        What is known about the sky.
    profile
        The profile that fits.
    places
        Middles of the close looks, shares of height and width.
    """

    name: str
    bracket: Bracket
    black_level_adu: float
    hints: SkyHints
    profile: str
    places: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Scene:
    """A simulated sky: its instant, its clouds, and how it is exposed."""

    when: datetime
    profile: str
    places: tuple[tuple[float, float], ...]
    hints: SkyHints
    cloud_cover: float = 0.0
    exposures: int = 1
    domes: bool = True


def _july(day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 7, day, hour, minute, tzinfo=UTC)


SCENES = {
    "clear": Scene(
        _july(15, 0, 30), "clear", ((0.62, 0.46), (0.20, 0.62)), SkyHints(0.0, 0.0, -37.0)
    ),
    "moonlit": Scene(
        _july(29, 0, 30),
        "moonlit",
        ((0.40, 0.50), (0.30, 0.55)),
        SkyHints(0.9, 0.1, -41.0),
        0.12,
        5,
    ),
    "cloudy": Scene(
        _july(15, 0, 30), "cloudy", ((0.50, 0.50), (0.70, 0.40)), SkyHints(0.0, 0.9, -37.0), 0.75
    ),
    "moonlit-clouds": Scene(
        _july(29, 0, 30), "cloudy", ((0.40, 0.50), (0.30, 0.55)), SkyHints(0.9, 0.8, -41.0), 0.6, 5
    ),
    "day": Scene(
        _july(15, 11), "day", ((0.45, 0.40), (0.30, 0.30)), SkyHints(0, 0.4, 58.0), 0.35, 1
    ),
    "dusk": Scene(
        _july(15, 20, 40), "day", ((0.40, 0.85), (0.50, 0.50)), SkyHints(0, 0.3, -6.4), 0.3, 5
    ),
}
"""The simulator's skies above La Palma: July 15 is moonless, July 29 has a full Moon."""


@dataclass(frozen=True)
class Real:
    """A real frame: where its file lies, which frame of it, what its sky is like."""

    path: str
    profile: str
    places: tuple[tuple[float, float], ...]
    hints: SkyHints
    index: int = 0


_NIGHT = SkyHints(0.0, 0.0, -30.0)
_LOWELL = "lowell-dct-2018/{}.fits.bz2"
REAL = {
    "lowell-005": Real(_LOWELL.format("005"), "clear", ((0.5, 0.5), (0.8, 0.3)), _NIGHT),
    "lowell-013": Real(_LOWELL.format("013"), "clear", ((0.5, 0.5), (0.3, 0.7)), _NIGHT),
    "winona": Real(
        "winona-rpihq-2021/sky-2021-09-19-05-13-32.jpg",
        "clear",
        ((0.5, 0.5), (0.62, 0.75)),
        _NIGHT,
    ),
    "kho-svalbard": Real(
        "kho-svalbard/LYR-Sony-111220_200933.jpg", "clear", ((0.5, 0.5), (0.75, 0.7)), _NIGHT
    ),
    "lowell-018": Real(
        _LOWELL.format("018"), "moonlit", ((0.5, 0.5), (0.4, 0.7)), SkyHints(0.8, 0.0, -30.0)
    ),
    "lowell-003": Real(
        _LOWELL.format("003"), "cloudy", ((0.5, 0.5), (0.6, 0.6)), SkyHints(0.0, 0.8, -30.0)
    ),
    "lowell-000": Real(
        _LOWELL.format("000"), "cloudy", ((0.5, 0.5), (0.6, 0.6)), SkyHints(0.0, 1.0, -30.0)
    ),
    "lowell-002": Real(
        _LOWELL.format("002"), "day", ((0.5, 0.5), (0.3, 0.7)), SkyHints(0.0, 0.2, -5.0)
    ),
    "mmt": Real("mmt-skycam/2015_image_0002500.fits.gz", "clear", ((0.5, 0.5),), _NIGHT),
    "dasc": Real(
        "dasc-pokerflat-2015/PKR_DASC_0558_20151007_082351.743.FITS", "clear", ((0.5, 0.5),), _NIGHT
    ),
    "themis": Real(
        "themis-gakona-2011/thg_l1_asf_gako_2011010617_v01.cdf",
        "clear",
        ((0.5, 0.5),),
        SkyHints(0.0, 0.0, -12.0),
        5,
    ),
}


def simulated(
    names: list[str] | None = None, size: tuple[int, int] = (1608, 1104)
) -> Iterator[Look]:
    """Render the scenes, all or those named, at a sensor size ``(width, height)``."""
    for name, scene in SCENES.items():
        if names is None or name in names:
            yield _rendered(name, scene, size)


def real(data: Path, names: list[str] | None = None) -> Iterator[Look]:
    """Read the real frames that are there."""
    for name, frame in REAL.items():
        if (names is None or name in names) and (data / frame.path).exists():
            exposures = list(read_exposures(data / frame.path))
            chosen = Bracket((exposures[min(frame.index, len(exposures) - 1)],))
            yield Look(name, chosen, 0.0, frame.hints, frame.profile, frame.places)


@lru_cache(maxsize=4)
def _source(cloud_cover: float, size: tuple[int, int]) -> SkySource:
    from allsky360.simulator.source import SensorDescription

    default = SensorDescription()
    pixel = round(default.pixel_um * default.width / size[0], 3)
    sensor = replace(default, width=size[0], height=size[1], pixel_um=pixel)
    return SkySource(LA_PALMA, sensor, conditions=SkyConditions(cloud_cover=cloud_cover))


def _rendered(name: str, scene: Scene, size: tuple[int, int]) -> Look:
    source = _source(scene.cloud_cover, size)
    longest, gain = _exposed(lambda t, g: source.expose(ExposureRequest(scene.when, t, g)).pixels)
    start, exposures = scene.when, []
    for step in range(scene.exposures):
        request = ExposureRequest(start, longest / 4.0**step, gain)
        exposures.append(as_exposure(source.expose(request), request))
        start += timedelta(seconds=request.exposure_s + 0.2)
    black = source.sensor.pedestal_adu(ExposureRequest(start, 1.0).offset)
    return Look(name, Bracket(tuple(exposures)), black, scene.hints, scene.profile, scene.places)


def _exposed(take: Callable[[float, float], np.ndarray]) -> tuple[float, float]:
    """Return exposure and gain that bring the middle of the frame to the target."""
    exposure_s, gain = 0.001, 0.0
    for _ in range(6):
        pixels = take(exposure_s, gain)
        h, w = pixels.shape
        middle = pixels[h // 4 : -h // 4, w // 3 : -w // 3]
        level = (float(np.mean(np.minimum(middle, 60_000))) - 480.0) / 65_000.0
        wanted = exposure_s * min(max(TARGET / max(level, 1e-4), 1 / 64), 1000.0)
        if wanted > LONGEST_S:
            gain = NIGHT_GAIN
        exposure_s = min(max(wanted, 5e-5), LONGEST_S)
    return exposure_s, gain
