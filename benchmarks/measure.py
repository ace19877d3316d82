"""Everything that is measured on one frame, timed part by part, and beside the truth.

Transients are in it, with the reduction of this frame's raw pixels and those of the one before.

Run: python -m benchmarks.measure [--size 3856x2180]
"""

from __future__ import annotations

import argparse
import sys
import time
from datetime import UTC, datetime, timedelta

from allsky360.config import Settings
from allsky360.imaging.linear import linearise
from allsky360.imaging.parameters import ChainParameters
from allsky360.imaging.steps import StepLog
from allsky360.measure.frame import measure_frame
from allsky360.measure.memory import SkyMemory
from allsky360.measure.transients import Pair, search_transients
from allsky360.model import Bracket, Exposure, Site
from allsky360.simulator.sky import SkySource
from allsky360.simulator.source import ExposureRequest, as_exposure
from allsky360.sky.streaks_plane import streak_plane

SITE = Site("La Palma", 28.7606, -17.8816, 2326.0)
START = datetime(2026, 11, 14, 0, 0, tzinfo=UTC)
MARK_S = 1.0


def main() -> int:
    """Print the table; exit code 1 where measuring a frame takes longer than the mark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="3856x2180")
    parser.add_argument("--frames", type=int, default=5)
    options = parser.parse_args()
    width, height = (int(n) for n in options.size.split("x"))
    simulator = {"width": width, "height": height, "cloud_cover": 0.1}
    source = SkySource.from_settings(Settings(simulator=simulator), SITE)  # type: ignore[arg-type]
    memory = SkyMemory()
    before: Exposure | None = None
    totals = []
    for k in range(options.frames):
        when = START + timedelta(seconds=30 * k)
        request = ExposureRequest(start=when, exposure_s=10.0, gain=0.0)
        shot = source.expose(request)
        exposure = as_exposure(shot, request)
        frame = linearise(Bracket((exposure,)), ChainParameters(), StepLog())
        pair = Pair()
        wall, busy = time.perf_counter(), time.process_time()
        found = measure_frame(frame, SITE, lens=source.lens, memory=memory)
        sky_s = time.perf_counter() - wall
        if before is not None:
            pair = Pair(streak_plane(exposure), streak_plane(before), k - 1)
        moved = search_transients(pair, frame, k, SITE, found, lens=source.lens)
        wall, busy = time.perf_counter() - wall, time.process_time() - busy
        found.seconds["transients"] = wall - sky_s
        memory, before = found.memory, exposure
        if k > 1:  # the first compiles, and has no frame before; so does the first with one
            totals.append(wall)
        parts = ", ".join(f"{n} {1000 * s:.0f}" for n, s in found.seconds.items())
        print(moved.reason or f"{len(moved.transients)} transients")
        print(f"frame {k}: {1000 * wall:.0f} ms ({1000 * busy:.0f} ms of processors): {parts}")
    s, truth = found.scalars, shot.truth
    print(
        f"stars found {s['stars_found']:.0f}, matched {s['stars_matched']:.0f}, "
        f"residual {s['lens_residual_px']:.2f} px, FWHM {s['fwhm_px']:.2f} px"
    )
    print(
        f"zenith {s['sky_brightness_mag_arcsec2']:.3f} +- "
        f"{s['sky_brightness_mag_arcsec2_sigma']:.3f}, truth "
        f"{truth['sky_v_mag_arcsec2_zenith']:.3f} mag/arcsec2; cloud {s['cloud_fraction']:.3f} +- "
        f"{s['cloud_fraction_sigma']:.3f}, truth {truth['cloud_fraction']:.3f}"
    )
    best = min(totals)
    print(f"{width}x{height}: {1000 * best:.0f} ms a frame (mark {1000 * MARK_S:.0f} ms)")
    return 0 if best <= MARK_S else 1


if __name__ == "__main__":
    sys.exit(main())
