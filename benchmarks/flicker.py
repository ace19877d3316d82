"""A night's pictures must not breathe: static patches through clouds, moonrise, moonset and dusk.

What the sky makes and what the chain makes are told apart by painting: two squares of constant
light, one far brighter than the moonless sky and one as bright as it, stand in the raw frames of
simulated nights. Their light never changes, no cloud or Moon changes it, and the exposure times
change as the sky asks. Noise is the sky's doing: a square has its photon noise, but the same in
every frame (near black, where the picture cuts noise off, new noise moved the mean by 0.7 %), and
shifted so that in every colour of every 8 x 8 pixels its mean is exactly the square's light. Every
frame goes through the whole default chain with the tone of the one before. So *every* change of a
square's brightness in the picture, its mean code by the weights of luminance (Rec. 709), was made
by the chain: by its tone following the sky, by its states, by profiles that hand over.

Frames are 640 pixels wide so that nights can be followed; radii of local filters are scaled to
them from the simulator's default sensor of 1608, and the middle of a square is read, farther from
its edge than clarity reaches (twice its radius and a block, 28 pixels here): how much a thing
stands out of the clouds beside it is the clouds' doing. A square darker than the sky becomes a
silhouette and goes towards black, where a small change is large as a share of next to nothing:
while the sky outshines it, the change is taken as a share of the sky's code; the largest share of
its own is printed beside (in brackets).

Clouds, Moon and seeds differ from night to night. How fast the tone may follow (``SLEW`` in
imaging/tone.py) was chosen on the night with the full Moon, so that night proves nothing by itself;
the scale of the radii, the part of a square that is read, the share of the sky's code, the weights
and the constant noise were settled after first results. In twilight the picture must follow a
sky that changes a thousandfold, and nothing can stay what it was: changes count from the frame on
that has the Sun below -15 degrees (the chain's own limit of "dark"); the largest before that is
shown too.

Run: python -m benchmarks.flicker [--night moonrise] [--frames 200] [--seconds 30]
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from allsky360.arrays.generic import LUMA
from allsky360.config import Settings, SimulatorSettings
from allsky360.imaging.parameters import ChainParameters, parameters_from
from allsky360.imaging.pipeline import develop
from allsky360.imaging.tone import Tone
from allsky360.model import Bracket, Exposure, Site
from allsky360.processing import sky_hints
from allsky360.simulator.sky import SkySource
from allsky360.simulator.source import ExposureRequest

SITE = Site("La Palma", 28.7606, -17.8816, 2326.0)
WIDTH, HEIGHT = 640, 480
SIDE, READ, CELL, SEED = 72, 16, 8, 7
MARK = 0.005


@dataclass(frozen=True)
class Night:
    """When a night begins, its clouds and its seed."""

    start: datetime
    clouds: float
    seed: int


NIGHTS = {
    "half Moon rises": Night(datetime(2027, 1, 25, 22, 10, tzinfo=UTC), 0.40, 21),
    "full Moon rises": Night(datetime(2027, 3, 23, 20, 45, tzinfo=UTC), 0.25, 22),
    "Moon sets": Night(datetime(2027, 2, 16, 2, 40, tzinfo=UTC), 0.50, 23),
    "dusk": Night(datetime(2027, 4, 6, 20, 15, tzinfo=UTC), 0.30, 24),
    "broken clouds": Night(datetime(2027, 4, 6, 23, 0, tzinfo=UTC), 0.60, 25),
}


@dataclass(frozen=True)
class Patch:
    """A square of constant light, electrons a second and pixel; place as shares of the frame."""

    name: str
    rate_e_s: float
    row: float
    column: float

    def where(self, margin: int = 0) -> tuple[slice, slice]:
        """Rows and columns, on whole Bayer cells."""
        top, left = (int(n) // 2 * 2 for n in (self.row * HEIGHT, self.column * WIDTH - SIDE / 2))
        return slice(top - margin, top + SIDE + margin), slice(left - margin, left + SIDE + margin)

    def middle(self) -> tuple[slice, slice]:
        """Rows and columns that are read."""
        return self.where((READ - SIDE) // 2)


PATCHES = (Patch("bright", 300.0, 0.74, 0.50), Patch("dim", 60.0, 0.16, 0.45))


@dataclass(frozen=True, eq=False)
class Raw:
    """One exposure of the sky without patches."""

    pixels: NDArray[np.uint16]
    exposure_s: float
    egain: float
    saturation: float


def main() -> int:
    """Print what the patches did each night; exit code 1 where the mark is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--night", choices=list(NIGHTS), action="append")
    parser.add_argument("--profile", default="auto")
    parser.add_argument("--pictures", type=Path, help="folder for some of the pictures")
    parser.add_argument("--keep", type=Path, help="folder where raw frames are kept for next time")
    options = parser.parse_args()
    settings = Settings(processing={"profile": options.profile})  # type: ignore[arg-type]
    parameters = scaled(parameters_from(settings))
    print(f"{options.frames} frames a night, one each {options.seconds:g} s; mark {100 * MARK} %")
    print(
        f"{'night':<18}{'sky':>8}  {'patch':<8}{'code':>12}{'median':>9}{'95 %':>9}{'largest':>9}"
    )
    good = True
    for name in options.night or NIGHTS:
        folder = options.pictures / name.replace(" ", "-") if options.pictures else None
        night = NIGHTS[name]
        frames = night_frames(night, options.frames, options.seconds, options.keep)
        good &= report(name, follow(night, frames, parameters, options.seconds, folder))
    return 0 if good else 1


@dataclass(frozen=True, eq=False)
class Followed:
    """What a night's pictures showed: codes ``(frames, patches)`` and of the sky, sky rates."""

    codes: NDArray[np.float64]
    around: NDArray[np.float64]
    skies: NDArray[np.float64]
    dark: NDArray[np.bool_]


def scaled(parameters: ChainParameters) -> ChainParameters:
    """Scale radii in pixels from the default sensor to these small frames."""
    share = WIDTH / SimulatorSettings().width
    profiles = {
        name: tuple(
            (step, {k: v * share if k == "radius_px" else v for k, v in keywords.items()})
            for step, keywords in steps
        )
        for name, steps in parameters.profiles.items()
    }
    return replace(parameters, profiles=profiles)


def report(name: str, seen: Followed) -> bool:
    """Print one night; whether it meets the mark."""
    moved = np.abs(np.diff(seen.codes, axis=0))
    shares = moved / seen.codes[:-1]
    steps = moved / np.maximum(seen.codes, seen.around[:, None])[:-1]
    dark = seen.dark[:-1]
    good = True
    for k, patch in enumerate(PATCHES):
        own, codes = steps[dark, k], seen.codes[:, k]
        good &= bool(own.max() <= MARK)
        sky = f"{seen.skies.max() / seen.skies.min():7.1f}x" if k == 0 else ""
        before = f"  (twilight {100 * steps[~dark, k].max():.2f} %)" if not dark.all() else ""
        print(
            f"{name if k == 0 else '':<18}{sky:>8}  {patch.name:<8}"
            f"{codes.min():6.1f}{codes.max():6.1f}{100 * np.median(own):8.3f}%"
            f"{100 * np.quantile(own, 0.95):8.3f}%{100 * own.max():8.3f}%"
            f" ({100 * shares[dark, k].max():.2f})"
            f"{'' if own.max() <= MARK else '  MISSED'}{before}",
            flush=True,
        )
    return good


def follow(
    night: Night,
    frames: list[Raw],
    parameters: ChainParameters,
    seconds: float,
    pictures: Path | None,
) -> Followed:
    """Develop a night and read the patches."""
    tone: Tone | None = None
    codes, around, skies, dark = [], [], [], []
    whole = (
        np.hypot(
            np.linspace(-1.0, 1.0, HEIGHT)[:, None],
            np.linspace(-1.0, 1.0, WIDTH)[None] * WIDTH / HEIGHT,
        )
        < 0.8
    )
    for patch in PATCHES:
        whole[patch.where(8)] = False
    for index, raw in enumerate(frames):
        when = night.start + timedelta(seconds=index * seconds)
        hints = sky_hints(SITE, when)
        done = develop(Bracket((painted(raw, when),)), parameters, tone=tone, hints=hints)
        tone = done.tone
        codes.append([float((done.picture[p.middle()] @ LUMA).mean()) for p in PATCHES])
        around.append(float(np.median(done.picture[whole] @ LUMA)))
        skies.append(done.statistics["background_green"] / raw.exposure_s)
        dark.append(hints.dark)
        if pictures and index % max(len(frames) // 12, 1) == 0:
            import cv2

            pictures.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(pictures / f"{index:04d}.png"), done.picture[..., ::-1])
    return Followed(np.array(codes), np.array(around), np.array(skies), np.array(dark))


def night_frames(night: Night, count: int, seconds: float, keep: Path | None) -> list[Raw]:
    """Expose a night, or read it where it was kept."""
    path = keep / f"{night.start:%Y%m%dT%H%M}-{night.seed}-{count}.npz" if keep else None
    if path is not None and path.exists():
        kept = np.load(path)
        return [Raw(p, *n) for p, n in zip(kept["pixels"], kept["numbers"].tolist(), strict=True)]
    settings = Settings(
        simulator={
            "width": WIDTH, "height": HEIGHT, "cloud_cover": night.clouds, "seed": night.seed,
        }  # type: ignore[arg-type]
    )  # fmt: skip
    source = SkySource.from_settings(settings, SITE)
    frames = []
    exposure_s = 10.0
    for index in range(count):
        when = night.start + timedelta(seconds=index * seconds)
        frame = source.expose(ExposureRequest(start=when, exposure_s=exposure_s))
        sensor = frame.truth["sensor"]
        full = float(sensor["saturation_adu"])
        frames.append(Raw(frame.pixels.copy(), exposure_s, sensor["egain_e_per_adu"], full))
        # A simple exposure control, so that exposure times change during the night.
        green = frame.pixels[HEIGHT // 4 : -HEIGHT // 4, WIDTH // 3 : -WIDTH // 3][0::2, 1::2]
        level = (float(np.median(green)) - black_of(frame.pixels)) / full
        if not 0.5 < level / 0.10 < 2.0:
            exposure_s = float(np.clip(exposure_s * 0.10 / max(level, 1e-4), 0.1, 15.0))
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        numbers = [(f.exposure_s, f.egain, f.saturation) for f in frames]
        np.savez(path, pixels=np.stack([f.pixels for f in frames]), numbers=np.array(numbers))
    return frames


def black_of(pixels: NDArray[np.uint16]) -> float:
    """Level beyond the image circle."""
    return float(np.median(pixels[:6, :6]))


def painted(raw: Raw, when: datetime) -> Exposure:
    """Paint the patches: constant light, its noise with a mean of 0 in each cell and colour."""
    pixels = raw.pixels.copy()
    rng = np.random.default_rng(SEED)
    black = black_of(raw.pixels)
    for patch in PATCHES:
        light = patch.rate_e_s * raw.exposure_s
        noisy = rng.poisson(light, (SIDE + 8, SIDE + 8)) + rng.normal(0.0, 2.0, (SIDE + 8,) * 2)
        noisy += light - cell_means(noisy)
        pixels[patch.where(4)] = np.clip(np.round(noisy / raw.egain + black), 0, raw.saturation)
    return Exposure(
        pixels, "RGGB", when, raw.exposure_s, gain=0.0, saturation_adu=raw.saturation,
        egain=raw.egain,
    )  # fmt: skip


def cell_means(noisy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of each Bayer colour of each cell, at every pixel."""
    n = noisy.shape[0] // CELL
    cells = noisy.reshape(n, CELL // 2, 2, n, CELL // 2, 2)
    means = cells.mean(axis=(1, 4), keepdims=True)
    return np.broadcast_to(means, cells.shape).reshape(noisy.shape)


if __name__ == "__main__":
    sys.exit(main())
