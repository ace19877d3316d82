"""A night's pictures must not breathe: a static patch through clouds and moonrise.

A patch of constant light is painted into the raw frames of a simulated night (sensor noise and
changing exposure times included), every frame goes through the whole default chain with the tone of
the one before, and the patch's brightness in the pictures is followed. Whatever it does, the sky
did not make.

Run: python -m benchmarks.flicker [--frames 200] [--seconds 30]
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from allsky360.config import Settings
from allsky360.imaging.parameters import parameters_from
from allsky360.imaging.pipeline import develop
from allsky360.imaging.tone import Tone
from allsky360.model import Bracket, Exposure, Site
from allsky360.processing import sky_hints
from allsky360.simulator.sky import SkySource
from allsky360.simulator.source import ExposureRequest

SITE = Site("La Palma", 28.7606, -17.8816, 2326.0)
START = datetime(2026, 11, 27, 21, 0, tzinfo=UTC)
"""The Moon, 85 % lit, rises during this night."""
PATCH = 32
MARK = 0.005


def main() -> int:
    """Print what the patch did; exit code 1 where the mark is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--clouds", type=float, default=0.4)
    parser.add_argument("--start", type=datetime.fromisoformat, default=START)
    parser.add_argument("--profile", default="auto")
    parser.add_argument("--pictures", type=Path, help="folder for some of the pictures")
    options = parser.parse_args()
    settings = Settings(
        simulator={"width": 640, "height": 480, "cloud_cover": options.clouds},  # type: ignore[arg-type]
        processing={"profile": options.profile},  # type: ignore[arg-type]
    )
    source = SkySource.from_settings(settings, SITE)
    parameters = parameters_from(settings)
    tone: Tone | None = None
    exposure_s = 10.0
    levels, skies = [], []
    for index in range(options.frames):
        when = options.start + timedelta(seconds=index * options.seconds)
        exposure = shoot(source, when, exposure_s)
        developed = develop(
            Bracket((exposure,)), parameters, tone=tone, hints=sky_hints(SITE, when)
        )
        tone = developed.tone
        sky = developed.statistics["background_green"]
        levels.append(float(developed.picture[patch(exposure.pixels.shape)].mean()))
        skies.append(sky / exposure_s)
        # A simple exposure control, so that exposure times change during the night.
        if not 0.5 < sky / 0.10 < 2.0:
            exposure_s = float(np.clip(exposure_s * 0.10 / max(sky, 1e-4), 0.5, 15.0))
        if options.pictures and index % max(options.frames // 12, 1) == 0:
            import cv2

            options.pictures.mkdir(parents=True, exist_ok=True)
            path = options.pictures / f"{index:04d}.png"
            cv2.imwrite(str(path), developed.picture[..., ::-1])
    level, sky_rate = np.array(levels), np.array(skies)
    steps = np.abs(level[1:] / level[:-1] - 1.0)
    changes = np.abs(sky_rate[1:] / sky_rate[:-1] - 1.0)
    print(f"{options.frames} frames, one each {options.seconds:g} s, cloud cover {options.clouds}")
    print(
        f"sky: {sky_rate.max() / sky_rate.min():.2f} times from darkest to brightest, "
        f"median change {100 * np.median(changes):.2f} %, largest {100 * changes.max():.1f} %"
    )
    print(
        f"patch: level {level.min():.1f} to {level.max():.1f}; change from frame to frame "
        f"median {100 * np.median(steps):.3f} %, 95 % {100 * np.quantile(steps, 0.95):.3f} %, "
        f"largest {100 * steps.max():.3f} % (mark {100 * MARK:.1f} %)"
    )
    return 0 if steps.max() <= MARK else 1


def patch(shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Where the patch is: low in the image circle, on the axis."""
    top, left = int(0.80 * shape[0]) // 2 * 2, shape[1] // 2 - PATCH // 2
    return slice(top, top + PATCH), slice(left, left + PATCH)


def shoot(source: SkySource, when: datetime, exposure_s: float) -> Exposure:
    """Expose the sky and paint the patch: 300 electrons a second in every pixel."""
    request = ExposureRequest(start=when, exposure_s=exposure_s)
    frame = source.expose(request)
    sensor = frame.truth["sensor"]
    egain = sensor["egain_e_per_adu"]
    pixels = frame.pixels.copy()
    rng = np.random.default_rng(int(when.timestamp()))
    where = patch(pixels.shape)
    electrons = rng.poisson(300.0 * exposure_s, (PATCH + 8, PATCH + 8))
    wide = tuple(slice(w.start - 4, w.stop + 4) for w in where)
    dark = float(np.median(pixels[:6, :6]))  # beyond the image circle
    pixels[wide] = np.clip(electrons / egain + dark, 0, sensor["saturation_adu"])
    return Exposure(
        pixels,
        frame.pattern,
        when,
        exposure_s,
        gain=0.0,
        saturation_adu=sensor["saturation_adu"],
        egain=egain,
    )


if __name__ == "__main__":
    sys.exit(main())
