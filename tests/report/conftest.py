"""A night from dusk to dawn whose numbers are known; its pictures are plain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np

from allsky360.archive import Archive, FrameRef, ProcessedWriter, RawWriter
from allsky360.model import Bracket, Exposure, Site
from allsky360.sky.ephemeris import sun_altitude_deg

CAMERA = "report-cam"
NIGHT = date(2026, 11, 13)
DUSK = datetime(2026, 11, 13, 17, 45, tzinfo=UTC)
STEP = timedelta(minutes=14)


def jpeg(level: int) -> bytes:
    image = np.zeros((96, 96, 3), np.uint8)
    cv2.circle(image, (48, 48), 44, (level, level, level), -1)
    done, data = cv2.imencode(".jpg", image)
    assert done
    return data.tobytes()


def make_night(
    root: Path,
    site: Site,
    frames: int = 56,
    *,
    without: Sequence[int] = (),
    unprocessed: Sequence[int] = (),
) -> Archive:
    """Store frames ``STEP`` apart, leaving out the ones of ``without`` altogether."""
    writer = RawWriter(root, "Report Cam", site)
    processed = ProcessedWriter(root, CAMERA, NIGHT)
    try:
        for n in (k for k in range(frames) if k not in without):
            start = DUSK + n * STEP
            exposure = Exposure(
                np.full((16, 16), 900, np.uint16), "RGGB", start, 10.0 if 4 < n < 50 else 0.5,
                gain=100.0, temperature_c=5.0 - 0.1 * n, camera="Report Cam",
            )  # fmt: skip
            ref = writer.append(Bracket((exposure,)), {})
            if ref.index in unprocessed:
                continue
            processed.write(
                ref,
                time=start,
                linear=np.zeros((4, 4, 3), np.float32),
                picture_jpeg=jpeg(60 + n),
                scalars=scalars(site, start, n),
                provenance={},
                site=site,
            )
    finally:
        writer.close()
    return Archive(root)


def scalars(site: Site, when: datetime, n: int) -> dict[str, float]:
    sun = sun_altitude_deg(site, when)
    found = {"sun_altitude_deg": sun, "exposure_s": 10.0}
    if n == 12:
        found["transients"] = 2.0
    if sun < -6:
        dark = min(1.0, (-6 - sun) / 12)
        cloud = max(0.0, math.sin(n / 6)) * 0.7
        found |= {
            "cloud_fraction": cloud,
            "cloud_fraction_sigma": 0.03,
            "stars_found": 900 * dark * (1 - cloud),
            "stars_detected": 700 * dark * (1 - cloud),
            "limiting_mag": 3.0 + 3.0 * dark - cloud,
            "sky_brightness_mag_arcsec2": 16 + 5.3 * dark - 0.4 * cloud,
            "sky_brightness_mag_arcsec2_sigma": 0.05,
            "fwhm_px": 2.4 + 0.002 * n,
        }
    return found


def refs(archive: Archive) -> list[FrameRef]:
    return [r.ref for r in archive.frames(CAMERA, NIGHT)]
