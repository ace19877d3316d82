"""Every real camera at hand: solved or refused, how well, and the overlay to look at.

Frames go the way of ``allsky360 sky solve``: the chain's own development, stars, blind solution.
Residuals are those of stars never fitted, over the whole sky and by rings of altitude. Two sets
have a fit by others; its stars' places are compared with the lens found here.

``--out DIR`` writes for every solved frame the picture with the overlay, and cut-outs at twice or
more the size, at the zenith and near the horizon, with rings where the lens puts the catalogue's
stars: a ring with its star in the middle is right, an empty one before dark sky is not.

Run: python -m benchmarks.real_frames [--out DIR] [--markdown] [NAME ...]
(exit code 1 where a frame that a reference proves solvable is refused)
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from allsky360.camera.files import read_exposures
from allsky360.config import Settings
from allsky360.lens_calibration.frames import Finder
from allsky360.model import Bracket, Exposure, Site
from allsky360.overlay import OverlayOptions, burn_in, layout
from allsky360.sky.catalogue import apparent_altaz, load_catalogue
from allsky360.sky.ephemeris import sun_moon
from allsky360.sky.lens import LensModel
from allsky360.sky.solve import LensNotSolved, LensSolution, solve_lens

Picture = NDArray[np.uint8]

DATA = Path(os.environ.get("ALLSKY360_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
LOWELL = Site("Lowell DCT", 34.4773, -111.4332, 2361.0)
WINONA = Site("Winona", 44.05, -91.64, 200.0)
KHO = Site("KHO", 78.148, 16.043, 520.0)
MMT = Site("MMT", 31.68878, -110.8845, 2616.0)
GAKONA = Site("Gakona", 62.407, -145.158, 586.0)
POKER = Site("Poker Flat", 65.126, -147.479, 500.0)
CUT_DEG, RING_V = 14.0, 5.0


@dataclass(frozen=True)
class RealFrame:
    """A frame of another camera, with what is known of it.

    ``middle`` stands where the file's own time is wrong; ``scale`` is that of the reference's
    pixels in pixels of the frame.
    """

    name: str
    path: str
    site: Site
    middle: datetime | None = None
    reference: str = ""
    scale: int = 1


@dataclass(frozen=True)
class Tried:
    """One frame, solved or refused."""

    frame: RealFrame
    exposure: Exposure
    middle: datetime
    stars: int
    seconds: float
    solution: LensSolution | None
    refusal: LensNotSolved | None


def real_frames() -> list[RealFrame]:
    """Every set in ``../shared/data`` (or ``ALLSKY360_TEST_DATA``) that shows the whole sky."""
    lowell = [
        RealFrame(
            f"Lowell {n}", f"lowell-dct-2018/{n}.fits.bz2", LOWELL,
            reference="lowell-dct-2018/reference/005.stars.csv" if n == "005" else "",
        )
        for n in ("005", "013", "004", "018", "003", "000", "009", "002")
    ]  # fmt: skip
    winona = RealFrame(
        "Winona", "winona-rpihq-2021/sky-2021-09-19-05-13-32.jpg", WINONA,
        datetime(2021, 9, 19, 10, 13, 52, tzinfo=UTC),
        "winona-rpihq-2021/reference/05-13-32.stars.csv", 2,
    )  # fmt: skip
    kho = RealFrame(
        "KHO Sony", "kho-svalbard/LYR-Sony-111220_200933.jpg", KHO,
        datetime(2020, 12, 11, 20, 9, 35, tzinfo=UTC),
    )  # fmt: skip
    mmt = [
        RealFrame(f"MMT {n[:4]} {n[-4:]}", f"mmt-skycam/{n}.fits.gz", MMT)
        for n in (
            *(f"2015_image_000{k}" for k in (1500, 2000, 2500, 3000, 3500)),
            "2016_image_0003000",
        )
    ]
    dasc = [
        RealFrame(f"DASC {n[9:13]} {n[-10:-4]}", f"dasc-pokerflat-2015/{n}.FITS", POKER)
        for n in (
            "PKR_DASC_0428_20151007_082355.961",
            "PKR_DASC_0558_20151007_082351.743",
            "PKR_DASC_0558_20151007_082404.243",
            "PKR_DASC_0630_20151007_082359.586",
        )
    ]
    themis = RealFrame(
        "THEMIS asf", "themis-gakona-2011/thg_l1_asf_gako_2011010617_v01.cdf", GAKONA
    )
    return [*lowell, winona, kho, *mmt, *dasc, themis]


def tried(frame: RealFrame, finder: Finder) -> Tried:
    """Find the stars of a frame and solve it blind."""
    exposure = next(read_exposures(DATA / frame.path))
    began = time.perf_counter()
    seen = finder.seen(Bracket((exposure,)), frame.name)
    middle = frame.middle or seen.middle
    solution = refusal = None
    try:
        solution = solve_lens(seen.stars, frame.site, middle, seen.width, seen.height)
    except LensNotSolved as error:
        refusal = error
    seconds = time.perf_counter() - began
    return Tried(frame, exposure, middle, len(seen.stars), seconds, solution, refusal)


def against_reference(frame: RealFrame, lens: LensModel) -> float:
    """Return the median distance, pixels, from the places an independent fit found its stars at."""
    with (DATA / frame.reference).open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["x_meas"]]
    alt, az, x, y = (
        np.array([float(row[name]) for row in rows])
        for name in ("alt_deg", "az_deg", "x_meas", "y_meas")
    )
    px, py, _ = lens.project(alt, az)
    shift = (frame.scale - 1) / 2
    miss = np.hypot(px - frame.scale * x - shift, py - frame.scale * y - shift)
    return float(np.nanmedian(miss))


def row(one: Tried, *, markdown: bool) -> str:
    """Return a line of the table."""
    lights = sun_moon(one.frame.site, one.middle)
    sky = f"Sun {lights.sun_altitude_deg:+.0f}"
    if lights.moon_altitude_deg > 0:
        sky += f", Moon {lights.moon_illumination:.0%} at {lights.moon_altitude_deg:+.0f}"
    s = one.solution
    if s is None:
        assert one.refusal is not None
        said = f"refused, {one.refusal.reason}"
        cells = [one.frame.name, sky, str(one.stars), said, "", "", "", "", ""]
    else:
        e, per_px = s.evidence, 3437.75 / s.lens.focal_px
        rings = {r.low_deg: r for r in e.rings}
        low = [rings[a] for a in (5.0, 15.0) if a in rings]
        lowest = f"{low[0].rms_px:.2f} ({low[0].low_deg:.0f}-{low[0].high_deg:.0f})" if low else "-"
        other = ""
        if one.frame.reference:
            other = f"{against_reference(one.frame, s.lens):.2f}"
        cells = [
            one.frame.name, sky, str(one.stars), f"solved, {s.lens.projection}",
            f"{s.fitted} + {e.matched}/{e.held_out}", f"{e.rms_px:.2f} = {e.rms_px * per_px:.1f}'",
            lowest, f"{s.tilt_deg:.1f}", other,
        ]  # fmt: skip
    cells.append(f"{one.seconds:.0f}")
    if markdown:
        return "| " + " | ".join(cells) + " |"
    widths = (16, 26, 6, 24, 14, 14, 14, 5, 6, 4)
    return " ".join(c.ljust(w) for c, w in zip(cells, widths, strict=True))


HEAD = (
    "frame", "sky, deg", "points", "outcome", "fitted + held", "held-out RMS",
    "lowest ring", "tilt", "other", "s",
)  # fmt: skip


def picture_of(exposure: Exposure) -> Picture:
    """Return a quick look, ``(H, W, 3)`` uint8 RGB: a bent curve between two quantiles."""
    pixels = np.asarray(exposure.pixels, np.float32)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    low, high = np.quantile(pixels, (0.05, 0.9995))
    light = np.clip((pixels - low) / max(float(high - low), 1e-6), 0.0, 1.0)
    bent = np.arcsinh(30.0 * light) / np.arcsinh(30.0)
    return np.ascontiguousarray(
        np.broadcast_to((255 * bent), (*bent.shape[:2], 3)).astype(np.uint8)
    )


def draw(one: Tried, out: Path) -> None:
    """Write the overlay, and cut-outs at the zenith and near the horizon."""
    assert one.solution is not None
    lens, site = one.solution.lens, one.frame.site
    picture = picture_of(one.exposure)
    stem = one.frame.name.replace(" ", "-").lower()
    scene = layout(lens, site, one.middle, OverlayOptions(altaz_grid=True), {})
    _write(out / f"{stem}.png", burn_in(picture, scene))
    catalogue = load_catalogue(RING_V)
    altitude, azimuth = apparent_altaz(catalogue, site, one.middle)
    x, y, seen = lens.project(altitude, azimuth)
    tiles = []
    for alt, az in ((89.9, 0.0), (18.0, 0.0), (18.0, 90.0), (18.0, 180.0), (18.0, 270.0)):
        cx, cy, inside = lens.project(np.array([alt]), np.array([az]))
        if not inside[0]:
            continue
        half = int(lens.focal_px * np.radians(CUT_DEG) / 2) + 20
        tiles.append(_tile(picture, float(cx[0]), float(cy[0]), half, x[seen], y[seen],
                           f"alt {alt:.0f} az {az:.0f}"))  # fmt: skip
    if tiles:
        _write(out / f"{stem}-cuts.png", np.concatenate(tiles, axis=1))


def _tile(
    picture: Picture, cx: float, cy: float, half: int, x: NDArray[np.float64],
    y: NDArray[np.float64], words: str,
) -> Picture:  # fmt: skip
    size = 520
    zoom = size / (2 * half)
    move = np.array([[zoom, 0, size / 2 - zoom * cx], [0, zoom, size / 2 - zoom * cy]])
    tile = cv2.warpAffine(picture, move, (size, size), flags=cv2.INTER_NEAREST)
    for a, b in zip(x, y, strict=True):
        u, v = zoom * (a - cx) + size / 2, zoom * (b - cy) + size / 2
        if 0 <= u < size and 0 <= v < size:
            cv2.circle(tile, (round(16 * u), round(16 * v)), round(16 * max(5 * zoom, 8)),
                       (90, 255, 90), 1, cv2.LINE_AA, 4)  # fmt: skip
    cv2.putText(tile, words, (8, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 0), 1)
    return np.asarray(tile, np.uint8)


def _write(path: Path, picture: Picture) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture[..., ::-1])


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="beginnings of frame names; all where none")
    parser.add_argument("--out", type=Path, help="write overlays and cut-outs there")
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    finder = Finder.of(Settings())
    missed = []
    separator = " | " if options.markdown else " "
    print(separator.join(HEAD))
    for frame in real_frames():
        if options.names and not any(frame.name.startswith(n) for n in options.names):
            continue
        if not (DATA / frame.path).exists():
            print(f"{frame.name}: not here")
            continue
        one = tried(frame, finder)
        print(row(one, markdown=options.markdown), flush=True)
        if one.refusal is not None:
            if not options.markdown:
                print(f"    {one.refusal.message}")
            if frame.reference:
                missed.append(frame.name)
        elif options.out is not None:
            draw(one, options.out)
    for name in missed:
        print(f"MISSED {name}: refused, though a reference fit exists")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
