"""Random lenses and the star lists they would give: truth for the solver's tests."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from allsky360.model import Site
from allsky360.sky.catalogue import apparent_altaz, load_catalogue
from allsky360.sky.lens import LensError, LensModel

Float = NDArray[np.float64]
PROJECTIONS = ("equidistant", "equisolid", "stereographic", "orthographic")


@dataclass(frozen=True, eq=False)
class Stars:
    x: Float
    y: Float
    flux: Float


def random_lens(rng: np.random.Generator, max_tilt_deg: float = 3.0) -> LensModel:
    """Any turn, mirrored or not, 1.5 to 5 arcmin a pixel, decentred by up to a tenth."""
    while True:
        height = int(rng.integers(900, 3000))
        width = int(height * rng.uniform(1.0, 1.5))
        focal = 3437.75 / np.exp(rng.uniform(np.log(1.5), np.log(5.0)))
        if not 0.25 < focal / height < 0.8:
            continue
        tilt, toward = rng.uniform(0, max_tilt_deg), rng.uniform(0, 2 * np.pi)
        values = {
            "width": width,
            "height": height,
            "cx": (width - 1) / 2 + rng.uniform(-0.1, 0.1) * width,
            "cy": (height - 1) / 2 + rng.uniform(-0.1, 0.1) * height,
            "focal_px": focal,
            "projection": rng.choice(PROJECTIONS),
            "k3": rng.uniform(-0.05, 0.05),
            "rotation_deg": rng.uniform(0, 360),
            "tilt_north_deg": tilt * np.cos(toward),
            "tilt_east_deg": tilt * np.sin(toward),
            "parity": int(rng.choice([-1, 1])),
        }
        for field in (92.0, 85.0, 78.0, 70.0):
            try:
                return LensModel(max_theta_deg=field, **values)
            except LensError:
                continue


def random_place(rng: np.random.Generator) -> tuple[Site, datetime]:
    site = Site("somewhere", float(rng.uniform(-55, 60)), float(rng.uniform(-180, 180)), 500.0)
    return site, datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=float(rng.uniform(0, 1000)))


def found_stars(
    lens: LensModel,
    site: Site,
    when: datetime,
    rng: np.random.Generator,
    *,
    count: int = 500,
    noise_px: float = 0.2,
    dropped: float = 0.2,
    false: float = 0.2,
) -> Stars:
    """What a star finder would list: with extinction, noise, missing and false stars."""
    catalogue = load_catalogue()
    altitude, azimuth = apparent_altaz(catalogue, site, when)
    x, y, seen = lens.project(altitude, azimuth)
    airmass = 1 / np.sin(np.radians(np.maximum(altitude, 3)))
    mag = catalogue.v_mag + 0.25 * airmass + rng.normal(0, 0.3, len(catalogue))
    index = np.flatnonzero(seen & (altitude > 2))
    index = index[np.argsort(mag[index])][:count]
    index = index[rng.random(index.size) > dropped]
    wrong = int(false * index.size)
    shift = rng.normal(0, noise_px, (2, index.size))
    all_x = np.concatenate([x[index] + shift[0], rng.uniform(0, lens.width, wrong)])
    all_y = np.concatenate([y[index] + shift[1], rng.uniform(0, lens.height, wrong)])
    all_mag = np.concatenate([mag[index], rng.choice(mag[index], wrong)])
    order = np.argsort(all_mag)
    return Stars(all_x[order], all_y[order], 10 ** (-0.4 * all_mag[order]))


def false_stars(rng: np.random.Generator, count: int, width: int, height: int) -> Stars:
    x, y = rng.uniform(0, width, count), rng.uniform(0, height, count)
    return Stars(x, y, 10 ** rng.uniform(0, 2, count))


def error_px(a: LensModel, b: LensModel, lowest_deg: float = 10.0) -> Float:
    """Distance between the places two lenses give a grid of directions, pixels."""
    altitude, azimuth = np.meshgrid(np.arange(lowest_deg, 90.0, 4.0), np.arange(0, 360, 15.0))
    ax, ay, seen = a.project(altitude, azimuth)
    bx, by, _ = b.project(altitude, azimuth)
    return np.hypot(ax - bx, ay - by)[seen]
