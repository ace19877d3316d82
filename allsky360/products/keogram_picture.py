"""The keogram as people look at it: time along, altitude up, hours, twilight and Moon beside it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import cv2
import numpy as np
from numpy.typing import NDArray

from allsky360.model import Site
from allsky360.overlay.text import width_px
from allsky360.products.canvas import INK, QUIET, Canvas, Colour, hatch
from allsky360.products.time_axis import even_columns
from allsky360.sky.ephemeris import sun_moon_track
from allsky360.sky.night import night_times

Float = NDArray[np.float64]

LEAST_WIDTH, MOST_WIDTH = 1200, 4096
LEAST_HEIGHT, MOST_HEIGHT = 480, 1080
_COMPASS = ("N", "NE", "E", "SE", "S", "SW", "W", "NW")

#: Sun altitude from which each colour of the strip holds, lowest first.
SUN_COLOURS: tuple[tuple[float, Colour], ...] = (
    (-90.0, (20, 24, 44)),
    (-18.0, (34, 44, 84)),
    (-12.0, (58, 78, 138)),
    (-6.0, (118, 128, 178)),
    (-0.83, (236, 190, 120)),
)
MARK: Colour = (250, 220, 120)
SHADOW: Colour = (40, 34, 10)
MOON_COLOUR: Colour = (206, 206, 190)


@dataclass(frozen=True, eq=False)
class KeogramData:
    """What a keogram is drawn from.

    Attributes
    ----------
    columns
        ``(N, rows, 3)`` uint8 in order of time.
    times_s, exposures_s
        Middles (seconds since 1970) and lengths, ``(N,)``.
    azimuth_deg, lowest_altitude_deg
        The line; azimuth is that of the top.
    by_lens
        Whether the line went through a lens model; without one there is no scale of altitudes.
    """

    columns: NDArray[np.uint8]
    times_s: Float
    exposures_s: Float
    azimuth_deg: float
    lowest_altitude_deg: float
    by_lens: bool


def compass(azimuth_deg: float) -> str:
    """Name of the nearest of eight points, or degrees where none is near."""
    turn = azimuth_deg % 360.0
    nearest = round(turn / 45.0) % 8
    near = abs((turn - nearest * 45.0 + 180.0) % 360.0 - 180.0) < 0.5
    return _COMPASS[nearest] if near else f"{turn:.0f}°"


def even_instants(times_s: Float) -> Float:
    """Return the instants of the picture's columns, at least one a frame where there is room."""
    span = float(times_s[-1] - times_s[0]) or 60.0
    step = float(np.median(np.diff(times_s))) if len(times_s) > 1 else 10.0
    width = int(np.clip(round(span / max(step, 0.1)) + 1, LEAST_WIDTH, MOST_WIDTH))
    return np.linspace(times_s[0], times_s[0] + span, width)


def draw_keogram(
    data: KeogramData, *, title: str, site: Site | None, night: date
) -> NDArray[np.uint8]:
    """Draw it.

    Returns
    -------
    ndarray
        ``(H, W, 3)`` uint8.
    """
    instants = even_instants(data.times_s)
    picture, gap = even_columns(data.columns, data.times_s, data.exposures_s, instants)
    rows = int(np.clip(picture.shape[0], LEAST_HEIGHT, MOST_HEIGHT))
    if rows != picture.shape[0]:
        how = cv2.INTER_AREA if rows < picture.shape[0] else cv2.INTER_LINEAR
        picture = np.asarray(cv2.resize(picture, (len(instants), rows), interpolation=how))
    picture = np.where(gap[None, :, None], hatch(rows, len(instants)), picture)

    unit = rows / 40.0 if rows > 640 else 16.0
    small = round(0.72 * unit)
    left, top, right = round(2.6 * unit), round(3.4 * unit), round(0.8 * unit)
    canvas = Canvas(left + len(instants) + right, top + rows + round(3.2 * unit))
    canvas.paste(picture.astype(np.uint8), left, top)
    canvas.text(left, 0.9 * unit, title, unit, anchor="lm", bold=True)
    _sky_strip(canvas, instants, site, left, top, unit)
    _hours(canvas, instants, left, top + rows, unit)
    if site is not None:
        _twilight(canvas, instants, site, night, (left, top, rows), small)
    _altitudes(canvas, data, (left, top, rows), unit)
    return canvas.pixels()


def _sky_strip(
    canvas: Canvas, instants: Float, site: Site | None, left: int, top: int, unit: float
) -> None:
    """Draw a band above the picture: the Sun's depth as colour, a line while the Moon is up."""
    if site is None:
        return
    whens = [
        datetime.fromtimestamp(float(t), UTC) for t in instants[:: max(1, len(instants) // 600)]
    ]
    track = sun_moon_track(site, whens)
    x = np.interp([w.timestamp() for w in whens], instants, np.arange(len(instants)))
    edges = np.append(x, len(instants))
    y0, y1 = top - 0.62 * unit, top - 0.14 * unit
    for k in range(len(whens)):
        colour = next(c for low, c in reversed(SUN_COLOURS) if track.sun_altitude_deg[k] >= low)
        canvas.box(left + round(edges[k]), y0, left + round(edges[k + 1]), y1, colour)
        if track.moon_altitude_deg[k] > 0 and track.moon_illumination[k] > 0.02:
            thick = max(2.0, 0.36 * unit * float(track.moon_illumination[k]))
            canvas.box(
                left + round(edges[k]), y0 - thick - 2, left + round(edges[k + 1]), y0 - 2,
                MOON_COLOUR,
            )  # fmt: skip


def _hours(canvas: Canvas, instants: Float, left: int, bottom: int, unit: float) -> None:
    first, last = float(instants[0]), float(instants[-1])
    scale = (len(instants) - 1) / (last - first)
    room = 3.2 * unit / scale  # seconds that a label takes
    step = next(
        (s for s in (10, 30, 60, 120, 300, 900, 1800, 3600, 7200, 10800, 21600) if s >= room), 43200
    )
    tick = np.ceil(first / step) * step
    while tick <= last:
        x = left + (tick - first) * scale
        canvas.line(x, bottom, x, bottom + 0.4 * unit, INK, 2)
        label = f"{datetime.fromtimestamp(tick, UTC):{'%H:%M' if step >= 60 else '%H:%M:%S'}}"
        canvas.text(x, bottom + 0.6 * unit, label, 0.85 * unit, anchor="ma")
        tick += step
    begin = datetime.fromtimestamp(first, UTC)
    canvas.text(
        left, bottom + 2.4 * unit, f"UTC, from {begin:%Y-%m-%d %H:%M}", 0.72 * unit,
        anchor="lm", colour=QUIET,
    )  # fmt: skip


def _twilight(
    canvas: Canvas,
    instants: Float,
    site: Site,
    night: date,
    place: tuple[int, int, int],
    size: float,
) -> None:
    """Draw dashed lines where the Sun sets, rises and passes -6, -12, -18 degrees."""
    left, top, rows = place
    times = night_times(site, night)
    first, last = float(instants[0]), float(instants[-1])
    scale = (len(instants) - 1) / (last - first)
    marks = [
        (when.timestamp(), label)
        for label, what in (
            ("Sun", times.sun),
            ("−6°", times.civil),
            ("−12°", times.nautical),
            ("−18°", times.astronomical),
        )
        for when in (what.begins, what.ends)
        if when is not None and first < when.timestamp() < last
    ]
    ends: list[float] = []  # where the last label of each line ends, from the bottom up
    for at, label in sorted(marks):
        x = left + (at - first) * scale
        for y in range(top, top + rows, 16):
            end = min(y + 7, top + rows)
            canvas.line(x + 1, y, x + 1, end, SHADOW, 1)  # seen on a bright sky too
            canvas.line(x, y, x, end, MARK, 1)
        wide = width_px(label, size, False) + 0.6 * size
        x = min(x, left + len(instants) - wide)  # the last one stays on the picture
        level = next((k for k, end in enumerate(ends) if x >= end), len(ends))
        ends[level : level + 1] = [x + wide]
        y = top + rows - 6 - round(1.2 * size * level)
        canvas.text(x + 5, y + 1, label, size, anchor="ls", colour=SHADOW)
        canvas.text(x + 4, y, label, size, anchor="ls", colour=MARK)


def _altitudes(canvas: Canvas, data: KeogramData, place: tuple[int, int, int], unit: float) -> None:
    left, top, rows = place
    if not data.by_lens:
        canvas.text(left - 6, top + 0.5 * rows, "px", 0.72 * unit, anchor="rm", colour=QUIET)
        return
    reach = 90.0 - data.lowest_altitude_deg
    for altitude in (0, 30, 60):
        for side in (1, -1):
            angle = side * (90.0 - altitude)
            if abs(angle) > reach + 1e-9:
                continue
            y = top + rows * 0.5 * (1 - angle / reach)
            canvas.line(left - 0.3 * unit, y, left, y, INK, 2)
            y = min(max(y, top + 0.4 * unit), top + rows - 0.4 * unit)
            if altitude:
                canvas.text(
                    left - 0.45 * unit, y, f"{altitude}°", 0.72 * unit, anchor="rm", colour=QUIET
                )
    y = top + 0.5 * rows
    canvas.line(left - 0.3 * unit, y, left, y, INK, 2)
    canvas.text(left - 0.45 * unit, y, "zenith", 0.62 * unit, anchor="rm", colour=QUIET)
    for where, at in (
        (data.azimuth_deg, top + 0.6 * unit),
        (data.azimuth_deg + 180.0, top + rows - 0.6 * unit),
    ):
        canvas.text(left - 0.45 * unit, at, compass(where), unit, anchor="rm", bold=True)


def title_of(camera: str, site: Site | None, night: date, what: str = "Keogram") -> str:
    """Return the line above a picture."""
    where = site.name if site is not None and site.name else camera
    return f"{what}  ·  {where}  ·  night of {night.isoformat()} to {night + timedelta(days=1)}"


def long_title(camera: str, site: Site | None, first: date, last: date) -> str:
    """Return the line above a keogram of many nights."""
    where = site.name if site is not None and site.name else camera
    return f"Keogram  ·  {where}  ·  nights of {first} to {last}"
