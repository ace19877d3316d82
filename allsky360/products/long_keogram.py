"""The keogram of weeks and years: a column a night, time of day downward, the sky's colour.

Made of the columns that the nights' keograms keep (``keogram.npz``): the mean of what lies within
``within_deg`` of the zenith. Nights run from local mean noon to noon, so that midnight is in the
middle and seasons show as the dark band's width; the Moon draws its slanting stripes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allsky360.archive import Archive
from allsky360.archive.products import product_file, read_product
from allsky360.errors import AllskyError
from allsky360.model import Site
from allsky360.products.canvas import INK, QUIET, Canvas, hatch
from allsky360.products.time_axis import even_columns
from allsky360.sky.night import night_times

log = logging.getLogger(__name__)

BINS = 720
"""Rows: one of two minutes."""
LEAST_WIDTH, MOST_WIDTH = 720, 4096


class NoKeograms(AllskyError):
    """No night of the range has a keogram."""


@dataclass(frozen=True, eq=False)
class NightColumn:
    """One night.

    Attributes
    ----------
    colours
        ``(BINS, 3)`` uint8.
    gap
        ``(BINS,)`` bool: nothing was taken.
    """

    colours: NDArray[np.uint8]
    gap: NDArray[np.bool_]


def night_column(
    data: Mapping[str, NDArray[Any]], begins: datetime, within_deg: float = 45.0
) -> NightColumn:
    """Return a night's column from what its keogram keeps.

    Parameters
    ----------
    data
        ``columns`` (N, rows, 3), ``time`` (N,) datetime64, ``exposure_s``, ``altitude_deg`` (rows,)
        (NaN where there was no lens: then the middle half of the column counts).
    begins
        The noon at which the night begins.
    within_deg
        Distance from the zenith.
    """
    altitude = np.asarray(data["altitude_deg"], np.float64)
    rows = len(altitude)
    if np.isfinite(altitude).any():
        inside = altitude >= 90.0 - within_deg
    else:
        inside = np.abs(np.arange(rows) + 0.5 - rows / 2) < rows / 4
    means = np.round(data["columns"][:, inside].mean(axis=1)).astype(np.uint8)[:, None, :]
    since = data["time"].astype("datetime64[us]").astype(np.int64) * 1e-6 - begins.timestamp()
    times = np.asarray(since, np.float64)
    instants = (np.arange(BINS) + 0.5) * 86400.0 / BINS
    picture, gap = even_columns(means, times, np.asarray(data["exposure_s"], np.float64), instants)
    return NightColumn(picture[0], gap)


def collect(
    archive: Archive,
    camera: str,
    first: date,
    last: date,
    *,
    within_deg: float = 45.0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[date, NightColumn]:
    """Return the columns of all nights of a range that have a keogram; damaged ones are left out.

    Raises
    ------
    NoKeograms
        There is none.
    """
    slug = archive.slug(camera)
    nights = [n for n in archive.nights(slug) if first <= n <= last]
    found: dict[date, NightColumn] = {}
    for done, night in enumerate(nights):
        column = _stored(archive, slug, night, within_deg)
        if column is not None:
            found[night] = column
        if progress is not None:
            progress(done + 1, len(nights))
    if not found:
        raise NoKeograms(
            f"no night of {camera} from {first} to {last} has a keogram.",
            mend="Make them with 'allsky360 products make --only keogram'.",
        )
    return found


def _stored(archive: Archive, camera: str, night: date, within_deg: float) -> NightColumn | None:
    record = read_product(archive.root, camera, night, archive.version(camera, night), "keogram")
    site = archive.site(camera, night)
    if record is None or site is None:
        return None
    path = product_file(archive.root, record, "keogram.npz")
    if path is None:
        return None
    try:
        with np.load(path) as data:
            return night_column(data, site.noon_utc(night), within_deg)
    except (OSError, ValueError, KeyError) as error:
        log.warning("the keogram of %s is left out: %r", night, error)
        return None


def draw_long_keogram(
    columns: Mapping[date, NightColumn], *, title: str, site: Site | None
) -> NDArray[np.uint8]:
    """Draw it: nights along, from noon above to noon below.

    Returns
    -------
    ndarray
        ``(H, W, 3)`` uint8.
    """
    first, last = min(columns), max(columns)
    nights = (last - first).days + 1
    each = int(np.clip(LEAST_WIDTH // nights, 1, 40))
    picture = np.empty((BINS, nights * each, 3), np.uint8)
    blank = hatch(BINS, nights * each)
    for k in range(nights):
        part = slice(k * each, (k + 1) * each)
        column = columns.get(first + timedelta(days=k))
        if column is None:
            picture[:, part] = blank[:, part]
        else:
            picture[:, part] = np.where(
                column.gap[:, None, None], blank[:, part], column.colours[:, None, :]
            )
    if nights > MOST_WIDTH:  # years: several nights a pixel
        take = np.linspace(0, nights - 1, MOST_WIDTH).round().astype(int)
        picture = picture[:, take]
    width = picture.shape[1]
    scale = width / nights
    left, top, unit = 64, 52, 16
    canvas = Canvas(left + max(width, 360) + 20, top + BINS + 58)
    canvas.paste(picture, left, top)
    canvas.text(left, 24, title, 17, anchor="lm", bold=True)
    _hours(canvas, site, left, top, unit)
    _dates(canvas, first, nights, scale, (left, top + BINS, unit))
    if site is not None:
        _darkness(canvas, site, first, nights, scale, (left, top))
    return canvas.pixels()


def _hours(canvas: Canvas, site: Site | None, left: int, top: int, unit: int) -> None:
    for hour in range(0, 25, 3):
        y = top + hour / 24 * BINS
        canvas.line(left - 6, y, left, y, INK, 2)
        label = f"{(12 + hour) % 24:02d}"
        canvas.text(left - 10, y, label, 0.85 * unit, anchor="rm", colour=QUIET)
    words = "local mean time" + ("" if site is None else f", UTC {site.longitude_deg / 15:+.1f} h")
    canvas.text(left, top + BINS + 46, words, 0.75 * unit, anchor="lm", colour=QUIET)


def _dates(
    canvas: Canvas, first: date, nights: int, scale: float, place: tuple[int, int, int]
) -> None:
    left, bottom, unit = place
    last_x = -1e9
    for k in range(nights):
        night = first + timedelta(days=k)
        start_of_month = night.day == 1
        if not (start_of_month or k == 0 or (nights <= 62 and night.weekday() == 0)):
            continue
        x = left + (k + 0.5) * scale
        canvas.line(x, bottom, x, bottom + (8 if start_of_month else 5), INK, 2)
        if x - last_x < 5.5 * unit:
            continue
        canvas.text(x, bottom + 12, night.isoformat(), 0.75 * unit, anchor="ma")
        last_x = x


def _darkness(
    canvas: Canvas, site: Site, first: date, nights: int, scale: float, place: tuple[int, int]
) -> None:
    """Draw where the Sun passes -18 degrees, through the seasons."""
    left, top = place
    step = max(1, nights // 60)
    steps = range(0, nights, step)
    times = [night_times(site, first + timedelta(days=k)) for k in steps]
    for side in ("begins", "ends"):
        line: list[tuple[float, float]] = []
        for k, night in zip(steps, times, strict=True):
            when = getattr(night.astronomical, side)
            if when is None:  # white nights
                _dashed(canvas, line)
                line = []
                continue
            share = (when - night.begins).total_seconds() / 86400.0
            line.append((left + (k + 0.5) * scale, top + share * BINS))
        _dashed(canvas, line)


def _dashed(canvas: Canvas, line: list[tuple[float, float]]) -> None:
    for (x0, y0), (x1, y1) in zip(line[::2], line[1::2], strict=False):
        canvas.line(x0, y0, x1, y1, (250, 220, 120), 2)


def write_long_keogram(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write it as PNG or JPEG, by the file's ending."""
    from PIL import Image

    try:
        Image.fromarray(picture).save(path)
    except (OSError, ValueError) as error:
        raise AllskyError(f"{path} cannot be written: {error}.", mend="End it .png.") from error
