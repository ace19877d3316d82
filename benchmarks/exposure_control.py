"""Exposure control in figures: convergence, and a night from dusk to dawn.

``python benchmarks/exposure_control.py [--rendered]``: the second adds a night of the simulator's
rendered sky (minutes).
"""

from __future__ import annotations

import argparse

import numpy as np

from allsky360.config import ExposureSettings
from allsky360.model import Exposure
from tests.camera.night_simulation import SITE, Night, Result, make_night, run_night
from tests.camera.test_control import BRIGHTEST, DARKEST, converge


def convergence() -> None:
    """Print in how many exposures the level is within 10 % and stays there."""
    for start, name in ((60.0, "60 s"), (0.001, "1 ms")):
        for known, circle in ((True, True), (True, False), (False, True), (False, False)):
            needed = []
            for sky in np.linspace(DARKEST, BRIGHTEST, 60):
                ratios = converge(2.0**sky, start, black_known=known, circle=circle, count=8)
                good = [abs(r - 1) <= 0.1 for r in ratios]
                needed.append(next((i + 1 for i in range(8) if all(good[i:])), 99))
            print(
                f"from {name}, black level {'known' if known else 'unknown'}, "
                f"{'dark border' if circle else 'no border'}: "
                f"median {int(np.median(needed))}, worst {max(needed)} exposures "
                f"over {BRIGHTEST - DARKEST:.0f} EV of sky"
            )


def report(name: str, night: Night, result: Result) -> None:
    """Print what happened in one night."""
    held = result.held
    steps = np.abs(np.diff(result.error))[held]
    print(
        f"{name}: {len(night.when)} frames, Sun {night.altitude.max():.0f} to "
        f"{night.altitude.min():.0f} deg, {np.ptp(result.total):.1f} EV of control\n"
        f"  step made by control: max {result.unexplained()[held].max():.3f} EV; "
        f"level step frame to frame: max {steps.max():.3f}, 99 % {np.quantile(steps, 0.99):.3f}; "
        f"sky step: max {np.abs(np.diff(result.sky))[held].max():.3f}\n"
        f"  |level - target|: median {np.median(np.abs(result.error[held])):.3f} EV, "
        f"99 % {np.quantile(np.abs(result.error[held][~result.at_limit[held]]), 0.99):.3f}; "
        f"oscillations {result.oscillations()}; "
        f"at the limit of exposure and gain: {int(result.at_limit.sum())} frames"
    )


def rendered(cadence_s: float) -> None:
    """Run a night of the simulator's own sky on a small sensor."""
    from allsky360.config import Settings
    from allsky360.simulator.sky import SkySource
    from allsky360.simulator.source import ExposureRequest

    settings = Settings(
        site={"latitude_deg": SITE.latitude_deg, "longitude_deg": SITE.longitude_deg},  # type: ignore[arg-type]
        simulator={"width": 320, "height": 240},  # type: ignore[arg-type]
    )
    source = SkySource.from_settings(settings, SITE)
    night = make_night(clouds=False, cadence_s=cadence_s)

    def expose(index: int, exposure_s: float, gain: float) -> Exposure:
        start = night.when[index]
        frame = source.expose(ExposureRequest(start, exposure_s, gain))
        return Exposure(frame.pixels, frame.pattern, start, exposure_s, gain)

    result = run_night(night, settings.exposure, expose=expose)
    report(f"rendered sky, a frame each {cadence_s:g} s", night, result)


def main() -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rendered", action="store_true", help="also the simulator's sky")
    parser.add_argument("--cadence", type=float, default=60.0, help="its seconds between frames")
    options = parser.parse_args()
    convergence()
    settings = ExposureSettings()
    for clouds in (False, True):
        for cadence in (12.0, 60.0):
            night = make_night(clouds=clouds, cadence_s=cadence)
            name = f"{'cloudy' if clouds else 'clear'} night, a frame each {cadence:g} s"
            report(name, night, run_night(night, settings))
    if options.rendered:
        rendered(options.cadence)


if __name__ == "__main__":
    main()
