"""Products of a night: speed beside indi-allsky's functions, accuracy against the simulator.

``--speed --peer DIR``: a keogram column and a star-trail step on the same 4056 x 3040 picture, one
run; ``DIR`` is a checkout of aaronwmorris/indi-allsky (its packages ``ephem`` and ``piexif`` below
``--peer-packages``). ``--truth``: simulated raw frames through the whole chain, then stack and
panorama; stars against their true places. ``--night ROOT``: all products of a night (see
``benchmarks.product_night``): seconds after its last frame, memory. ``--kills ROOT``: the same,
killed at random moments, compared byte by byte.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allsky360.archive import Archive, RawWriter
from allsky360.archive.layout import FrameRef
from allsky360.archive.products import products_folder, state_folder
from allsky360.config import Settings
from allsky360.config_products import KeogramSettings, StarTrailSettings
from allsky360.products.frame import ProductFrame
from allsky360.products.grower import NightContext
from allsky360.sky.lens import LensModel, fisheye
from benchmarks.product_night import CAMERA, NIGHT, SITE, write_lens_file


def row(*cells: object) -> None:
    """Print a row of a table."""
    print("| " + " | ".join(str(c) for c in cells) + " |", flush=True)


# -- speed --------------------------------------------------------------------------------------


def speed(peer: Path | None, packages: Path | None, runs: int = 36) -> None:
    """Time a column and a trail step at 12.3 Mpix."""
    from allsky360.products.keogram import Keogram
    from allsky360.products.startrails import StarTrails

    rng = np.random.default_rng(0)
    picture = rng.integers(0, 60, (3040, 4056, 3), np.uint8)
    lens = fisheye(4056, 3040, rotation_deg=12.0, tilt_north_deg=1.0)
    start = datetime.fromisoformat("2026-11-10T23:00:00+00:00")
    scalars = {"sun_altitude_deg": -40.0, "moon_altitude_deg": -5.0, "moon_illumination": 0.1}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        context = NightContext(folder, CAMERA, NIGHT, "v0001", SITE, Settings(), folder)
        keogram, trails = Keogram(KeogramSettings()), StarTrails(StarTrailSettings())
        keogram.open(context, folder, None)
        trails.open(context, folder, None)
        steps: dict[str, Any] = {
            "keogram column": lambda f: keogram.add(f),
            "star-trail step, max and mean": lambda f: trails.add(f),
        }
        theirs = _peer(peer, packages, folder) if peer is not None else {}
        row("12.3 Mpix", "ours, median (min) ms", "indi-allsky, median (min) ms", "ratio")
        row(*["---"] * 4)
        for what, step in steps.items():
            frame = ProductFrame(
                FrameRef(CAMERA, NIGHT, 0), start, start, 8.0, picture, scalars, SITE, lens, 1
            )
            other = theirs.get(what)
            ours_s: list[float] = []
            theirs_s: list[float] = []
            for k in range(runs):
                ours_s.append(_timed(lambda s=step, f=frame: s(f)))
                if other is not None:
                    theirs_s.append(_timed(lambda o=other, n=k: o(picture, n)))
            ours_s, theirs_s = ours_s[4:], theirs_s[4:]
            # a trail step does its work with every fourth picture: four together count
            fours = [sum(ours_s[k : k + 4]) / 4 for k in range(0, len(ours_s) - 3, 4)]
            mine = f"{1e3 * statistics.median(fours):.2f} ({1e3 * min(fours):.2f})"
            if theirs_s:
                yours = f"{1e3 * statistics.median(theirs_s):.0f} ({1e3 * min(theirs_s):.0f})"
                ratio = f"{statistics.median(theirs_s) / statistics.median(fours):.1f}"
            else:
                yours, ratio = "not given", ""
            row(what, mine, yours, ratio)


def _timed(action: Any) -> float:
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def _peer(peer: Path, packages: Path | None, folder: Path) -> dict[str, Any]:
    """Return the peer's two functions, set so that no frame is refused and no video is made."""
    sys.path.insert(0, str(peer))
    if packages is not None:
        sys.path.append(str(packages))
    from indi_allsky.keogram import KeogramGenerator
    from indi_allsky.starTrails import StarTrailGenerator

    config = {
        "KEOGRAM_ANGLE": 12.0,
        "IMAGE_FOLDER": str(folder),
        "IMAGE_FILE_TYPE": "jpg",
        "STARTRAILS_TIMELAPSE": False,
        "STARTRAILS": {},
    }
    keogram = KeogramGenerator(config)
    mask = np.full((3040, 4056), 255, np.uint8)
    trails = StarTrailGenerator(config, mask={1: mask})
    trails.latitude, trails.longitude, trails.sun_alt_threshold = 28.76, -17.88, 91.0
    trails.max_adu, trails.mask_threshold, trails.pixel_cutoff_threshold = 255, 255, 100.0
    file = folder / "frame.jpg"
    file.write_bytes(b"x")
    return {
        "keogram column": lambda p, n: keogram.processImage(p, 1_700_000_000 + n),
        "star-trail step, max and mean": lambda p, n: trails.processImage(file, p, 1),
    }


# -- truth --------------------------------------------------------------------------------------


def truth(width: int, height: int, frames: int, step_min: float) -> None:
    """Simulate raw frames about the middle of the night, process them, stack and unwrap them."""
    from allsky360.processing import process_archived_frame
    from allsky360.products.grow import grow_night
    from allsky360.products.registry import growers_for
    from allsky360.simulator.sky import SkySource
    from allsky360.simulator.source import ExposureRequest, SensorDescription
    from allsky360.sky.night import night_times

    sensor = replace(SensorDescription(), width=width, height=height, pixel_um=4.0)
    lens = fisheye(width, height, rotation_deg=24.0, tilt_north_deg=1.6, tilt_east_deg=-1.1)
    source = SkySource(SITE, sensor, lens, cloud_cover=0.0)
    dark = night_times(SITE, NIGHT).astronomical
    assert dark.begins is not None
    assert dark.ends is not None
    middle = dark.begins + (dark.ends - dark.begins) / 2
    with tempfile.TemporaryDirectory(prefix="products-truth-") as name:
        root = Path(name)
        settings = Settings(
            site={"latitude_deg": SITE.latitude_deg, "longitude_deg": SITE.longitude_deg},
            storage={"root": root},
            products={"stack": {"source": "picture"}, "panorama": {"ticks": False}},
        )  # type: ignore[arg-type]
        write_lens_file(root, lens)
        raw = RawWriter(root, CAMERA, SITE)
        from allsky360.model import Bracket, Exposure

        for k in range(frames):
            at = middle + timedelta(minutes=step_min * (k - frames // 2)) - timedelta(seconds=5)
            request = ExposureRequest(start=at, exposure_s=10.0, gain=100.0)
            shot = source.expose(request)
            about = shot.truth["sensor"]
            exposure = Exposure(
                shot.pixels, shot.pattern, at, 10.0, gain=100.0, offset=request.offset,
                saturation_adu=about["saturation_adu"], egain=about["egain_e_per_adu"],
                camera=CAMERA,
            )  # fmt: skip
            ref = raw.append(Bracket((exposure,)), {})
            process_archived_frame(root, ref, settings)
        report = grow_night(
            root, CAMERA, NIGHT, settings, closed=True,
            growers=growers_for(settings.products, ["stack", "panorama"]),
        )  # fmt: skip
        assert not report.failed, report.failed
        _judge(root, lens, middle, frames)


def _judge(root: Path, lens: LensModel, middle: datetime, frames: int) -> None:
    import cv2

    from allsky360.archive.products import read_product
    from allsky360.products.light import light_of_codes
    from allsky360.products.panorama_map import view_from
    from allsky360.products.source import NightFrames
    from allsky360.sky.catalogue import apparent_altaz, load_catalogue

    folder = products_folder(root, CAMERA, NIGHT, "v0001")
    stack_record = read_product(root, CAMERA, NIGHT, "v0001", "stack")
    strip_record = read_product(root, CAMERA, NIGHT, "v0001", "panorama")
    assert stack_record is not None
    assert strip_record is not None
    source = NightFrames(root, CAMERA, NIGHT, "v0001")
    single = source.load(source.records()[frames // 2])
    stacked = cv2.imread(str(folder / "stack-linear.png"), cv2.IMREAD_UNCHANGED)[..., 1]
    stacked = stacked.astype(np.float32)
    alone = light_of_codes()[single.picture[..., 1]]
    stars = load_catalogue(8.0)  # all that the simulator draws: a neighbour moves a centroid
    bright = stars.v_mag < 5.0
    reference = datetime.fromisoformat(stack_record.parameters["reference"])
    altitude, azimuth = apparent_altaz(stars, SITE, reference)
    x, y, seen = lens.project(altitude, azimuth)
    sx, sy, _ = lens.project(*apparent_altaz(stars, SITE, single.middle))
    row("altitude", "stars", "stack: median, worst px", "stack FWHM / single's")
    row(*["---"] * 4)
    for ring in (20, 45, 70):
        near = _lonely(x, y, stars.v_mag, seen & bright & (np.abs(altitude - ring) < 6), 9)
        found = _compare(stacked, x[near], y[near])
        before = _compare(alone, sx[near], sy[near])
        good = np.isfinite(found[:, 0]) & np.isfinite(before[:, 0])
        errors, widths = found[good, 0], found[good, 1] / before[good, 1]
        row(
            f"{ring}°", int(good.sum()),
            f"{np.median(errors):.3f}, {np.max(errors):.3f}", f"{np.median(widths):.3f}",
        )  # fmt: skip
    print(f"frames in the stack: {stack_record.frames.used}; reference {reference.isoformat()}")
    view = view_from(strip_record.parameters["view"])
    strip = cv2.imread(str(folder / "panorama.jpg"))[..., 1].astype(np.float32)
    when = datetime.fromisoformat(strip_record.parameters["time"])
    altitude, azimuth = apparent_altaz(stars, SITE, when)
    px, py = view.pixels(altitude, azimuth)
    row("altitude", "stars", "panorama: median, worst px")
    row(*["---"] * 3)
    for ring in (20, 45, 70):
        near = _lonely(
            px, py, stars.v_mag, np.isfinite(px) & bright & (np.abs(altitude - ring) < 6), 12
        )
        stretch = np.cos(np.radians(altitude[near]))  # a strip is wider than the sky up there
        found = _compare(strip, px[near], py[near], stretch, least_snr=6.0, most=1.0)
        errors = found[np.isfinite(found[:, 0]), 0]
        row(f"{ring}°", len(errors), f"{np.median(errors):.3f}, {np.max(errors):.3f}")


FAINTER_MAG = 3.5
"""A neighbour that much fainter moves a centroid by less than 0.15 px, wherever it stands."""


def _lonely(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    v_mag: NDArray[np.float64],
    which: NDArray[np.bool_],
    apart: float,
) -> NDArray[np.bool_]:
    """Return ``which`` without stars that have one nearer than ``apart`` that tells."""
    alone = np.zeros(len(x), bool)
    for k in np.flatnonzero(which):
        near = np.hypot(x - x[k], y - y[k]) < apart
        alone[k] = np.count_nonzero(near & (v_mag < v_mag[k] + FAINTER_MAG)) == 1
    return alone


def _compare(
    image: NDArray[np.float32],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    stretch: NDArray[np.float64] | None = None,
    *,
    least_snr: float = 12.0,
    most: float = 0.8,
) -> NDArray[np.float64]:
    """Return error and FWHM of stars, ``(N, 2)``; NaN where one is too faint or too bright.

    ``most``: peak, as a share of the image's maximum; in a picture bright stars are cut off, which
    widens them and does not move them.
    """
    from tests.products.sky_pictures import centroid

    out = np.full((len(x), 2), np.nan)
    for k, (at_x, at_y) in enumerate(zip(x, y, strict=True)):
        cx, cy = round(float(at_x)), round(float(at_y))
        if not (9 <= cx < image.shape[1] - 9 and 9 <= cy < image.shape[0] - 9):
            continue
        patch = image[cy - 8 : cy + 9, cx - 8 : cx + 9]
        rim = np.concatenate([patch[0], patch[-1], patch[:, 0], patch[:, -1]])
        peak = patch[5:12, 5:12].max()
        noise = 1.4826 * np.median(np.abs(rim - np.median(rim))) + 1e-6
        if peak - np.median(rim) < least_snr * noise or peak > most * image.max():
            continue
        mx, my, width = centroid(image, float(at_x), float(at_y))
        across = 1.0 if stretch is None else stretch[k]
        out[k] = np.hypot((mx - at_x) * across, my - at_y), width
    return out


# -- a night ------------------------------------------------------------------------------------


def grow(root: Path, only: list[str]) -> None:
    """Grow all products to the night's end, as a process of its own; print a JSON line."""
    from allsky360.products.grow import grow_night
    from allsky360.products.registry import growers_for

    wait_s = float(os.environ.pop("ALLSKY360_PRODUCTS__CHECKPOINT_S", "60"))
    settings = Settings(  # type: ignore[arg-type]
        storage={"root": root}, products={"checkpoint_s": wait_s}
    )
    count = Archive(root).count(CAMERA, NIGHT)
    ends: list[float] = []

    def progress(done: int, known: int) -> None:
        if done == count:
            ends.append(time.perf_counter())

    report = grow_night(
        root, CAMERA, NIGHT, settings, growers=growers_for(settings.products, only), closed=True,
        progress=progress,
    )  # fmt: skip
    now = time.perf_counter()
    print(
        json.dumps(
            {
                "frames": report.offered,
                "seconds": report.seconds,
                "after_last_s": now - ends[-1] if ends else None,
                "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                "products": sorted(r.name for r in report.products),
                "failed": report.failed,
                "complete": report.complete,
            }
        )
    )


def hashes(root: Path) -> dict[str, str]:
    """Return a hash of every finished file; records without the instant they were written."""
    out = {}
    for path in sorted(products_folder(root, CAMERA, NIGHT, "v0001").iterdir()):
        if path.is_file():
            data = path.read_bytes()
            if path.suffix == ".json":
                content = json.loads(data)
                content.pop("created_at", None)
                data = json.dumps(content, sort_keys=True).encode()
            out[path.name] = hashlib.sha256(data).hexdigest()
    return out


def forget(root: Path) -> None:
    """Remove the night's products and what grows of them."""
    import shutil

    shutil.rmtree(state_folder(root, CAMERA, NIGHT, "v0001"), ignore_errors=True)
    shutil.rmtree(products_folder(root, CAMERA, NIGHT, "v0001"), ignore_errors=True)


def kills(root: Path, times: int, seed: int, longest_s: float, only: str) -> int:
    """Grow with ``times`` kills at random moments; compare with what an unbroken run left."""
    before = hashes(root)
    forget(root)
    rng = random.Random(seed)
    command = [
        sys.executable, "-m", "benchmarks.products", "--grow", str(root), "--only", only,
    ]  # fmt: skip
    environment = os.environ | {"ALLSKY360_PRODUCTS__CHECKPOINT_S": "8"}
    for k in range(times):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        wait_s = rng.uniform(0.25 * longest_s, longest_s)
        time.sleep(wait_s)
        process.send_signal(signal.SIGKILL)
        process.wait()
        marks = state_folder(root, CAMERA, NIGHT, "v0001").glob("*/saved.json")
        at = {p.parent.name: json.loads(p.read_bytes())["account"]["next"] for p in marks}
        print(f"kill {k + 1} after {wait_s:.1f} s; saved up to frame {at}", flush=True)
    print(subprocess.run(command, env=environment, capture_output=True, text=True).stdout.strip())
    after = hashes(root)
    different = [n for n in before.keys() | after.keys() if before.get(n) != after.get(n)]
    print(f"{len(before)} files; different after the kills: {different or 'none'}")
    return 1 if different else 0


def main() -> int:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--peer", type=Path)
    parser.add_argument("--peer-packages", type=Path)
    parser.add_argument("--truth", action="store_true")
    parser.add_argument("--size", default="2280x2180")
    parser.add_argument("--frames", type=int, default=9)
    parser.add_argument("--step-min", type=float, default=12.0)
    parser.add_argument("--grow", type=Path)
    parser.add_argument("--night", type=Path)
    parser.add_argument("--kills", type=Path)
    parser.add_argument("--only", default="", help="products of --grow, --night and --kills")
    parser.add_argument("--longest", type=float, default=45.0, help="s before a kill")
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.grow is not None:
        grow(arguments.grow, [n for n in arguments.only.split(",") if n])
        return 0
    everything = not (arguments.truth or arguments.night or arguments.kills)
    if arguments.speed or everything:
        speed(arguments.peer, arguments.peer_packages)
    if arguments.truth or (everything and not arguments.speed):
        width, height = (int(n) for n in arguments.size.split("x"))
        truth(width, height, arguments.frames, arguments.step_min)
    if arguments.night is not None:
        forget(arguments.night)
        command = [sys.executable, "-m", "benchmarks.products", "--grow", str(arguments.night)]
        command += ["--only", arguments.only]
        print(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())
    if arguments.kills is not None:
        return kills(
            arguments.kills, arguments.times, arguments.seed, arguments.longest, arguments.only
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
