"""Time-lapse against the ``ffmpeg`` command line: the same JPEGs, codec, preset, quality and size.

``python -m benchmarks.timelapse [--frames N] [--size PX] [--codec C ...] [--pictures FOLDER]``.
Both take turns on the same machine, the better of two runs each counts. Beside frames a second
stand processor milliseconds a frame, which say more where others work on the machine. Similarity is
ffmpeg's ``ssim`` filter against the pictures reduced by the same filter (area). Exit status 1 when
we are slower by both, or when similarity is below 0.98.
"""

from __future__ import annotations

import argparse
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from allsky360.arrays.bands import threads
from allsky360.config_video import VideoSettings
from allsky360.products.video.folder import natural_key
from allsky360.products.video.looks import Plain
from allsky360.products.video.make import make_video
from allsky360.products.video.plan import VideoPlan, plan_video
from allsky360.products.video.shot import Shot

WIDTH, HEIGHT = 2280, 2180
FPS = 25
SSIM = 0.98
BT709 = "in_color_matrix=bt601:out_color_matrix=bt709:out_range=tv"


def paint(folder: Path, count: int) -> list[Path]:
    """Write a night that turns: stars, a Milky Way, clouds and noise, as JPEG of quality 92."""
    rng = np.random.default_rng(1)
    side = 3300
    stars = np.zeros((side, side, 3), np.float32)
    for _ in range(6000):
        x, y = (int(v * 16) for v in rng.uniform(0, side, 2))
        light = min(255.0, 20 * rng.pareto(1.1) + 15)
        colour = tuple(float(v) for v in light * rng.uniform(0.75, 1, 3))
        cv2.circle(stars, (x, y), int(16 * min(3.0, 0.8 + light / 120)), colour, -1, cv2.LINE_AA, 4)
    stars = cv2.GaussianBlur(stars, (0, 0), 0.9)
    haze = rng.normal(0, 1, (side // 8, side // 8, 3)).astype(np.float32)
    stars += cv2.resize(cv2.GaussianBlur(haze, (0, 0), 8), (side, side)) * 130
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    radius = np.hypot(x - WIDTH / 2, y - HEIGHT / 2) / (HEIGHT / 2)
    glow = np.stack([52 + 20 * radius, 38 + 18 * radius, 28 + 22 * radius], -1)
    small = rng.normal(0, 1, (HEIGHT // 8, WIDTH // 8)).astype(np.float32)
    cloud = cv2.resize(cv2.GaussianBlur(small, (0, 0), 15), (WIDTH, HEIGHT))
    cloud = np.clip(cloud / cloud.std(), 0, 3) * 12
    paths = []
    for k in range(count):
        turn = cv2.getRotationMatrix2D((side / 2, side / 2 - 400), 0.08 * k, 1)
        turn[:, 2] += [(WIDTH - side) / 2, (HEIGHT - side) / 2]
        sky = cv2.warpAffine(stars, turn, (WIDTH, HEIGHT))
        sky += glow
        sky += np.roll(cloud, 3 * k, 1)[..., None]
        grain = rng.standard_normal((HEIGHT, WIDTH, 3), dtype=np.float32)
        sky += cv2.GaussianBlur(grain, (0, 0), 0.7) * 4.5
        sky[radius > 1] = 5
        paths.append(folder / f"{k:04d}.jpg")
        codes = np.clip(sky, 0, 255).astype(np.uint8)
        cv2.imwrite(str(paths[-1]), codes, [cv2.IMWRITE_JPEG_QUALITY, 92])
    return paths


@dataclass(frozen=True)
class Cost:
    """Wall and processor seconds of a run."""

    wall_s: float
    cpu_s: float


def measured(action: Callable[[], object], who: int) -> Cost:
    """Return what an action costs, of this process or of its children."""
    before, begin = resource.getrusage(who), time.perf_counter()
    action()
    after, end = resource.getrusage(who), time.perf_counter()
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(end - begin, cpu)


def by_ffmpeg(folder: Path, plan: VideoPlan, out: Path, *, colours: bool) -> Cost:
    """Encode with the command line; ``colours`` asks for BT.709 as we make it."""
    scale = f"scale={plan.width}:{plan.height}:flags=area" + (f":{BT709}" if colours else "")
    options = [text for k, v in plan.options for text in (f"-{k}", v)]
    command = [
        "ffmpeg", "-v", "error", "-y", "-framerate", str(FPS), "-i", str(folder / "%04d.jpg"),
        "-vf", f"{scale},format={plan.pixel_format}", "-c:v", plan.encoder, *options,
        "-movflags", "+faststart", str(out),
    ]  # fmt: skip
    return measured(lambda: subprocess.run(command, check=True), resource.RUSAGE_CHILDREN)


def by_us(shots: Sequence[Shot], plan: VideoPlan, out: Path, workers: int) -> Cost:
    """Encode as ``allsky360 timelapse`` does."""

    def make() -> None:
        made = make_video(shots, plan, Plain, out, workers=workers)
        if made.frames != len(shots):
            raise SystemExit(f"only {made.frames} of {len(shots)} frames")

    return measured(make, resource.RUSAGE_SELF)


def similarity(folder: Path, plan: VideoPlan, video: Path, frames: int, colours: str) -> float:
    """Return ffmpeg's SSIM over all planes against the reduced pictures."""
    scale = f"scale={plan.width}:{plan.height}:flags=area{colours}"
    found = subprocess.run(
        [
            "ffmpeg", "-hide_banner", "-framerate", str(FPS), "-i", str(folder / "%04d.jpg"), "-i",
            str(video), "-lavfi",
            f"[0:v]trim=end_frame={frames},{scale},format=yuv420p[a];"
            f"[1:v]trim=end_frame={frames},format=yuv420p[b];[a][b]ssim",
            "-f", "null", "-",
        ],
        check=True,
        capture_output=True,
        text=True,
    )  # fmt: skip
    match = re.search(r"SSIM .*All:([\d.]+)", found.stderr)
    if match is None:
        raise SystemExit(found.stderr)
    return float(match[1])


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--size", type=int, default=2160)
    parser.add_argument("--codec", nargs="+", default=["h264"])
    parser.add_argument("--preset", default="veryfast")
    parser.add_argument("--pictures", type=Path, help="JPEGs 0000.jpg, …; left out: a made-up sky")
    parser.add_argument("--runs", type=int, default=2)
    wanted = parser.parse_args()
    if shutil.which("ffmpeg") is None:
        print("ffmpeg is not installed")
        return 2
    cores = threads()
    workers = min(4, cores)
    bad = False
    with tempfile.TemporaryDirectory(prefix="allsky360-timelapse-") as name:
        work = Path(name)
        if wanted.pictures is None:
            paths = paint(work, wanted.frames)
        else:
            paths = sorted(wanted.pictures.glob("*.jpg"), key=natural_key)[: wanted.frames]
            for k, path in enumerate(paths):
                (work / f"{k:04d}.jpg").symlink_to(path.resolve())
        shots = [Shot(path, path.name) for path in paths]
        with Image.open(paths[0]) as first:
            size = first.size
        print(f"{len(paths)} JPEGs of {size[0]} x {size[1]}, {cores} cores")
        print("                       ---- frames a second ----   -- processor ms a frame --")
        print("codec         size     ffmpeg  +BT.709     ours     ffmpeg  +BT.709     ours"
              "   SSIM ffmpeg, ours   MB ffmpeg, ours")  # fmt: skip
        for codec in wanted.codec:
            settings = VideoSettings(
                codec=codec, encoder="software", preset=wanted.preset, size_px=wanted.size, fps=FPS
            )
            plan = plan_video(settings, *size, encoder_threads=max(1, cores // workers))
            theirs, tagged, ours = (work / f"{n}-{codec}.mp4" for n in ("ffmpeg", "709", "ours"))
            by_us(shots[:4], plan, ours, 1)  # compiles the colours' kernel
            runs = [
                (
                    by_ffmpeg(work, plan, theirs, colours=False),
                    by_ffmpeg(work, plan, tagged, colours=True),
                    by_us(shots, plan, ours, workers),
                )
                for _ in range(wanted.runs)
            ]
            n = len(paths)
            fps = [n / min(c.wall_s for c in column) for column in zip(*runs, strict=True)]
            cpu = [1e3 / n * min(c.cpu_s for c in column) for column in zip(*runs, strict=True)]
            part = min(n, 50)
            ssim_theirs = similarity(work, plan, theirs, part, "")
            ssim = similarity(work, plan, ours, part, f":{BT709}")
            print(
                f"{codec:6}{f'{plan.width}x{plan.height}':>12}  "
                + "".join(f"{v:9.2f}" for v in fps)
                + "  "
                + "".join(f"{v:9.1f}" for v in cpu)
                + f"{ssim_theirs:13.4f}{ssim:9.4f}"
                + f"{theirs.stat().st_size / 1e6:12.1f}{ours.stat().st_size / 1e6:7.1f}"
            )
            print(
                f"ours to ffmpeg: {fps[2] / fps[0]:.2f} (with BT.709 {fps[2] / fps[1]:.2f}) in "
                f"frames a second, {cpu[0] / cpu[2]:.2f} ({cpu[1] / cpu[2]:.2f}) by processor time"
            )
            bad |= max(fps[2] / fps[0], cpu[0] / cpu[2]) < 1.0 or ssim < SSIM
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"our peak memory {peak:.0f} MiB with {workers} pieces at once")
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
