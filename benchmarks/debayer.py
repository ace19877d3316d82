"""Colour PSNR of our demosaicing against Menon 2007, and what both cost.

Natural pictures: the real frames of ../shared/data (or ``ALLSKY360_TEST_DATA``) and scikit-image's
samples where they are at hand, a synthetic one always. JPEGs are halved first, which takes their
own demosaicing and chroma subsampling out. Each is mosaiced, demosaiced and compared, 10 border
pixels left out. Menon is ``benchmarks.menon``, which equals colour-demosaicing to the last digit;
where that package is installed it is timed too.

Run: python -m benchmarks.debayer      (exit code 1 where ours is more than 1 dB below Menon)
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from allsky360.imaging.debayer import debayer
from benchmarks.menon import menon
from benchmarks.timing import best, device_name

Floats = NDArray[np.float32]

MARK_DB = -1.0
DATA = Path(os.environ.get("ALLSKY360_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
REAL = {
    "winona": ("winona-rpihq-2021/sky-2021-09-19-05-13-32.jpg", (400, 500)),
    "kho": ("kho-svalbard/LYR-Sony-111220_200933.jpg", (300, 300)),
}
SAMPLES = {"astronaut.png": 1, "chelsea.png": 1, "coffee.png": 1, "motorcycle_left.png": 1,
           "rocket.jpg": 2}  # fmt: skip


def synthetic(size: int = 400) -> Floats:
    """Coloured stars, a horizon with branches, a zone plate, shaded colour patches."""
    rng = np.random.default_rng(5)
    rows, columns = np.mgrid[:size, :size] / size
    rgb = np.stack([0.2 + 0.1 * rows, 0.22 + 0.1 * columns, 0.3 - 0.1 * rows], axis=-1)
    plate = 0.5 + 0.5 * np.cos(220.0 * ((rows - 0.3) ** 2 + (columns - 0.7) ** 2))
    disc = (rows - 0.3) ** 2 + (columns - 0.7) ** 2 < 0.05
    rgb[disc] = (0.15 + 0.6 * plate[disc])[:, None] * [0.9, 1.0, 0.8]
    canvas = np.ascontiguousarray(rgb.astype(np.float32))
    for _ in range(60):
        a, b = rng.integers(0, size, 2), rng.integers(0, size, 2)
        shade = float(rng.uniform(0.02, 0.9))
        tint = tuple(shade * float(t) for t in rng.uniform(0.7, 1.1, 3))
        cv2.line(canvas, a.tolist(), (a + (b - a) // 4).tolist(), tint, 1, cv2.LINE_AA)
    for _ in range(150):
        y, x = rng.integers(6, size - 6, 2)
        yy, xx = np.mgrid[-5:6, -5:6]
        star = np.exp(-0.5 * (yy**2 + xx**2) / rng.uniform(0.8, 1.2) ** 2)
        colour = rng.uniform(0.05, 0.6) * np.array([rng.uniform(0.8, 1.2), 1.0, 1.0])
        canvas[y - 5 : y + 6, x - 5 : x + 6] += (star[..., None] * colour).astype(np.float32)
    return np.clip(cv2.GaussianBlur(canvas, (0, 0), 0.6), 0.0, 1.0)


def pictures() -> dict[str, Floats]:
    """Every natural picture at hand."""
    found = {"synthetic": synthetic()}
    for name, (path, (top, left)) in REAL.items():
        if (DATA / path).exists():
            found[name] = _read(DATA / path, 2)[top : top + 600, left : left + 800]
    if (spec := importlib.util.find_spec("skimage")) and spec.origin:
        folder = Path(spec.origin).parent / "data"
        for name, factor in SAMPLES.items():
            if (folder / name).exists():
                found[name] = _read(folder / name, factor)
    return found


def _read(path: Path, factor: int) -> Floats:
    codes = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if codes is None:
        raise SystemExit(f"{path} is not a picture")
    image = cv2.cvtColor(codes, cv2.COLOR_BGR2RGB).astype(np.float32) / 255
    h, w = image.shape[0] // factor, image.shape[1] // factor
    return cv2.resize(image, (w // 2 * 2, h // 2 * 2), interpolation=cv2.INTER_AREA)


def mosaic_of(rgb: Floats, pattern: str) -> Floats:
    """Sample a picture the way a Bayer sensor does."""
    out = np.empty(rgb.shape[:2], np.float32)
    for k, colour in enumerate(pattern):
        y, x = divmod(k, 2)
        out[y::2, x::2] = rgb[y::2, x::2, "RGB".index(colour)]
    return out


def psnr(image: NDArray[np.floating], truth: Floats) -> float:
    """Colour PSNR in dB of codes in 0 to 1."""
    inner = (slice(10, -10), slice(10, -10))
    error = np.clip(image, 0, 1)[inner] - truth[inner]
    return float(-10.0 * np.log10(np.mean(error**2)))


def compare(rgb: Floats, pattern: str = "RGGB") -> dict[str, float]:
    """PSNR of each method on one picture."""
    mosaic = mosaic_of(rgb, pattern)
    return {
        "menon": psnr(menon(mosaic.astype(np.float64), pattern), rgb),
        "ours": psnr(debayer(mosaic, pattern), rgb),  # type: ignore[arg-type]
        "bilinear": psnr(debayer(mosaic, pattern, method="bilinear"), rgb),  # type: ignore[arg-type]
        "opencv": psnr(_opencv(mosaic) / 65535.0, rgb),
    }


def _opencv(mosaic: Floats) -> Floats:
    codes = np.round(np.clip(mosaic, 0, 1) * 65535).astype(np.uint16)
    return cv2.cvtColor(codes, cv2.COLOR_BayerRGGB2RGB_EA).astype(np.float32)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="3856x2180")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    print("colour PSNR, dB          Menon 2007   ours  ours-Menon  bilinear  OpenCV EA")
    differences = []
    for name, rgb in pictures().items():
        r = compare(rgb)
        differences.append(r["ours"] - r["menon"])
        print(f"{name:<24}{r['menon']:11.2f}{r['ours']:7.2f}{differences[-1]:12.2f}"
              f"{r['bilinear']:10.2f}{r['opencv']:11.2f}")  # fmt: skip
    print(f"{'mean':<24}{'':18}{np.mean(differences):12.2f}")

    width, height = (int(n) for n in options.size.split("x"))
    mosaic = np.random.default_rng(1).random((height, width), dtype=np.float32)
    frame = np.ones((height, width, 3), np.float32)
    target = np.empty_like(frame)
    copy = best(lambda: np.copyto(target, frame), options.runs)
    print(f"\n{width}x{height}, {device_name('numpy')}, one copy = {1000 * copy:.1f} ms")
    part = mosaic[: height // 4 // 2 * 2].astype(np.float64)
    actions: list[tuple[str, Callable[[], object], int]] = [
        ("ours", lambda: debayer(mosaic, "RGGB", noise=0.01, clip=2.0), 1),
        ("bilinear", lambda: debayer(mosaic, "RGGB", method="bilinear"), 1),
        ("OpenCV EA, 16 bit", lambda: _opencv(mosaic), 1),
        ("Menon 2007 (4 x a quarter)", lambda: menon(part, "RGGB"), 4),
    ]
    if importlib.util.find_spec("colour_demosaicing"):
        from colour_demosaicing import demosaicing_CFA_Bayer_Menon2007 as theirs

        actions.append(("colour-demosaicing (4 x)", lambda: theirs(part, "RGGB"), 4))
    else:
        print("colour-demosaicing is not installed")
    for name, action, times in actions:
        seconds = times * best(action, options.runs if times == 1 else 2)
        print(f"  {name:<28}{1000 * seconds:9.1f} ms {seconds / copy:8.1f} copies")
    missed = min(differences) < MARK_DB
    print(f"mark: ours at most {-MARK_DB:g} dB below Menon: {'MISSED' if missed else 'met'}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
