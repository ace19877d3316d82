"""Transients between consecutive full-size raw frames of simulated nights, against the truth.

The camera: 3856 x 2180 colour pixels, 5'/px; 20 s exposures every 22 s. Skies: several nights of
the year at La Palma, moonless and moonlit, clear and with thin clouds passing; the sky between two
frames turns, clouds drift, hot pixels stay. What is searched is what the running system searches:
the raw exposure and the raw exposure before it.

False streaks: nothing moves in these skies but stars and clouds; every streak reported is false.
Each rendered pair of frames is read out several times with fresh noise. What is asked is one a
night of 8 h; the rate is given with the limit that holds with 95 % confidence (Poisson).

Recall (the mark is for meteors): meteors, satellites and aircraft are painted on the later frame
before it is read out, at random places, angles, lengths, speeds and brightness, several a frame and
far enough apart. Found is one with a streak whose middle lies within 6 px of its true path. Events
in frames that the search itself holds to be disturbed by broken clouds count apart: such a night is
not clear. An aircraft's peak is its strobe; its steady light is 16 times fainter.

True peak SNR: the light that an event adds to the frame's expected electrons, under a Gaussian as
wide as a star's image, over the photon, dark, read and quantisation noise under the same Gaussian,
at its brightest point; in the one frame, not in the difference of two.

A clear night's worth of pairs: --clear --skies 33 --noises 40 (about half an hour).

Run: python -m benchmarks.transients [--skies 24]      (exit code 1 where a mark is missed)
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from allsky360.model import Exposure, Site
from allsky360.simulator.conditions import SkyConditions
from allsky360.simulator.points import draw_points
from allsky360.simulator.render import electrons_of
from allsky360.simulator.scene import vignetting
from allsky360.simulator.sky import SkySource
from allsky360.simulator.source import ExposureRequest, SensorDescription
from allsky360.simulator.transients import TransientRates
from allsky360.sky.catalogue import altaz_of, apparent_altaz, load_catalogue
from allsky360.sky.streaks import Streak, StreakSearch, find_streaks
from allsky360.sky.streaks_plane import StreakPlane, streak_plane

SITE = Site("La Palma", 28.7606, -17.8816, 2326.0)
SENSOR = replace(SensorDescription(), width=3856, height=2180, pixel_um=3.74)
EXPOSURE_S, CADENCE_S = 20.0, 22.0
NIGHT_FRAMES = int(8 * 3600 / CADENCE_S)
EVENINGS = ("2026-07-13T22:00", "2026-11-13T21:00", "2026-02-15T21:00", "2026-07-28T22:00")
"""Dusk of the nights; the last has a full Moon."""
COVERS = (0.0, 0.05)
RECALL, FALSE_A_NIGHT = 0.90, 1.0
BINS = (3.0, 5.0, 7.0, 10.0, 15.0, 25.0, 50.0, 1000.0)
Float = NDArray[np.float64]
Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Event:
    """An event painted on a frame."""

    kind: str
    x: Float
    y: Float
    snr: float
    length_deg: float
    speed_deg_s: float

    @property
    def length_px(self) -> float:
        """Length of its path."""
        return float(np.hypot(np.diff(self.x), np.diff(self.y)).sum())


def source_of(cover: float, seed: int) -> SkySource:
    """Return the camera under a sky in which nothing moves but stars and clouds."""
    quiet = SkyConditions(cloud_cover=cover, transients=TransientRates(0, 0, 0))
    return SkySource(SITE, SENSOR, seed=seed, conditions=quiet)


def request_at(when: datetime) -> ExposureRequest:
    """Return the request of one frame."""
    return ExposureRequest(when, EXPOSURE_S, gain=100.0, temperature_c=5.0)


def exposure_of(
    source: SkySource, light: Floats, when: datetime, rng: np.random.Generator
) -> Exposure:
    """Read one frame out."""
    request = request_at(when)
    truth = source.model.truth(request)
    return Exposure(
        source.model.read_out(light, request, rng), SENSOR.pattern, when, EXPOSURE_S,
        gain=100.0, saturation_adu=truth["saturation_adu"], egain=truth["egain_e_per_adu"],
    )  # fmt: skip


def skies(count: int, part: int, covers: tuple[float, ...]) -> Iterator[tuple[SkySource, datetime]]:
    """Yield sources and instants, spread over nights; ``part`` shifts the instants."""
    for k, cover in enumerate(covers):
        source = source_of(cover, seed=11 + 7 * k + part)
        each = count // len(covers)
        for n in range(each):
            dusk = datetime.fromisoformat(EVENINGS[n % len(EVENINGS)]).replace(tzinfo=UTC)
            hours = 7.0 * (n // len(EVENINGS) + 0.37 * k + 0.61 * part) / max(each / 4, 1)
            yield source, dusk + timedelta(hours=hours % 7.0)


def paint(
    source: SkySource, light: Floats, when: datetime, rng: np.random.Generator, count: int
) -> list[Event]:
    """Add events to a frame's expected electrons, in place."""
    events: list[Event] = []
    for _ in range(20 * count):
        if len(events) == count:
            break
        kind = str(rng.choice(["meteor", "meteor", "satellite", "aircraft"]))
        event = _event(source, light, when, rng, kind, events)
        if event is not None:
            events.append(event)
    return events


def _event(
    source: SkySource, light: Floats, when: datetime, rng: np.random.Generator, kind: str,
    others: list[Event],
) -> Event | None:  # fmt: skip
    if kind == "meteor":
        length, seconds = rng.uniform(2.0, 20.0), rng.uniform(0.15, 0.7)
        speed = length / seconds
    else:
        speed, seconds = rng.uniform(0.15, 1.1), EXPOSURE_S
        length = speed * seconds
    start, away = _direction(rng, 12.0), _direction(rng, -90.0)
    side = away - start * float(start @ away)
    side /= np.linalg.norm(side)
    share = (np.arange(max(int(length / 0.03), 8)) + 0.5) / max(int(length / 0.03), 8)
    angle = np.radians(length * share)[:, None]
    altitude, azimuth = altaz_of(np.cos(angle) * start + np.sin(angle) * side)
    x, y, visible = source.lens.project(altitude, azimuth)
    if not (visible & (altitude > 10.0)).all() or not _alone(x, y, others):
        return None
    v = np.zeros(share.size)
    if kind == "meteor":  # a light curve that peaks two thirds along its path
        shape = np.where(share < 0.67, share / 0.67, (1 - share) / 0.33)
        v = -2.5 * np.log10(np.maximum(shape, 0.02))
    elif kind == "aircraft":
        v = -3.0 * ((share * seconds + rng.uniform()) % 1.0 < 0.05)
    theta = np.degrees(source.lens.theta(np.hypot(x - source.lens.cx, y - source.lens.cy)))
    bv = {"meteor": 0.1, "satellite": 0.65, "aircraft": 0.9}[kind]
    e = electrons_of(source.view, 1.0, v, np.full(v.size, bv), altitude)
    e *= (vignetting(theta) * seconds / share.size)[:, None]
    box = (
        slice(max(int(y.min()) - 30, 0), int(y.max()) + 31),
        slice(max(int(x.min()) - 30, 0), int(x.max()) + 31),
    )
    box = tuple(slice(s.start // 2 * 2, s.stop) for s in box)  # keeps the mosaic's phase
    alone = np.zeros_like(light[box])
    place = (x - box[1].start, y - box[0].start)
    draw_points(alone, *place, e, source.view.cfa, fwhm_px=source.fwhm_px)
    target = np.exp(rng.uniform(np.log(3.0), np.log(80.0)))
    reached = peak_snr(source, light[box], alone, when, *place)
    for _ in range(3):  # its own photons make noise too
        alone *= np.float32(target / max(reached, 1e-6))
        reached = peak_snr(source, light[box], alone, when, *place)
    light[box] += alone
    return Event(kind, x, y, reached, length, speed)


def _direction(rng: np.random.Generator, lowest_deg: float) -> Float:
    z = rng.uniform(np.sin(np.radians(lowest_deg)), 1.0)
    az = rng.uniform(0, 2 * np.pi)
    flat = np.sqrt(1 - z * z)
    return np.array([flat * np.cos(az), flat * np.sin(az), z])


def _alone(x: Float, y: Float, others: list[Event]) -> bool:
    """Whether a path stays 40 px away from the others'."""
    for other in others:
        away = np.hypot(x[::8, None] - other.x[None, ::8], y[::8, None] - other.y[None, ::8])
        if away.min() < 40.0:
            return False
    return True


def peak_snr(
    source: SkySource, light: Floats, alone: Floats, when: datetime, x: Float, y: Float
) -> float:
    """Return the true peak SNR of light added to a part of a frame; see the top of this file."""
    truth = source.model.truth(request_at(when))
    step = 2.0 ** (16 - SENSOR.bits) * truth["egain_e_per_adu"]
    noise = light + alone + truth["dark_e"] + truth["read_noise_e"] ** 2 + step**2 / 12.0
    sigma = source.fwhm_px / 2.3548
    taps = cv2.getGaussianKernel(2 * round(4 * sigma) + 1, sigma)
    signal = cv2.sepFilter2D(alone, cv2.CV_32F, taps, taps)
    deviation = np.sqrt(cv2.sepFilter2D(noise, cv2.CV_32F, taps**2, taps**2))
    i = np.clip(np.rint(x), 0, light.shape[1] - 1).astype(int)
    j = np.clip(np.rint(y), 0, light.shape[0] - 1).astype(int)
    return float((signal / deviation)[j, i].max())


def away(x: float, y: float, event: Event) -> float:
    """Return the distance of a pixel from an event's path."""
    return float(np.hypot(event.x - x, event.y - y).min())


def match(
    streaks: tuple[Streak, ...], events: list[Event]
) -> tuple[dict[int, Streak], list[Streak]]:
    """Return the streak of each event found, by its place in the list, and what fits none."""
    found: dict[int, Streak] = {}
    false = []
    for streak in streaks:
        middle = len(streak.x) // 2
        near = [away(float(streak.x[middle]), float(streak.y[middle]), e) for e in events]
        if near and min(near) < 6.0:
            found.setdefault(int(np.argmin(near)), streak)
        else:
            false.append(streak)
    return found, false


def end_error(streak: Streak, event: Event) -> float:
    """Return the mean distance of the two ends from the true ones, pixels."""
    a = np.array([[streak.x[0], streak.y[0]], [streak.x[-1], streak.y[-1]]])
    b = np.array([[event.x[0], event.y[0]], [event.x[-1], event.y[-1]]])
    same, turned = np.hypot(*(a - b).T).mean(), np.hypot(*(a - b[::-1]).T).mean()
    return float(min(same, turned))


def search(now: StreakPlane, before: StreakPlane, source: SkySource) -> StreakSearch:
    """Search as the running system does, with its lens and the bright stars of the catalogue."""
    catalogue = load_catalogue(6.5)
    altitude, azimuth = apparent_altaz(catalogue, SITE, now.start + 0.5 * (now.end - now.start))
    x, y, visible = source.lens.project(altitude, azimuth)
    return find_streaks(now, before, fwhm_px=2.45, drift_px=1.7, stars=(x[visible], y[visible]))


def main() -> int:
    """Print the tables; 1 where a mark is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--skies", type=int, default=16, help="pairs of frames rendered")
    parser.add_argument("--noises", type=int, default=3, help="readouts of each pair")
    parser.add_argument("--events", type=int, default=8, help="events painted on a frame")
    parser.add_argument("--part", type=int, default=0, help="another number: other skies")
    parser.add_argument("--clear", action="store_true", help="cloudless skies only")
    options = parser.parse_args()
    rng = np.random.default_rng(options.part)
    tried: dict[str, list[tuple[float, bool]]] = defaultdict(list)
    false: list[tuple[datetime, Streak]] = []
    ends: list[float] = []
    pairs, seconds, disturbed = Counter[float](), [], 0
    for source, start in skies(
        options.skies, options.part, COVERS[:1] if options.clear else COVERS
    ):
        later = start + timedelta(seconds=CADENCE_S)
        lights = [source.expected_electrons(request_at(t)) for t in (start, later)]
        cover = source.conditions.cloud_cover
        for _ in range(options.noises):
            before = streak_plane(exposure_of(source, lights[0], start, rng))
            now = exposure_of(source, lights[1], later, rng)
            begin = time.process_time()
            plane = streak_plane(now)
            search_of = search(plane, before, source)
            seconds.append(time.process_time() - begin)
            pairs[cover] += 1
            disturbed += search_of.disturbed
            false += [(later, s) for s in search_of.streaks]
        busy = lights[1].copy()
        events = paint(source, busy, later, rng, options.events)
        result = search(streak_plane(exposure_of(source, busy, later, rng)), before, source)
        found, _ = match(result.streaks, events)
        for k, event in enumerate(events):
            kind = "in broken clouds" if result.disturbed else event.kind
            tried[kind].append((event.snr, k in found))
        ends += [end_error(s, events[k]) for k, s in found.items() if events[k].snr >= 10]
        print(f"{start:%F %R} cover {cover}: {len(found)} of {len(events)}, false: {len(false)}",
              file=sys.stderr, flush=True)  # fmt: skip
    print(f"frames held to be disturbed by broken clouds: {disturbed} of {sum(pairs.values())}")
    return report(tried, false, ends, pairs, seconds)


def report(
    tried: dict[str, list[tuple[float, bool]]],
    false: list[tuple[datetime, Streak]],
    ends: list[float],
    pairs: Counter[float],
    seconds: list[float],
) -> int:
    """Print the tables."""
    every = [one for part in tried.values() for one in part]
    print(f"{'true peak SNR':>14} " + " ".join(f"{kind:>16}" for kind in [*tried, "all"]))
    for low, high in pairwise(BINS):
        cells = []
        for part in [*tried.values(), every]:
            hits = [hit for snr, hit in part if low <= snr < high]
            cells.append(f"{sum(hits):4d} of {len(hits):4d}    " if hits else " " * 16)
        print(f"{low:6.0f} to {high:4.0f} " + " ".join(f"{cell:>16}" for cell in cells))
    strong = {
        k: [h for snr, h in part if snr >= 10] for k, part in [*tried.items(), ("all", every)]
    }
    print("recall at SNR >= 10: " + ", ".join(
        f"{k} {np.mean(v):.3f} ({len(v)})" for k, v in strong.items() if v))  # fmt: skip
    print(f"ends off by {np.median(ends):.1f} px in the median (mean of both ends)")
    total = sum(pairs.values())
    limit = {0: 3.0, 1: 4.74, 2: 6.30, 3: 7.75}.get(len(false), 1.2 * len(false) + 5)
    rate = len(false) / total * NIGHT_FRAMES
    print(
        f"false: {len(false)} in {total} frames ({dict(pairs)}) = {rate:.2f}"
        f" a night of {NIGHT_FRAMES} frames; below {limit / total * NIGHT_FRAMES:.1f} at 95 %"
    )
    for when, s in false[:30]:
        print(f"  {when:%F %T} ({s.x[0]:.0f}, {s.y[0]:.0f}) to ({s.x[-1]:.0f}, {s.y[-1]:.0f})"
              f" peak {s.peak_snr:.1f} whole {s.snr:.1f} width {s.width_px:.1f}")  # fmt: skip
    print(f"{1000 * float(np.median(seconds)):.0f} ms of processor a frame (median)")
    missed = not np.mean(strong["meteor"]) >= RECALL or rate > FALSE_A_NIGHT
    if missed:
        print("MISSED")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
