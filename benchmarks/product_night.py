"""A night of pictures at full size, drawn fast: the catalogue's stars through a lens with tilt.

Not the simulator's sensor: its 10 Mpix frames with the whole chain would take an hour for a night.
Here stars stand where the catalogue, refraction and the lens put them at each instant, as Gaussians
over a sky with twilight, a light dome, drifting clouds in one hour, noise and a gap; the raw frames
are four pixels wide, since products read pictures. A bright "aircraft" crosses every 50th frame.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from allsky360.archive import Archive, FrameRef, ProcessedWriter, RawWriter
from allsky360.imaging.encode import encode_jpeg
from allsky360.imaging.parameters import ChainParameters
from allsky360.lenses import lens_folder
from allsky360.model import Bracket, Exposure, Site
from allsky360.processing.records import plain
from allsky360.products.light import codes_of_light
from allsky360.sky.catalogue import apparent_altaz, load_catalogue
from allsky360.sky.ephemeris import sun_moon
from allsky360.sky.lens import LensModel, fisheye
from allsky360.sky.lens_file import LensFile, write_lens

SITE = Site("La Palma", 28.7606, -17.8816, 2326.0)
CAMERA = "cam"
NIGHT = date(2026, 11, 10)
BEGIN = datetime.fromisoformat("2026-11-10T18:05:00+00:00")
GAP = (330, 352)
"""Frames that the camera missed."""
CLOUDY = (440, 480)
EXPOSURE_S = 20.0
CODES = 4096
TINT = (0.92, 1.0, 1.16)
"""Light of red, green and blue for the grey that is drawn."""


@dataclass(frozen=True)
class Plan:
    """A night: size of the pictures, time between frames."""

    width: int = 2280
    height: int = 2180
    cadence_s: float = 71.0

    def lens(self) -> LensModel:
        """Return the camera's lens."""
        return fisheye(
            self.width, self.height, rotation_deg=24.0, tilt_north_deg=1.6, tilt_east_deg=-1.1
        )

    def start(self, number: int) -> datetime:
        """Return when frame ``number`` of the plan starts (gaps count)."""
        return BEGIN + timedelta(seconds=self.cadence_s * number)


class Painter:
    """Draws the plan's pictures."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.lens = plan, plan.lens()
        self.stars = load_catalogue(5.8)
        step = 8
        x, y = np.meshgrid(np.arange(0, plan.width, step), np.arange(0, plan.height, step))
        altitude, azimuth = self.lens.unproject(x, y)
        size = (plan.width, plan.height)
        low = np.nan_to_num(np.clip(1 - altitude / 90.0, 0, 1), nan=0.0)
        dome = np.exp(-((((azimuth - 75 + 180) % 360 - 180) / 45.0) ** 2)) * low**3
        self.inside = cv2.resize(
            np.where(altitude > 0, 1.0, 0.0).astype(np.float32),
            size,
            interpolation=cv2.INTER_LINEAR,
        )
        self.glow = cv2.resize(
            (0.011 * (1 + 0.8 * low**2) + 0.02 * np.nan_to_num(dome)).astype(np.float32), size
        )
        west = np.cos(np.radians(azimuth - 250)) * low
        east = np.cos(np.radians(azimuth - 110)) * low
        self.west, self.east = (
            cv2.resize(np.nan_to_num(w + 1.0).astype(np.float32), size) for w in (west, east)
        )
        rng = np.random.default_rng(1)
        self.noise = rng.standard_normal((plan.height + 64, plan.width + 64), np.float32)
        cloud = rng.standard_normal((48, 48)).astype(np.float32)
        cloud = cv2.resize(cv2.GaussianBlur(cloud, (0, 0), 1.2), (2 * plan.width, 2 * plan.height))
        self.cloud = np.clip(cloud * 4.0, 0, 1)
        levels = (np.arange(CODES) / (CODES - 1.0)) ** 2
        self.tables = np.stack(
            [codes_of_light((levels * tint).astype(np.float32)) for tint in TINT], axis=1
        )

    def paint(self, number: int) -> tuple[NDArray[np.uint8], dict[str, float]]:
        """Return a picture and what measuring it would say."""
        plan = self.plan
        start = plan.start(number)
        middle = start + timedelta(seconds=EXPOSURE_S / 2)
        sky = sun_moon(SITE, middle)
        rng = np.random.default_rng(number)
        light = self.glow.copy()
        twilight = 0.35 * 10 ** (-0.32 * np.clip(-5.5 - sky.sun_altitude_deg, -0.8, 40.0))
        light += np.float32(twilight) * (self.west if number < 300 else self.east)
        veil = None
        if CLOUDY[0] <= number < CLOUDY[1]:
            shift = int(14.0 * (number - CLOUDY[0]))
            veil = self.cloud[shift : shift + plan.height, shift : shift + plan.width]
            light += np.float32(0.05) * veil
        self._stars(light, middle, veil)
        dy, dx = rng.integers(0, 64, 2)
        light += self.noise[dy : dy + plan.height, dx : dx + plan.width] * np.float32(0.0022)
        light *= self.inside
        if number % 50 == 25:
            a, b = rng.uniform(0.2, 0.8, 2) * plan.width
            cv2.line(light, (int(a), 0), (int(b), plan.height), 0.9, 3, cv2.LINE_AA)
        np.clip(light, 0.0, 1.0, out=light)
        index = (cv2.sqrt(light) * np.float32(CODES - 1)).astype(np.uint16)
        picture = self.tables[index]
        scalars = {
            "sun_altitude_deg": sky.sun_altitude_deg,
            "moon_altitude_deg": sky.moon_altitude_deg,
            "moon_illumination": sky.moon_illumination,
            "cloud_fraction": 0.03 if veil is None else float(veil.mean()),
        }
        return picture, scalars

    def _stars(self, light: NDArray[np.float32], middle: datetime, veil: NDArray | None) -> None:
        altitude, azimuth = apparent_altaz(self.stars, SITE, middle)
        x, y, visible = self.lens.project(altitude, azimuth)
        seen = np.flatnonzero(visible & (altitude > 1.0))
        sigma, reach = 1.05, 5
        peak = 0.8 * 10 ** (-0.4 * (self.stars.v_mag - 2.0))
        peak = np.minimum(
            peak * 10 ** (-0.4 * 0.16 / np.sin(np.radians(np.maximum(altitude, 3)))), 6
        )
        h, w = light.shape
        around = np.arange(-reach, reach + 1)
        for k in seen:
            cx, cy = round(float(x[k])), round(float(y[k]))
            if not (reach <= cx < w - reach and reach <= cy < h - reach):
                continue
            gx = np.exp(-0.5 * ((around + cx - x[k]) / sigma) ** 2)
            gy = np.exp(-0.5 * ((around + cy - y[k]) / sigma) ** 2)
            dim = 1.0 if veil is None else 1.0 - 0.9 * float(veil[cy, cx])
            light[cy - reach : cy + reach + 1, cx - reach : cx + reach + 1] += (
                (peak[k] * dim) * gy[:, None] * gx
            ).astype(np.float32)


def record_of(plan: Plan, start: datetime) -> dict[str, object]:
    """Return the part of a frame's record that products read."""
    parameters = ChainParameters(profiles={"clear": (("stretch", {}),)})
    exposure = {
        "start": start.isoformat(), "exposure_s": EXPOSURE_S, "shape": [plan.height, plan.width],
    }  # fmt: skip
    steps = [{"name": "tone", "version": 1, "parameters": {"profiles": {"clear": 1.0}}}]
    return dict(plain({"exposures": [exposure], "parameters": asdict(parameters), "steps": steps}))


def write_lens_file(root: Path, lens: LensModel) -> None:
    """Write the lens as the camera's only lens file."""
    folder = lens_folder(root, CAMERA)
    folder.mkdir(parents=True, exist_ok=True)
    write_lens(folder / "0001.json", LensFile(lens, CAMERA, 1, BEGIN, SITE, (BEGIN,)))


def build(root: Path, plan: Plan, frames: int, limit: int) -> int:
    """Add up to ``limit`` frames to the night, until it has ``frames``; return how many it has."""
    write_lens_file(root, plan.lens())
    painter = Painter(plan)
    numbers = [n for n in range(frames + GAP[1] - GAP[0]) if not GAP[0] <= n < GAP[1]]
    archive = Archive(root)
    have = archive.count(CAMERA, NIGHT)
    raw, writer = RawWriter(root, CAMERA, SITE), ProcessedWriter(root, CAMERA, NIGHT)
    done = have - len(archive.unprocessed(CAMERA, NIGHT)) if have else 0
    for index in range(done, min(frames, done + limit)):
        number = numbers[index]
        start = plan.start(number)
        if index >= have:
            pixels = np.zeros((4, 4), np.uint16)
            raw.append(Bracket((Exposure(pixels, None, start, EXPOSURE_S, camera=CAMERA),)), {})
        picture, scalars = painter.paint(number)
        writer.write(
            FrameRef(CAMERA, NIGHT, index),
            time=start,
            linear=np.zeros((2, 2, 3), np.float32),
            picture_jpeg=encode_jpeg(picture, quality=90),
            scalars=scalars,
            provenance=record_of(plan, start),
            site=SITE,
        )
        done = index + 1
    return done


def main() -> int:
    """Build the night, or go on with it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path)
    parser.add_argument("--frames", type=int, default=640)
    parser.add_argument("--limit", type=int, default=10_000, help="frames drawn in this run")
    parser.add_argument("--size", default="2280x2180")
    arguments = parser.parse_args()
    width, height = (int(n) for n in arguments.size.split("x"))
    done = build(arguments.root, Plan(width, height), arguments.frames, arguments.limit)
    print(f"{done} of {arguments.frames} frames in {arguments.root}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
