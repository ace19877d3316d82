"""The night's course as one figure: sky, clouds, stars, exposure, temperature over time."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from allsky360.report.gather import Float, NightFacts

INK, MUTED, PAPER, PANEL = "#cdd3de", "#8b93a3", "#0b0e14", "#11151f"
LINE, SECOND, MOON, GAP = "#7aa2f7", "#e0af68", "#f4e9b0", "#f7768e"
TWILIGHT = (("sun", "#2a3550"), ("civil", "#1f2940"), ("nautical", "#182033"))
"""Shading of the day, and down to which boundary each step of twilight reaches."""

NIGHT = "#0c101a"


@dataclass(frozen=True)
class Panel:
    """One plot: which columns, how it is labelled and scaled."""

    label: str
    columns: tuple[str, ...]
    inverted: bool = False
    log: bool = False
    limits: tuple[float, float] | None = None
    names: tuple[str, ...] = ()


PANELS = (
    Panel("zenith sky\nmag/arcsec²", ("sky_brightness_mag_arcsec2",)),
    Panel("cloudy share", ("cloud_fraction",), limits=(0.0, 1.0)),
    Panel("stars", ("stars_found", "stars_detected"), names=("found", "in the catalogue")),
    Panel("faintest star\nmag", ("limiting_mag",)),
    Panel("exposure, s", ("exposure_s",), log=True),
    Panel("gain", ("gain",)),
    Panel("sensor, °C", ("temperature_c",)),
)


def night_plot(facts: NightFacts) -> bytes:
    """Draw the panels that have data over a shared time axis; return a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.dates import DateFormatter
    from matplotlib.figure import Figure

    panels = [p for p in PANELS if any(np.isfinite(facts.column(c)).any() for c in p.columns)]
    rows = len(panels)
    figure = Figure(figsize=(11.0, 1.0 + 1.45 * rows), dpi=110, facecolor=PAPER)
    FigureCanvasAgg(figure)
    axes = np.atleast_1d(figure.subplots(rows, 1, sharex=True))
    order = np.argsort(facts.time)
    time, begins, ends = facts.time[order], *_window(facts)
    for axis, panel in zip(axes, panels, strict=True):
        axis.set_facecolor(NIGHT)
        _shade(axis, facts)
        for number, column in enumerate(panel.columns):
            values = facts.column(column)[order]
            if not np.isfinite(values).any():
                continue
            sigma = facts.columns.get(f"{column}_sigma")
            colour = (LINE, SECOND)[number % 2]
            if sigma is not None and not panel.log:
                axis.fill_between(
                    time,
                    values - sigma[order],
                    values + sigma[order],
                    color=colour,
                    alpha=0.2,
                    lw=0,
                )
            name = panel.names[number] if panel.names else None
            axis.plot(*_broken(time, values), color=colour, lw=1.2, marker=".", ms=2.5, label=name)
        if panel.names and len(panel.columns) > 1:
            axis.legend(loc="upper right", fontsize=8, frameon=False, labelcolor=INK)
        if panel.log:
            axis.set_yscale("log")
        if panel.limits:
            axis.set_ylim(panel.limits[0] - 0.03, panel.limits[1] + 0.03)
        _dress(axis, panel.label)
    axes[-1].set_xlim(begins, ends)
    axes[-1].xaxis.set_major_formatter(DateFormatter("%H:%M"))
    axes[-1].set_xlabel("UTC", color=MUTED, fontsize=9)
    figure.align_ylabels(list(axes))
    figure.tight_layout(h_pad=0.4)
    out = io.BytesIO()
    figure.savefig(out, format="png", facecolor=PAPER)
    return out.getvalue()


def _window(facts: NightFacts) -> tuple[np.datetime64, np.datetime64]:
    first, last = facts.time.min(), facts.time.max()
    margin = max((last - first) // 50, np.timedelta64(60, "s"))
    return first - margin, last + margin


def _broken(time: NDArray[np.datetime64], values: Float) -> tuple[NDArray[np.datetime64], Float]:
    """Break the line where frames lack, instead of drawing across."""
    if len(time) < 3:
        return time, values
    step = np.diff(time).astype(np.int64)
    at = np.flatnonzero(step > 4 * max(float(np.median(step)), 1.0)) + 1
    return np.insert(time, at, time[at]), np.insert(values, at, np.nan)


def _shade(axis: object, facts: NightFacts) -> None:
    """Shade the day and each step of twilight, mark the Moon and the gaps."""
    span: Callable[..., object] = axis.axvspan  # type: ignore[attr-defined]
    times = facts.times
    for name, colour in TWILIGHT:
        boundary = getattr(times, name)
        for begins, ends in _outside(boundary.begins, boundary.ends, boundary.course, facts):
            span(_naive(begins), _naive(ends), color=colour, lw=0, zorder=0)
    for gap in facts.gaps:
        span(_naive(gap.begins), _naive(gap.ends), color=GAP, alpha=0.13, lw=0, zorder=1)


def _outside(
    begins: datetime | None, ends: datetime | None, course: str, facts: NightFacts
) -> Sequence[tuple[datetime, datetime]]:
    """Return where the Sun is above a boundary."""
    whole = (facts.times.begins, facts.times.ends)
    if course == "always above":
        return [whole]
    if course == "always below":
        return []
    found = []
    if begins is not None:
        found.append((whole[0], begins))
    if ends is not None:
        found.append((ends, whole[1]))
    return found


def _dress(axis: object, label: str) -> None:
    a = axis  # a matplotlib Axes, which has no types here
    a.set_ylabel(label, color=INK, fontsize=9)  # type: ignore[attr-defined]
    a.tick_params(colors=MUTED, labelsize=8)  # type: ignore[attr-defined]
    a.grid(color="#ffffff", alpha=0.06, lw=0.8)  # type: ignore[attr-defined]
    for spine in a.spines.values():  # type: ignore[attr-defined]
        spine.set_color("#242b3a")


def _naive(when: datetime) -> datetime:
    return when.replace(tzinfo=None)
